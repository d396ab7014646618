import { hasCode } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import type { Oid } from '../base/oid.ts'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader } from '../store/tree.ts'
import { editPaths, findPath } from '../store/tree-walk.ts'
import { treePages } from './build-tree.ts'
import { diffEntries, type EntryDiff, UNREADABLE } from './diff.ts'
import { type Entry, sameEntry } from './entry.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import type { ScannedFolder } from './scan.ts'
import { readTargets, selectTargets, type Target } from './target.ts'
import { absentFiles, insidePath, openWorktree, type Worktree, wasPlaced } from './worktree.ts'

/** Pages of the workspace's trees. Those that an earlier look has noted alone may be in no store. */
interface PagesHere {
  known: Map<Oid, Uint8Array>
  /** not all of whose pages are known */
  folders: ScannedFolder[]
}

/** Pages from the cache, else of the workspace, else from the default remote where there is one. */
function readPages(project: Project, here: PagesHere): PageReader {
  let remote: Promise<ObjectStore | undefined> | undefined
  return async (oid) => {
    const known = here.known.get(oid)
    if (known) return known
    const cache = await project.cache('read')
    try {
      return await cache.read(oid)
    } catch (error) {
      if (!hasCode(error, 'OBJECT_MISSING')) throw error
      for (const folder of here.folders.splice(0)) for (const page of await treePages(folder)) here.known.set(...page)
      const made = here.known.get(oid)
      if (made) return made
      remote ??= project.remote().then(
        (opened) => opened.store,
        (failure: unknown) => {
          if (hasCode(failure, ...UNREADABLE)) return undefined
          throw failure
        },
      )
      const store = await remote
      if (!store) throw error
      return store.read(oid)
    }
  }
}

interface Reading {
  worktree: Worktree
  here: PagesHere
  read: PageReader
}

/** The workspace is what lies there, with what was never placed here as its pointer says. */
async function entryHere(target: Target, { worktree, here, read }: Reading): Promise<Entry | undefined> {
  const snapshot = await worktree.snapshot(target.path)
  const { entry, scan } = snapshot
  if (!entry) return wasPlaced(worktree.cache, target.path) ? undefined : target.entry
  if (entry.kind !== 'tree' || sameEntry(entry, target.entry)) return entry
  for (const page of snapshot.pages ?? []) here.known.set(...page)
  if (scan.kind === 'folder') here.folders.push(scan.folder)
  try {
    const absent = await absentFiles(snapshot, target.entry, read)
    if (absent.size === 0) return entry
    await loadFingerprint()
    return {
      kind: 'tree',
      ...(await editPaths(entry.oid, absent, { read, sink: (oid, bytes) => void here.known.set(oid, bytes) })),
    }
  } catch (error) {
    if (hasCode(error, ...UNREADABLE)) return entry
    throw error
  }
}

/** @throws OBJECT_MISSING and the like where the tree's pages cannot be read */
async function entryBelow(entry: Entry, part: string, read: PageReader): Promise<Entry | undefined> {
  return part === '' ? entry : entry.kind === 'tree' ? findPath(entry.oid, part, read) : undefined
}

/** What a revision holds at the paths asked for. */
async function readSide(
  project: Project,
  revision: Revision | undefined,
  paths: readonly RepoPath[],
  reading: Reading,
): Promise<Map<RepoPath, Entry>> {
  const entries = new Map<RepoPath, Entry>()
  if (!revision) return entries
  for (const { target, part } of selectTargets(await readTargets(project, revision), paths)) {
    const whole = revision.commit === undefined ? await entryHere(target, reading) : target.entry
    if (!whole) continue
    try {
      const entry = await entryBelow(whole, part, reading.read)
      if (entry) entries.set(insidePath(target.path, part), entry)
    } catch (error) {
      // Without the pages only the whole is known.
      if (!hasCode(error, ...UNREADABLE)) throw error
      entries.set(target.path, whole)
    }
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
  const here: PagesHere = { known: new Map(), folders: [] }
  const read = readPages(project, here)
  const before = await readSide(project, pair.before, paths, { worktree, here, read })
  const after = await readSide(project, pair.after, paths, { worktree, here, read })
  worktree.flush()
  const diffs: EntryDiff[] = []
  for (const path of [...new Set([...before.keys(), ...after.keys()])].sort(compareUtf8)) {
    const [old, now] = [before.get(path), after.get(path)]
    if (!sameEntry(old, now)) diffs.push(await diffEntries(path, old, now, read))
  }
  return diffs
}
