import { lstatSync, rmdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import type { Oid } from '../base/oid.ts'
import { isWithin, quotePath, type RepoPath } from '../base/paths.ts'
import { linkedObject, scannedFiles, scannedFolders } from './scan.ts'
import { forgetTrees } from './stat-table.ts'
import type { Wants } from './sync.ts'
import { checkParents } from './tracked.ts'
import { insidePath, noteEntry, type Worktree } from './worktree.ts'

/** Files of one tracked path that may go, because a remote holds them. */
export interface DroppedFiles {
  path: RepoPath
  part: string
  /** below the tracked path; '' when it is a file itself */
  files: string[]
  /** children first; only those left empty go */
  folders: string[]
  bytes: number
}

export interface DropFilesOptions {
  /** what the remote was found to hold of this path */
  held: ReadonlyMap<Oid, unknown>
  remote: string
  /** whether files are to go; otherwise links into the cache are looked for */
  workspace?: boolean
}

/** Looks at what lies at a path. @throws WORK_UNSAVED when a file that is to go is not what the remote holds, or one that is to stay is a link into the cache */
export async function planDropFiles(
  worktree: Worktree,
  { target, part }: Wants,
  options: DropFilesOptions,
): Promise<DroppedFiles> {
  const { project } = worktree
  const { path } = target
  checkParents(project.root, path)
  const { scan } = await worktree.snapshot(path)
  const plan: DroppedFiles = { path, part, files: [], folders: [], bytes: 0 }
  if (scan.kind === 'absent') return plan
  for (const file of scan.kind === 'folder' ? scannedFiles(scan.folder) : [scan.file]) {
    if (part !== '' && !isWithin(file.path, part)) continue
    const shown = insidePath(path, file.path)
    if (!options.workspace) {
      refuseLink(worktree, shown)
      continue
    }
    if (!options.held.has(file.oid!))
      throw new MlvError('WORK_UNSAVED', `${shown} has changes that are not on ${options.remote} and would be lost`, {
        hint: `Keep them with "mlv add ${quotePath(path)}" and "mlv push", or take them back with "mlv checkout --force ${quotePath(path)}".`,
      })
    plan.files.push(file.path)
    plan.bytes += file.size
  }
  if (options.workspace && scan.kind === 'folder')
    for (const folder of scannedFolders(scan.folder))
      if (part === '' || isWithin(folder.path, part)) plan.folders.unshift(folder.path)
  return plan
}

/** A link to what is dropped would lead nowhere. */
function refuseLink({ project, objects }: Worktree, path: RepoPath): void {
  if (!linkedObject(join(project.root, path), objects)) return
  throw new MlvError('WORK_UNSAVED', `${path} is a link into the cache and would lead nowhere`, {
    hint: 'Drop the files of the workspace as well, with "--workspace", or make them copies with "mlv unprotect".',
  })
}

/** Removes files, and forgets that they were here: they are absent then, not deleted. */
export function removeFiles(worktree: Worktree, { path, part, files, folders }: DroppedFiles): void {
  if (files.length === 0 && folders.length === 0) return
  const { project, cache } = worktree
  checkParents(project.root, path)
  const absolute = (below: string) => join(project.root, insidePath(path, below))
  const remove = (below: string, by: (path: string) => void, ...fine: string[]) => {
    try {
      by(absolute(below))
    } catch (error) {
      if (!['ENOENT', ...fine].includes(systemCode(error) ?? '')) throw fileError(error, 'deleting', insidePath(path, below))
    }
  }
  const table = cache.folder(path)
  for (const below of files) {
    faultPoint('file: delete')
    remove(below, unlinkSync)
    table.rows.delete(below)
  }
  for (const below of folders) remove(below, rmdirSync, 'ENOTEMPTY', 'EEXIST')
  if (part === '') {
    if (!lstatSync(absolute(''), { throwIfNoEntry: false })) noteEntry(cache, path, undefined)
    forgetTrees(table, '')
    return
  }
  for (const below of [...table.rows.keys()]) if (isWithin(below, part)) table.rows.delete(below)
  forgetTrees(table, part)
}
