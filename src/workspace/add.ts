import { lstatSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { writeFilesAtomic } from '../base/atomic.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { isWithin, nameOf, parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import { ignoreLines } from '../git/gitignore.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TreeEntry } from '../store/tree.ts'
import { findPath } from '../store/tree-walk.ts'
import { editEntry } from './edit-entry.ts'
import { type Entry, sameEntry } from './entry.ts'
import type { Saving } from './hash-files.ts'
import { hideFromGit } from './ignored.ts'
import { withPages } from './pages.ts'
import { placedEntry } from './placed.ts'
import { dataPathOf, formatPointer, POINTER_SUFFIX, type Pointer, pointerPathOf, readPointer } from './pointer.ts'
import type { Project } from './project.ts'
import { openSaving, recordSnapshot } from './saving.ts'
import { linkedObject, scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { checkParents, findTracked, type Tracked } from './tracked.ts'
import { absentFiles, forgetTrees, insidePath, noteEntry, openWorktree, pageReader, type Worktree } from './worktree.ts'

export interface AddOptions {
  /** record what is here even where the pointer has moved on */
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

/** Refuses what cannot be tracked, before anything is read. @throws PATH_INVALID, PATH_MISSING, PATH_UNSUPPORTED, PATH_OVERLAP */
async function checkPath(worktree: Worktree, path: RepoPath): Promise<Tracked | undefined> {
  const { root } = worktree.project
  if (path === '')
    throw new MlvError('PATH_INVALID', 'The project itself cannot be tracked', {
      hint: 'Name a file or folder in it, for example "mlv add data".',
    })
  checkParents(root, path)
  const covering = await findTracked(root, path)
  const stats = lstatSync(join(root, path), { throwIfNoEntry: false })
  if (!stats)
    throw new MlvError('PATH_MISSING', `No such file or folder: ${path}`, {
      hint: covering ? `If it should go, run "mlv remove ${quotePath(path)}".` : 'Check the path with "ls".',
    })
  if (!covering && Buffer.byteLength(nameOf(pointerPathOf(path))) > 255)
    throw new MlvError('PATH_INVALID', `The name of ${path} is too long: its pointer's name would have more than 255 bytes`, {
      hint: 'Rename it, or add the folder that it lies in.',
    })
  if (!covering && path.endsWith('.mlv'))
    throw new MlvError('PATH_INVALID', `${path} is a pointer itself`, {
      hint: `Name the data it stands for: "mlv add ${quotePath(path.slice(0, -4))}".`,
    })
  if (stats.isSymbolicLink() && (!covering || covering.below === '') && !linkedObject(join(root, path), worktree.objects))
    throw new MlvError('PATH_UNSUPPORTED', `${path} is a symbolic link`, {
      hint: 'Add the file or folder it leads to, or a folder that holds the link.',
    })
  if (!stats.isFile() && !stats.isDirectory() && !stats.isSymbolicLink())
    throw new MlvError('PATH_UNSUPPORTED', `${path} is neither a file nor a folder`, {
      hint: 'Only files, folders and symbolic links can be tracked.',
    })
  return covering
}

/** Pointers inside a folder that is to be tracked as one would name the same files twice. @throws PATH_OVERLAP */
async function refuseInnerPointers(worktree: Worktree, snapshot: Snapshot): Promise<void> {
  if (snapshot.scan.kind !== 'folder') return
  for (const file of scannedFiles(snapshot.scan.folder)) {
    if (!file.name.endsWith(POINTER_SUFFIX)) continue
    const below = insidePath(snapshot.path, dataPathOf(file.path as RepoPath))
    try {
      if (!(await readPointer(worktree.project.root, below))) continue
    } catch (error) {
      // Plain data that happens to be called so.
      if (hasCode(error, 'POINTER_INVALID')) continue
      throw error
    }
    throw new MlvError('PATH_OVERLAP', `${snapshot.path} holds ${below}, which is tracked already`, {
      hint: `Run "mlv remove ${quotePath(below)}" first to track both as one, or add the other parts of ${snapshot.path} one by one.`,
    })
  }
}

/** A name for a pointer, or an error where an entry cannot be one. */
function pointerEntry(path: RepoPath, entry: Entry): Pointer['entry'] {
  if (entry.kind === 'link')
    throw new MlvError('PATH_UNSUPPORTED', `${path} is a symbolic link`, { hint: 'Add the file or folder it leads to.' })
  return entry as Pointer['entry']
}

/** @throws WORKSPACE_OUTDATED when the pointer has moved since mlv last placed the path here */
async function refuseOutdated(worktree: Worktree, snapshot: Snapshot, pointer: Pointer | undefined): Promise<void> {
  const { path } = snapshot
  if (!pointer || sameEntry(snapshot.entry, pointer.entry)) return
  const placed = await placedEntry(worktree, snapshot)
  if (!placed || sameEntry(placed, pointer.entry)) return
  if (sameEntry(snapshot.entry, placed))
    throw new MlvError('WORKSPACE_OUTDATED', `${path} is outdated: its pointer has changed since it was checked out`, {
      hint: `Run "mlv checkout ${quotePath(path)}" to get the version the pointer names, or go back to this one with "mlv add --force ${quotePath(path)}".`,
    })
  throw new MlvError('WORKSPACE_OUTDATED', `${path} was changed here, and its pointer has changed, too`, {
    hint: `Keep your version with "mlv add --force ${quotePath(path)}", or take the pointer's with "mlv checkout --force ${quotePath(path)}".`,
  })
}

/** Says before copying when the disk will not hold it. */
function checkSpace(worktree: Worktree, store: ObjectStore, bytes: number): void {
  const folder = store.blobs.filePath?.('mlv.json')
  if (!folder || bytes < 64 << 20) return
  const disk = statfsSync(folder)
  const free = disk.bavail * disk.bsize
  if (bytes > free)
    throw new MlvError(
      'DISK_FULL',
      `The cache needs ${Math.ceil(bytes / 2 ** 20)} MiB, and its disk has ${Math.floor(free / 2 ** 20)} MiB free`,
      {
        hint: 'Free some space, move the cache with "mlv config set cache.dir DIR --local", or share the bytes with the workspace: "mlv config set cache.link hardlink --local".',
      },
    )
  if (bytes > 4 * 2 ** 30)
    worktree.project.surroundings.warn(
      `copying ${Math.ceil(bytes / 2 ** 30)} GiB into the cache; "mlv config set cache.link" can spare the second copy`,
    )
}

function sizeBelow(path: string): number {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  return stats?.isFile() ? stats.size : 0
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
  const saving = await openSaving(project)
  checkSpace(
    worktree,
    saving.store,
    targets.reduce((sum, target) => sum + sizeBelow(join(project.root, target.path)), 0),
  )
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
      const part = await scanPart(worktree, covering, saving)
      const { entry: tree } = covering.pointer
      // Before the lock is taken: it may ask the remote.
      await withPages(project, { path: covering.path, ...covering.pointer }, () =>
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
  const result = await project.locked(() => record(worktree, [...works.values()], options))
  return { ...result, stored: saving.writer.written.objects }
}

/** Under the lock: reads each pointer again, applies the edit to what it says now, writes. */
async function record(worktree: Worktree, works: Work[], options: AddOptions): Promise<AddResult> {
  const { project } = worktree
  const result: AddResult = { added: [], untracked: [], written: [], stored: 0 }
  const pending: { path: string; bytes: string }[] = []
  const saving = await openSaving(project)
  for (const work of works) {
    const now = await readPointer(project.root, work.tracked)
    let entry = work.entry
    if (work.parts) {
      if (now?.entry.kind !== 'tree')
        throw new MlvError('PATH_OVERLAP', `${work.tracked} is tracked as a file`, {
          hint: `Run "mlv add ${quotePath(work.tracked)}" to track it as the folder it is now.`,
        })
      const { entry: tree, remote } = now as { entry: Entry & { kind: 'tree' }; remote?: string }
      const { parts } = work
      entry = await withPages(project, { path: work.tracked, entry: tree, remote }, () => editEntry(tree, parts, saving))
    } else if (!sameEntry(now?.entry, work.pointer?.entry) && !options.force)
      throw new MlvError('WORKSPACE_OUTDATED', `The pointer of ${work.tracked} changed while it was being added`, {
        hint: 'Run the same command again.',
      })
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
    noteRecorded(worktree, work, entry)
  }
  for (const work of works.filter((item) => item.pointer === undefined)) {
    result.untracked.push(...(await untrack(worktree, work.tracked)))
    const ignored = ignoreLines(join(project.root, parentOf(work.tracked)), [nameOf(work.tracked)])
    if (ignored) result.written.push(insidePath(parentOf(work.tracked), '.gitignore').replace(/^\//, '') as RepoPath)
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
function noteRecorded(worktree: Worktree, work: Work, entry: Entry): void {
  if (work.snapshot) recordSnapshot(worktree.cache, work.snapshot, entry)
  else noteEntry(worktree.cache, work.tracked, entry)
}

/** Takes a path out of git's index, where git tracked it as its own. @returns the files */
async function untrack(worktree: Worktree, path: RepoPath): Promise<RepoPath[]> {
  const git = await worktree.project.git()
  const files = await git.tracked(worktree.project.gitPath(path))
  if (files.length > 0) await git.untrack(files)
  return files as RepoPath[]
}
