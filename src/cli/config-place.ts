import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import type { ConfigTarget } from '../workspace/edit-config.ts'
import type { ConfigPlace } from '../workspace/open-config.ts'
import type { Surroundings } from '../workspace/project.ts'

export interface TargetOptions {
  local?: boolean
  user?: boolean
}

/** @returns the file asked for by --local or --user   @throws USAGE when both are given */
export function targetOf(options: TargetOptions): ConfigTarget | undefined {
  if (options.local && options.user)
    throw new MlvError('USAGE', '--local and --user name two different files', { hint: 'Give one of them.' })
  return options.local ? 'local' : options.user ? 'user' : undefined
}

/** The files that hold settings here; outside a project only the user's, outside git not even this clone's. */
export async function findConfigPlace(surroundings: Surroundings): Promise<ConfigPlace> {
  const [{ findGit }, { findRoot }] = await Promise.all([import('../git/place.ts'), import('../workspace/open-project.ts')])
  const git = findGit(surroundings.cwd)
  const root = git && findRoot(surroundings.cwd, git.workTree)
  return {
    root,
    workTree: git?.workTree,
    homeDir: git && join(git.commonDir, 'mlv'),
    env: surroundings.env,
    warn: surroundings.warn,
  }
}

/** Runs a change of settings: alone, where there is a project to lock. */
export async function editSettings<T>(surroundings: Surroundings, place: ConfigPlace, edit: () => Promise<T>): Promise<T> {
  if (place.homeDir === undefined || place.root === undefined) return edit()
  const { takeLock } = await import('../workspace/take-lock.ts')
  const release = await takeLock(join(place.homeDir, 'lock'), surroundings.lockTimeout ?? 30, surroundings)
  try {
    return await edit()
  } finally {
    release()
  }
}
