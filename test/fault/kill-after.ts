import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { BIN, type Repo } from '../helpers/repo.ts'

/** Runs a command and kills it with SIGKILL after some milliseconds. @returns whether it was killed before its end */
export async function killAfter(repo: Repo, milliseconds: number, ...args: string[]): Promise<boolean> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd: repo.dir, env: repo.env as NodeJS.ProcessEnv, stdio: 'ignore' })
  const ended = new Promise<NodeJS.Signals | null>((done) => child.once('exit', (_code, signal) => done(signal)))
  await Promise.race([sleep(milliseconds), ended])
  child.kill('SIGKILL')
  return (await ended) === 'SIGKILL'
}
