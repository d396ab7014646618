import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isWithin, type RepoPath } from '../base/paths.ts'
import { KEYS } from '../store/layout.ts'
import { findPath } from '../store/tree-walk.ts'
import { refuseUnknownPart } from './asked-part.ts'
import { changesOf } from './compare-folders.ts'
import type { FileChange } from './diff.ts'
import { type Entry, sameEntry } from './entry.ts'
import { cacheFolder } from './link.ts'
import { isAsPlaced, placedEntry } from './placed.ts'
import type { Project } from './project.ts'
import type { Snapshot } from './snapshot.ts'
import { readTargets, selectTargets, type Target } from './target.ts'
import { findTracked, notTracked } from './tracked.ts'
import { openWorktree, pageReader, recordedEntry, type Worktree, wasPlaced } from './worktree.ts'

/** How a tracked path stands to its pointer.
 *  unchanged · modified: the user changed files · deleted: mlv had put it here and it is gone · absent: it was never put here
 *  outdated: it is what mlv last placed, or the part of it that was, and the pointer has moved on · diverged: modified, and the pointer has moved on as well */
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
  if (!found) return undefined
  const { entry } = found.pointer
  if (seen && !seen.entry) return entry
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
  if (changes && changes.length > 0 && changes.every((change) => change.kind === 'absent'))
    return status('absent', changes, uncached)
  if (moved && (await isAsPlaced(snapshot, recorded, store))) return status('outdated', changes, uncached)
  return status(moved ? 'diverged' : 'modified', changes, uncached)
}
