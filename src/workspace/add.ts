import { join } from 'node:path'
import { writeFilesAtomic } from '../base/atomic.ts'
import { MlvError } from '../base/errors.ts'
import { isWithin, nameOf, quotePath, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TreeEntry } from '../store/tree.ts'
import { findPath } from '../store/tree-walk.ts'
import { checkPath, folderPointer, pointerEntry, pointerMoved, refuseInnerPointers, refuseOutdated } from './add-checks.ts'
import { editEntry } from './edit-entry.ts'
import { type Entry, sameEntry } from './entry.ts'
import type { Saving } from './hash-files.ts'
import { hideFromGit, ignorePaths, lacksLine } from './ignored.ts'
import { withPages } from './pages.ts'
import { formatPointer, type Pointer, pointerPathOf, readPointer } from './pointer.ts'
import type { Project } from './project.ts'
import { openSaving, recordSnapshot } from './saving.ts'
import { scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { forgetTrees } from './stat-table.ts'
import type { Tracked } from './tracked.ts'
import { prepareUntracking, type Untracking } from './untrack.ts'
import { absentFiles, insidePath, noteEntry, openWorktree, pageReader, type Worktree } from './worktree.ts'

export interface AddOptions {
  /** record what is here even where the pointer has moved on, and store all that the cache lacks of it */
  force?: boolean
  desc?: string
  labels?: string[]
}

export interface AddedPath {
  /** the tracked path whose pointer stands for it */
  path: RepoPath
  before: Entry | undefined
  entry: Entry
  /** the pointer's text was written */
  changed: boolean
}

export interface AddResult {
  added: AddedPath[]
  /** files that git tracked until now */
  untracked: RepoPath[]
  /** files for the user to `git add` */
  written: RepoPath[]
  /** objects that the cache did not have */
  stored: number
}

/** One tracked path with its new entry: what lies there, plus what is absent and must be kept. */
async function resolveEntry(project: Project, snapshot: Snapshot, pointer: Pointer | undefined, saving: Saving): Promise<Entry> {
  const { entry, path, pages } = snapshot
  if (!pointer || entry?.kind !== 'tree') return entry!
  const read = pageReader(saving.store)
  const absent = await withPages(project, { path, ...pointer }, () => absentFiles(snapshot, pointer.entry, read))
  return absent.size === 0 ? entry : editEntry(entry, absent, saving, pages)
}

interface Work {
  tracked: RepoPath
  pointer: Pointer | undefined
  /** paths below the tracked path to add one by one; undefined: the whole */
  parts: Map<string, TreeEntry | undefined> | undefined
  entry: Entry
  snapshot: Snapshot | undefined
}

/** Looks at one part of a tracked folder without looking at the rest. */
async function scanPart(worktree: Worktree, tracked: Tracked, saving: Saving): Promise<TreeEntry> {
  const path = insidePath(tracked.path, tracked.below)
  const snapshot = await worktree.snapshot(path, { saving })
  const name = nameOf(tracked.below)
  const entry = snapshot.entry
  if (!entry)
    throw new MlvError('PATH_MISSING', `No such file or folder: ${path}`, {
      hint: `If it should go, run "mlv remove ${quotePath(path)}".`,
    })
  const table = worktree.cache.folder(tracked.path)
  // The part's rows become rows of the tracked folder.
  const part = snapshot.table
  if (snapshot.scan.kind === 'file') {
    const row = part.rows.get(path)!
    table.rows.set(tracked.below, { ...row, recorded: true })
    part.rows.delete(path)
    part.dirty = true
  } else if (snapshot.scan.kind === 'folder') {
    for (const file of scannedFiles(snapshot.scan.folder))
      table.rows.set(`${tracked.below}/${file.path}`, { ...part.rows.get(file.path)!, recorded: true })
  }
  forgetTrees(table, tracked.below)
  return { ...entry, name } as TreeEntry
}

/** Records files and folders: objects into the cache, then pointers, then .gitignore lines. Nothing is written before all paths were checked.
 *  @throws as checkPath; WORKSPACE_OUTDATED, FILE_CHANGED, DISK_FULL, LOCK_HELD */
export async function addPaths(
  project: Worktree['project'],
  paths: readonly RepoPath[],
  options: AddOptions = {},
): Promise<AddResult> {
  const worktree = openWorktree(project)
  const targets: { path: RepoPath; covering: Tracked | undefined }[] = []
  for (const path of new Set(paths)) targets.push({ path, covering: await checkPath(worktree, path) })
  for (const { path } of targets) {
    const above = targets.find((other) => other.path !== path && isWithin(path, other.path) && !other.covering)
    if (above)
      throw new MlvError('PATH_OVERLAP', `${path} lies in ${above.path}, which is added as well`, { hint: 'Name one of them.' })
  }
  const untracking = prepareUntracking(
    project,
    targets.filter(({ covering }) => !covering).map(({ path }) => path),
  )
  const saving = await openSaving(project, { all: options.force })
  const task = project.surroundings.progress.start('adding')
  const works = new Map<RepoPath, Work>()
  try {
    for (const { path, covering } of targets) {
      if (!covering || covering.below === '') {
        const pointer = covering?.pointer
        const keepPages = pointer?.entry.kind === 'tree'
        const snapshot = await worktree.snapshot(path, { saving, keepPages, onBytes: (count) => task.advance(count) })
        if (!covering) await refuseInnerPointers(worktree, snapshot)
        if (!options.force) await refuseOutdated(worktree, snapshot, pointer)
        const entry = await resolveEntry(project, snapshot, pointer, saving)
        works.set(path, { tracked: path, pointer, parts: undefined, entry, snapshot })
        continue
      }
      const { entry: tree } = folderPointer(covering.path, covering.pointer)
      const part = await scanPart(worktree, covering, saving)
      // Before the lock is taken: it may ask the remote.
      await withPages(project, { path: covering.path, ...covering.pointer, part: covering.below }, () =>
        findPath(tree.oid, covering.below, pageReader(saving.store)),
      )
      const work: Work = works.get(covering.path) ?? {
        tracked: covering.path,
        pointer: covering.pointer,
        parts: new Map(),
        entry: covering.pointer.entry,
        snapshot: undefined,
      }
      work.parts?.set(covering.below, part)
      works.set(covering.path, work)
    }
    await saving.finish()
  } finally {
    task.finish()
  }
  const result = await project.locked(async () => {
    // What a collection has condemned meanwhile must be stored again before a pointer refers to it.
    if (await saving.store.refresh()) return undefined
    return record(worktree, [...works.values()], untracking, options)
  })
  if (!result) return addPaths(project, paths, options)
  return { ...result, stored: saving.writer.written.objects }
}

/** Under the lock: reads each pointer again, applies the edit to what it says now, writes. */
async function record(worktree: Worktree, works: Work[], untracking: Untracking, options: AddOptions): Promise<AddResult> {
  const { project } = worktree
  const result: AddResult = { added: [], untracked: [], written: [], stored: 0 }
  const pending: { path: string; bytes: string }[] = []
  const saving = await openSaving(project)
  for (const work of works) {
    const now = await readPointer(project.root, work.tracked)
    let entry = work.entry
    if (work.parts) {
      const { entry: tree, remote } = folderPointer(work.tracked, now)
      const { parts } = work
      entry = await withPages(project, { path: work.tracked, entry: tree, remote }, () => editEntry(tree, parts, saving))
    } else if (!options.force && !sameEntry(now?.entry, work.pointer?.entry) && !sameEntry(now?.entry, entry))
      throw pointerMoved(work.tracked)
    const next: Pointer = { ...now, entry: pointerEntry(work.tracked, entry) }
    if (options.desc !== undefined) next.desc = options.desc
    if (options.labels !== undefined && options.labels.length > 0)
      next.labels = [...new Set([...(now?.labels ?? []), ...options.labels])]
    const text = await formatPointer(next)
    const changed = now === undefined || text !== (await formatPointer(now))
    if (changed) {
      pending.push({ path: join(project.root, pointerPathOf(work.tracked)), bytes: text })
      result.written.push(pointerPathOf(work.tracked))
    }
    result.added.push({ path: work.tracked, before: now?.entry, entry, changed })
  }
  await saving.finish()
  if (pending.length > 0) writeFilesAtomic(pending)
  for (const work of works) {
    const { entry } = result.added.find((item) => item.path === work.tracked)!
    noteRecorded(worktree, work, entry, saving.store)
  }
  for (const work of works) {
    // Also where an add was killed behind its pointer: the line in .gitignore comes last.
    if (work.pointer === undefined || lacksLine(project, work.tracked))
      result.untracked.push(...(await untracking.untrack(work.tracked)))
    if (work.pointer === undefined) result.written.push(...ignorePaths(project, [work.tracked]))
  }
  result.written.push(
    ...(await hideFromGit(
      project,
      works.filter((item) => item.pointer !== undefined).map((item) => item.tracked),
    )),
  )
  result.written = [...new Set(result.written)]
  worktree.flush()
  return result
}

/** What is recorded now is what mlv knows to lie here. */
function noteRecorded(worktree: Worktree, work: Work, entry: Entry, store: ObjectStore): void {
  const { held } = worktree.cache.folder(work.tracked)
  if (work.snapshot) recordSnapshot(worktree.cache, work.snapshot, entry, store.epoch())
  // Of a part, what lies beside it is held if it was so before.
  else noteEntry(worktree.cache, work.tracked, entry, store.isSound(held) ? store.epoch() : undefined)
}
