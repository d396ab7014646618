import { existsSync, realpathSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { isGitName } from '../base/paths.ts'
import type { Project } from './project.ts'

/** A path with the links of all folders followed that are there. */
function realPath(path: string): string {
  let at = path
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  return join(realpathSync(at), relative(at, path))
}

/** Whether a path, with its links followed, is a folder or lies around it. */
function isAround(real: string, folder: string): boolean {
  return real === folder || folder.startsWith(real.endsWith(sep) ? real : real + sep)
}

/** Refuses to fill or replace a folder that holds the repository, the current folder, or the whole disk.
 *  @param path absolute   @throws PATH_INVALID */
export function refuseHolder({ place, surroundings }: Pick<Project, 'place' | 'surroundings'>, path: string): void {
  const real = realPath(path)
  const held = [place.workTree, place.commonDir, surroundings.cwd].map(realPath)
  if (dirname(real) !== real && !held.some((folder) => isAround(real, folder))) return
  throw new MlvError('PATH_INVALID', `${path} holds ${dirname(real) === real ? 'the whole disk' : 'what you work in'}`, {
    hint: 'Name a folder of its own for it.',
  })
}

/** Refuses to write plain files into a git folder, of any repository, or into the project's own settings.
 *  @param path absolute   @throws PATH_INVALID */
export function refuseGitFolder({ root, place }: Pick<Project, 'root' | 'place'>, path: string): void {
  const real = realPath(path)
  const folders = [place.gitDir, place.commonDir, join(root, '.mlv')].map(realPath)
  const isInside = folders.some((folder) => real === folder || real.startsWith(folder + sep))
  if (!isInside && !real.split(sep).some(isGitName)) return
  throw new MlvError('PATH_INVALID', `${path} lies in a folder that git or mlv keeps for itself`, {
    hint: 'Write to another folder.',
  })
}
