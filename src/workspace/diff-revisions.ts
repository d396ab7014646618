import { hasCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader } from '../store/tree.ts'
import { diffEntries, type EntryDiff } from './diff.ts'
import { type Entry, sameEntry } from './entry.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import { readTargets, selectTargets } from './target.ts'
import { openWorktree, type Worktree } from './worktree.ts'

/** Pages from the cache, else from the default remote where there is one. */
function readPages(project: Project): PageReader {
  let remote: Promise<ObjectStore | undefined> | undefined
  return async (oid) => {
    const cache = await project.cache('read')
    try {
      return await cache.read(oid)
    } catch (error) {
      if (!hasCode(error, 'OBJECT_MISSING')) throw error
      remote ??= project.remote().then(
        (opened) => opened.store,
        (failure: unknown) => {
          if (hasCode(failure, 'REMOTE_MISSING', 'REMOTE_UNREACHABLE', 'REMOTE_DENIED', 'REMOTE_FAILED')) return undefined
          throw failure
        },
      )
      const store = await remote
      if (!store) throw error
      return store.read(oid)
    }
  }
}

async function entriesOf(
  project: Project,
  revision: Revision | undefined,
  paths: readonly RepoPath[],
  worktree: Worktree,
): Promise<Map<RepoPath, Entry>> {
  const entries = new Map<RepoPath, Entry>()
  if (!revision) return entries
  for (const { target } of selectTargets(await readTargets(project, revision), paths)) {
    // The workspace is what lies there; where nothing does, what its pointer says.
    const here = revision.commit === undefined ? (await worktree.snapshot(target.path)).entry : undefined
    entries.set(target.path, here ?? target.entry)
  }
  return entries
}

/** Compares the data of two revisions. Fetches tree pages at most, never data. @returns paths that differ */
export async function diffRevisions(
  project: Project,
  pair: { before: Revision | undefined; after: Revision },
  paths: readonly RepoPath[],
): Promise<EntryDiff[]> {
  const worktree = openWorktree(project, 'read')
  const pages = new Map<string, Uint8Array>()
  const before = await entriesOf(project, pair.before, paths, worktree)
  const after = new Map<RepoPath, Entry>()
  for (const { target } of selectTargets(await readTargets(project, pair.after), paths)) {
    if (pair.after.commit !== undefined) {
      after.set(target.path, target.entry)
      continue
    }
    const snapshot = await worktree.snapshot(target.path)
    for (const [oid, bytes] of snapshot.pages ?? []) pages.set(oid, bytes)
    after.set(target.path, snapshot.entry ?? target.entry)
  }
  worktree.flush()
  const read = readPages(project)
  const diffs: EntryDiff[] = []
  for (const path of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [old, now] = [before.get(path), after.get(path)]
    if (sameEntry(old, now)) continue
    diffs.push(await diffEntries(path, old, now, async (oid) => pages.get(oid) ?? read(oid)))
  }
  return diffs
}
