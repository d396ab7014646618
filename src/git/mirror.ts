import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, hasCode, MlvError } from '../base/errors.ts'
import type { GitPlace } from './git.ts'
import { createGitProcess, type Environment, findGitProgram } from './git-process.ts'
import { FETCH_PROTOCOLS } from './repository-name.ts'

/** The ref that keeps which commit the source's HEAD led to. */
export const SOURCE_HEAD = 'refs/mlv/HEAD'

/** Commands of a repository that others wrote are never run, and what it lacks is not fetched unasked. */
export function foreignEnvironment(env: Environment): Environment {
  return { ...env, GIT_ALLOW_PROTOCOL: FETCH_PROTOCOLS.join(':'), GIT_NO_LAZY_FETCH: '1' }
}

/** A folder that is a git repository without a work tree. */
export function barePlace(folder: string): GitPlace {
  return { workTree: folder, gitDir: folder, commonDir: folder }
}

export function isBareRepository(folder: string): boolean {
  return ['HEAD', 'objects', 'refs'].every((name) => existsSync(join(folder, name)))
}

/** Gets branches, tags and HEAD of a repository into a bare one at `folder`, which is made when absent. Files stay where they are: only git's objects travel.
 *  @param url as parseRepository gave it   @throws GIT_MISSING, REMOTE_FAILED, FILE_UNWRITABLE */
export async function fetchMirror(url: string, folder: string, env: Environment): Promise<GitPlace> {
  const program = findGitProgram(env)
  if (program === undefined)
    throw new MlvError('GIT_MISSING', `${url} cannot be fetched: there is no git on PATH`, {
      hint: 'Install git, or put it on PATH.',
    })
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
  const place = barePlace(folder)
  const git = createGitProcess(program, place, foreignEnvironment(env))
  // Without a template there are no hooks.
  if (!isBareRepository(folder)) await git.run(['init', '-q', '--bare', '--template='])
  const branches = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']
  const fetch = (refs: string[]) =>
    git.run([
      '-c',
      'core.hooksPath=/dev/null',
      'fetch',
      '-q',
      '--prune',
      '--no-tags',
      '--no-recurse-submodules',
      '--update-head-ok',
      '--end-of-options',
      url,
      ...refs,
    ])
  try {
    await fetch([...branches, `+HEAD:${SOURCE_HEAD}`])
  } catch (error) {
    if (!hasCode(error, 'GIT_FAILED')) throw error
    // A HEAD that leads to no commit, beside branches that do.
    if (!/remote ref HEAD/.test(error.message)) throw fetchFailure(url, error)
    await fetch(branches).catch((again) => {
      throw fetchFailure(url, again)
    })
  }
  return place
}

function fetchFailure(url: string, error: unknown): unknown {
  if (!hasCode(error, 'GIT_FAILED')) return error
  return new MlvError('REMOTE_FAILED', `The repository ${url} cannot be fetched: ${error.message.replace(/^git fetch: /, '')}`, {
    hint: `Check it with "git ls-remote ${url}"; if it has moved, import the data again from its new place.`,
    cause: error,
  })
}
