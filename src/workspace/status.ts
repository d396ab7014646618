import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../base/errors.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import { KEYS } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { findPath } from '../store/tree-walk.ts'
import { refuseUnknownPart } from './asked-part.ts'
import { compareFolders, isPartial } from './compare-folders.ts'
import { diffEntries, type FileChange } from './diff.ts'
import { type Entry, sameEntry } from './entry.ts'
import { cacheFolder } from './link.ts'
import { placedEntry } from './placed.ts'
import type { Project } from './project.ts'
import type { Snapshot } from './snapshot.ts'
import { readTargets, selectTargets, type Target } from './target.ts'
import { findTracked, notTracked } from './tracked.ts'
import { openWorktree, pageReader, recordedEntry, type Worktree, wasPlaced } from './worktree.ts'

/** How a tracked path stands to its pointer.
 *  unchanged · modified: the user changed files · deleted: mlv had put it here and it is gone · absent: it was never put here
 *  outdated: it is what mlv last placed, and the pointer has moved on · diverged: modified, and the pointer has moved on as well */
export type PathState = 'unchanged' | 'modified' | 'deleted' | 'absent' | 'outdated' | 'diverged'

export interface PathStatus {
  path: RepoPath
  origin: Target['origin']
  state: PathState
  /** files that differ; undefined when the tree is in no cache */
  changes: FileChange[] | undefined
  /** the version the pointer names is not, or not whole, in the cache */
  uncached: boolean
}

/** Compares each tracked path with its pointer. Reads no file whose size, time and inode are known.
 *  @throws PATH_MISSING, POINTER_INVALID, POINTER_CONFLICT, FILE_UNREADABLE */
export async function readStatus(project: Project, paths: readonly RepoPath[]): Promise<PathStatus[]> {
  const worktree = openWorktree(project, 'read')
  const targets = await readTargets(project, await project.revision(undefined))
  for (const path of paths) if (path !== '' && selectTargets(targets, [path]).length === 0) throw notTracked(path)
  const parts = new Map<Target, string[]>()
  for (const { target, part } of selectTargets(targets, paths)) {
    await refuseUnknownPart(project, [{ target, part }], true)
    parts.set(target, [...(parts.get(target) ?? []), part])
  }
  const statuses: PathStatus[] = []
  try {
    for (const [target, wanted] of parts) statuses.push(limitTo(await statusOf(worktree, target), wanted))
  } finally {
    worktree.flush()
  }
  return statuses
}

/** Leaves out the changes outside of the parts that were asked for. */
function limitTo(status: PathStatus, parts: readonly string[]): PathStatus {
  if (parts.includes('') || !status.changes) return status
  const isAsked = (path: RepoPath | undefined) =>
    path !== undefined && parts.some((part) => isWithin(path, `${status.path}/${part}`) || path === status.path)
  const changes = status.changes.filter((change) => isAsked(change.path) || isAsked(change.from))
  return { ...status, changes, state: changes.length === 0 ? 'unchanged' : status.state }
}

/** Whether the cache has not vanished as a whole. */
function hasCache(project: Project): boolean {
  return existsSync(join(cacheFolder(project), KEYS.description))
}

/** What the pointer of tracked data, or of a folder around it, says of a path that is not all here, where all that is missing was never here and the
 *  rest lies there as it says. @param seen what has been found at the pointer's path   @throws POINTER_INVALID, POINTER_CONFLICT, OBJECT_MISSING */
export async function awayEntry(worktree: Worktree, path: RepoPath, seen?: Snapshot): Promise<Entry | undefined> {
  const found = await findTracked(worktree.project.root, path)
  if (!found || sameEntry(seen?.entry, found.pointer.entry)) return undefined
  const { entry } = found.pointer
  const { changes, state } = await statusOf(worktree, { path: found.path, origin: 'pointer', entry }, seen)
  if (state !== 'absent' && state !== 'modified') return undefined
  const inside = (changes ?? []).filter((change) => isWithin(change.path, path) || isWithin(path, change.path))
  if (inside.length === 0 || inside.some(({ kind }) => kind !== 'absent')) return undefined
  if (found.below === '' || entry.kind !== 'tree') return entry
  return findPath(entry.oid, found.below, pageReader(await worktree.project.cache('read')))
}

async function statusOf(worktree: Worktree, target: Target, seen?: Snapshot): Promise<PathStatus> {
  const { path, entry } = target
  const snapshot = seen ?? (await worktree.snapshot(path))
  const status = (state: PathState, changes: FileChange[] | undefined, uncached: boolean): PathStatus => ({
    path,
    origin: target.origin,
    state,
    changes,
    uncached,
  })
  // Opening the cache would cost as much as all else here: only that it is there is looked at, once what lies here is right.
  if (sameEntry(snapshot.entry, entry)) return status('unchanged', [], !hasCache(worktree.project))
  const store = await worktree.project.cache('read')
  const uncached = !store.has(entry.oid)
  const recorded = target.origin === 'pointer' ? await placedEntry(worktree, snapshot) : recordedEntry(worktree.cache, path)
  if (!snapshot.entry) {
    const state: PathState = recorded && wasPlaced(worktree.cache, path) ? 'deleted' : 'absent'
    return status(state, [{ kind: state === 'deleted' ? 'deleted' : 'absent', path, before: entry.size }], uncached)
  }
  const moved = recorded !== undefined && !sameEntry(recorded, entry)
  const changes = await changesOf(snapshot, entry, store)
  if (moved && sameEntry(snapshot.entry, recorded)) return status('outdated', changes, uncached)
  if (!moved && changes && changes.length > 0 && changes.every((change) => change.kind === 'absent'))
    return status('absent', changes, uncached)
  return status(moved ? 'diverged' : 'modified', changes, uncached)
}

/** Files that differ between the pointer's version and the workspace; undefined when the pointer's tree cannot be read. */
async function changesOf(snapshot: Snapshot, entry: Entry, store: ObjectStore): Promise<FileChange[] | undefined> {
  const read = pageReader(store)
  const absent = (path: string) => !snapshot.table.rows.get(path)?.recorded
  const name = (changes: FileChange[] | undefined) =>
    changes?.map((change) => {
      const below = change.path.slice(snapshot.path.length + 1)
      return change.kind === 'deleted' && snapshot.scan.kind === 'folder' && below !== '' && absent(below)
        ? { ...change, kind: 'absent' as const }
        : change
    })
  if (snapshot.scan.kind !== 'folder') return name((await diffEntries(snapshot.path, entry, snapshot.entry, read)).changes)
  if (snapshot.pages && !isPartial(snapshot, entry)) {
    const { pages } = snapshot
    const diff = await diffEntries(snapshot.path, entry, snapshot.entry, async (oid) => pages.get(oid) ?? read(oid))
    if (diff.changes) return name(diff.changes)
  }
  try {
    return name(await compareFolders(snapshot, entry, store))
  } catch (error) {
    if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED', 'OBJECT_CORRUPT', 'BLOB_MISSING')) return undefined
    throw error
  }
}
