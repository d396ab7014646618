import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { parentsOf, quotePath, type RepoPath, upwards } from '../base/paths.ts'
import { type Pointer, readPointer } from './pointer.ts'

/** A path and the pointer that stands for it or for a folder above it. */
export interface Tracked {
  /** the path the pointer stands for */
  path: RepoPath
  pointer: Pointer
  /** what was asked for, below `path`; '' for the path itself */
  below: string
}

/** Finds the pointer that stands for `path` or for the nearest folder above it. @throws POINTER_INVALID, POINTER_CONFLICT */
export async function findTracked(root: string, path: RepoPath): Promise<Tracked | undefined> {
  for (const at of upwards(path)) {
    const pointer = await readPointer(root, at)
    if (pointer) return { path: at, pointer, below: path.slice(at.length + 1) }
  }
  return undefined
}

/** @throws PATH_INVALID when a folder above `path` is a symbolic link (or no folder): it could lead out of the project */
export function checkParents(root: string, path: RepoPath): void {
  for (const at of parentsOf(path)) {
    const stats = lstatSync(join(root, at), { throwIfNoEntry: false })
    if (!stats || stats.isDirectory()) continue
    const what = stats.isSymbolicLink() ? 'a symbolic link' : 'not a folder'
    throw new MlvError('PATH_INVALID', `${path} lies below ${at}, which is ${what}`, {
      hint: 'Name the path by its real folders.',
    })
  }
}

export function notTracked(path: RepoPath): MlvError {
  return new MlvError('PATH_MISSING', `${path === '' ? 'The project' : path} is not tracked by mlv`, {
    hint: path === '' ? 'Track data with "mlv add PATH".' : `"mlv ls" lists what is; track it with "mlv add ${quotePath(path)}".`,
  })
}
