import { rmSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { flushFolder, writeFileAtomic } from '../base/atomic.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { oidOfFile } from '../base/oid.ts'
import { isWithin, nameOf, parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import { unignoreLines } from '../git/gitignore.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { findPath } from '../store/tree-walk.ts'
import { editEntry } from './edit-entry.ts'
import { createHiddenFinder, type Hidden } from './hidden.ts'
import { withPages } from './pages.ts'
import { formatPointer, pointerPathOf, readPointer } from './pointer.ts'
import type { Project } from './project.ts'
import { openSaving } from './saving.ts'
import { scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { forgetTrees } from './stat-table.ts'
import { checkParents, findTracked, notTracked } from './tracked.ts'
import { insidePath, noteEntry, openWorktree, pageReader, type Worktree } from './worktree.ts'

export interface RemoveResult {
  removed: RepoPath[]
  /** files for the user to `git add` */
  written: RepoPath[]
}

export function ignoreFileOf(path: RepoPath): RepoPath {
  const folder = parentOf(path)
  return (folder === '' ? '.gitignore' : `${folder}/.gitignore`) as RepoPath
}

/** Stops tracking paths: a whole tracked path, or entries of a tracked folder. The files stay unless `delete`.
 *  @throws PATH_MISSING for what is not tracked; WORK_UNSAVED when `delete` would lose what no cache has, unless `force` */
export async function removePaths(
  project: Project,
  paths: readonly RepoPath[],
  options: { delete?: boolean; force?: boolean } = {},
): Promise<RemoveResult> {
  return project.locked(async () => {
    const worktree = openWorktree(project)
    const result: RemoveResult = { removed: [], written: [] }
    const plans: { path: RepoPath; below: string; tracked: RepoPath }[] = []
    for (const path of new Set(paths)) {
      const found = await findTracked(project.root, path)
      if (!found) throw notTracked(path)
      checkParents(project.root, path)
      if (options.delete && !options.force) await refuseUnsaved(worktree, path)
      plans.push({ path, below: found.below, tracked: found.path })
    }
    for (const { path, below, tracked } of plans) {
      const pointerFile = join(project.root, pointerPathOf(tracked))
      if (below === '') {
        faultPoint('pointer: delete')
        unlinkSync(pointerFile)
        flushFolder(dirname(pointerFile))
        result.written.push(pointerPathOf(tracked))
        if (unignoreLines(join(project.root, parentOf(path)), [nameOf(path)])) result.written.push(ignoreFileOf(path))
        noteEntry(worktree.cache, path, undefined)
      } else {
        const pointer = (await readPointer(project.root, tracked))!
        if (pointer.entry.kind !== 'tree') throw notTracked(path)
        const tree = pointer.entry
        const saving = await openSaving(project)
        const entry = await withPages(project, { path: tracked, entry: tree, remote: pointer.remote }, async () => {
          if (!(await findPath(tree.oid, below, pageReader(saving.store)))) throw notTracked(path)
          return editEntry(tree, new Map([[below, undefined]]), saving)
        })
        await saving.finish()
        writeFileAtomic(pointerFile, await formatPointer({ ...pointer, entry: entry as typeof pointer.entry }))
        result.written.push(pointerPathOf(tracked))
        const table = worktree.cache.folder(tracked)
        for (const key of [...table.rows.keys()]) if (isWithin(key, below)) table.rows.delete(key)
        table.recorded.set('', entry)
        forgetTrees(table, below)
      }
      if (options.delete) {
        try {
          faultPoint('data: delete')
          rmSync(join(project.root, path), { recursive: true, force: true })
        } catch (error) {
          throw fileError(error, 'deleting', path)
        }
      }
      result.removed.push(path)
    }
    worktree.flush()
    result.written = [...new Set(result.written)]
    return result
  })
}

/** What .mlvignore hides would be deleted with its folder. */
async function refuseUnsaved(worktree: Worktree, path: RepoPath): Promise<void> {
  const snapshot = await worktree.snapshot(path)
  const store = await worktree.project.cache('write')
  const top = join(worktree.project.root, path)
  const isKept = (file: Hidden) => file.kind === 'file' && store.has(oidOfFile(join(top, file.path)))
  const hidden = createHiddenFinder(top, snapshot.scan)('').find((item) => item.kind !== 'folder' && !isKept(item))
  if (hidden)
    throw new MlvError(
      'WORK_UNSAVED',
      `${insidePath(path, hidden.path)}, which .mlvignore leaves out, is in no cache and would be deleted`,
      {
        hint: 'Move it away, or give it up with "--delete --force".',
      },
    )
  if (!snapshot.entry || isSaved(store, snapshot)) return
  throw new MlvError('WORK_UNSAVED', `${path} has changes that are in no cache and would be deleted`, {
    hint: `Keep them with "mlv add ${quotePath(path)}", or give them up with "--delete --force".`,
  })
}

/** Whether the cache has all that lies here; a tree's root vouches for the rest only in a sound store. */
function isSaved(store: ObjectStore, { entry, scan }: Snapshot): boolean {
  if (!entry || !store.has(entry.oid)) return false
  if (store.isSound() || scan.kind !== 'folder') return true
  for (const { oid } of scannedFiles(scan.folder)) if (oid === undefined || !store.has(oid)) return false
  return true
}
