import { hasCode } from '../base/errors.ts'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader } from '../store/tree.ts'
import { editPaths, findPath } from '../store/tree-walk.ts'
import { treePages } from './build-tree.ts'
import { diffEntries, type EntryDiff, UNREADABLE } from './diff.ts'
import { type Entry, sameEntry } from './entry.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import { readTargets, selectTargets, type Target } from './target.ts'
import { absentFiles, insidePath, openWorktree, type Worktree, wasPlaced } from './worktree.ts'

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

/** What a side of the comparison holds at the paths asked for, and the pages of trees that no store has. */
interface Side {
  entries: Map<RepoPath, Entry>
  pages: Map<string, Uint8Array>
}

/** The workspace is what lies there, with what was never placed here as its pointer says. */
async function entryHere(worktree: Worktree, target: Target, read: PageReader, pages: Side['pages']): Promise<Entry | undefined> {
  const snapshot = await worktree.snapshot(target.path)
  const { entry } = snapshot
  if (!entry) return wasPlaced(worktree.cache, target.path) ? undefined : target.entry
  if (entry.kind !== 'tree' || sameEntry(entry, target.entry)) return entry
  if (snapshot.scan.kind === 'folder') for (const [oid, bytes] of await treePages(snapshot.scan.folder)) pages.set(oid, bytes)
  try {
    const absent = await absentFiles(snapshot, target.entry, read)
    if (absent.size === 0) return entry
    const sink = (oid: string, bytes: Buffer) => void pages.set(oid, bytes)
    return { kind: 'tree', ...(await editPaths(entry.oid, absent, { read: async (oid) => pages.get(oid) ?? read(oid), sink })) }
  } catch (error) {
    if (hasCode(error, ...UNREADABLE)) return entry
    throw error
  }
}

/** @throws OBJECT_MISSING and the like where the tree's pages cannot be read */
async function entryBelow(entry: Entry, part: string, read: PageReader): Promise<Entry | undefined> {
  return part === '' ? entry : entry.kind === 'tree' ? findPath(entry.oid, part, read) : undefined
}

async function readSide(
  project: Project,
  revision: Revision | undefined,
  paths: readonly RepoPath[],
  reading: { worktree: Worktree; read: PageReader },
): Promise<Side> {
  const side: Side = { entries: new Map(), pages: new Map() }
  if (!revision) return side
  const { worktree, read } = reading
  const readAll: PageReader = async (oid) => side.pages.get(oid) ?? read(oid)
  for (const { target, part } of selectTargets(await readTargets(project, revision), paths)) {
    const whole = revision.commit === undefined ? await entryHere(worktree, target, read, side.pages) : target.entry
    if (!whole) continue
    try {
      const entry = await entryBelow(whole, part, readAll)
      if (entry) side.entries.set(insidePath(target.path, part), entry)
    } catch (error) {
      // Without the pages only the whole is known.
      if (!hasCode(error, ...UNREADABLE)) throw error
      side.entries.set(target.path, whole)
    }
  }
  return side
}

/** Compares the data of two revisions. Fetches tree pages at most, never data. @returns paths that differ */
export async function diffRevisions(
  project: Project,
  pair: { before: Revision | undefined; after: Revision },
  paths: readonly RepoPath[],
): Promise<EntryDiff[]> {
  const worktree = openWorktree(project, 'read')
  const read = readPages(project)
  const before = await readSide(project, pair.before, paths, { worktree, read })
  const after = await readSide(project, pair.after, paths, { worktree, read })
  worktree.flush()
  const diffs: EntryDiff[] = []
  for (const path of [...new Set([...before.entries.keys(), ...after.entries.keys()])].sort(compareUtf8)) {
    const [old, now] = [before.entries.get(path), after.entries.get(path)]
    if (sameEntry(old, now)) continue
    diffs.push(await diffEntries(path, old, now, async (oid) => before.pages.get(oid) ?? after.pages.get(oid) ?? read(oid)))
  }
  return diffs
}
