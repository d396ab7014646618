import { existsSync, lstatSync, mkdirSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { flushFolder, writeFileAtomic } from '../base/atomic.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { isWithin, joinPath, nameOf, parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import { ignoreLines, unignoreLines } from '../git/gitignore.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { findPath } from '../store/tree-walk.ts'
import { editEntry } from './edit-entry.ts'
import { withPages } from './pages.ts'
import { formatPointer, pointerPathOf, readPointer } from './pointer.ts'
import type { Project } from './project.ts'
import { openSaving } from './saving.ts'
import { scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { forgetTrees } from './stat-table.ts'
import { checkParents, findTracked, notTracked } from './tracked.ts'
import { noteEntry, openWorktree, pageReader } from './worktree.ts'

export interface RemoveResult {
  removed: RepoPath[]
  /** files for the user to `git add` */
  written: RepoPath[]
}

function ignoreFileOf(path: RepoPath): RepoPath {
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

async function refuseUnsaved(worktree: ReturnType<typeof openWorktree>, path: RepoPath): Promise<void> {
  const snapshot = await worktree.snapshot(path)
  const store = await worktree.project.cache('write')
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

/** Moves a tracked path with its pointer. @throws PATH_MISSING, PATH_OVERLAP when something is at the goal */
export async function movePath(project: Project, from: RepoPath, to: RepoPath): Promise<RemoveResult> {
  return project.locked(async () => {
    const found = await findTracked(project.root, from)
    if (!found) throw notTracked(from)
    if (found.below !== '')
      throw new MlvError('USAGE', `${from} is an entry of ${found.path}, which is tracked as one`, {
        hint: `Move the file with "mv", then run "mlv add ${quotePath(found.path)}".`,
      })
    const isFolder = lstatSync(join(project.root, to), { throwIfNoEntry: false })?.isDirectory()
    const target = isFolder ? joinPath(to, nameOf(from)) : to
    for (const path of [from, target]) checkParents(project.root, path)
    if (isWithin(target, from))
      throw new MlvError('PATH_OVERLAP', `${target} lies in ${from}`, { hint: 'Choose a place outside of it.' })
    const above = await findTracked(project.root, target)
    for (const path of [target, pointerPathOf(target)])
      if (existsSync(join(project.root, path)))
        throw new MlvError('PATH_OVERLAP', `${path} is there already`, { hint: 'Choose another name.' })
    if (above)
      throw new MlvError('PATH_OVERLAP', `${target} would lie in ${above.path}, which is tracked`, {
        hint: 'Choose another place.',
      })
    const worktree = openWorktree(project)
    mkdirSync(join(project.root, parentOf(target)), { recursive: true })
    const moved = existsSync(join(project.root, from))
    faultPoint('data: move')
    if (moved) renameSync(join(project.root, from), join(project.root, target))
    faultPoint('pointer: move')
    renameSync(join(project.root, pointerPathOf(from)), join(project.root, pointerPathOf(target)))
    for (const path of [from, target]) flushFolder(join(project.root, parentOf(path)))
    const written = [pointerPathOf(from), pointerPathOf(target)]
    if (unignoreLines(join(project.root, parentOf(from)), [nameOf(from)])) written.push(ignoreFileOf(from))
    if (ignoreLines(join(project.root, parentOf(target)), [nameOf(target)])) written.push(ignoreFileOf(target))
    moveRows(worktree, from, target)
    return { removed: [target], written: [...new Set(written)] }
  })
}

function moveRows(worktree: ReturnType<typeof openWorktree>, from: RepoPath, to: RepoPath): void {
  const [old, next, files] = [worktree.cache.folder(from), worktree.cache.folder(to), worktree.cache.files()]
  Object.assign(next, { rows: new Map(old.rows), recorded: new Map(old.recorded), computed: old.computed, dirty: true })
  Object.assign(old, { rows: new Map(), recorded: new Map(), computed: undefined, dirty: true })
  const row = files.rows.get(from)
  const recorded = files.recorded.get(from)
  if (row) files.rows.set(to, row)
  if (recorded) files.recorded.set(to, recorded)
  files.rows.delete(from)
  files.recorded.delete(from)
  files.dirty = true
  worktree.flush()
}
