import { execFile } from 'node:child_process'
import { type Environment, findGitProgram } from './git-process.ts'

/** @returns the version of the git on PATH, e.g. `2.43.0`; undefined when there is none that answers */
export function gitVersion(env: Environment): Promise<string | undefined> {
  const program = findGitProgram(env)
  if (program === undefined) return Promise.resolve(undefined)
  return new Promise((done) => {
    execFile(program, ['--version'], { env: env as NodeJS.ProcessEnv, timeout: 10_000 }, (error, stdout) => {
      done(error ? undefined : /(\d+(?:\.\d+)+)/.exec(stdout)?.[1])
    })
  })
}
