import { hasCode } from '../base/errors.ts'
import { compareUtf8, foldersAround, joinPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { readLeaf, readLeafRow, type TreeEntry, type TreeRoot } from '../store/tree.ts'
import type { PageRef } from '../store/tree-page.ts'
import { walkTree } from '../store/tree-walk.ts'
import { diffEntries, type FileChange, pairRenames } from './diff.ts'
import type { Entry } from './entry.ts'
import { type ScannedFolder, scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import type { StatTable } from './stat-table.ts'
import { insidePath, pageReader } from './worktree.ts'

/** Whether less than half of a tree was ever placed or recorded here: then most of its folders need not be looked into. */
export function isPartial({ table }: Snapshot, entry: Entry): boolean {
  if (entry.kind !== 'tree') return false
  let recorded = 0
  for (const row of table.rows.values()) if (row.recorded && row.kind !== 'tree') recorded++
  return recorded * 2 < entry.files
}

/** The folders in which something was placed or recorded here. */
function knownFolders(table: StatTable): Set<string> {
  const recorded: string[] = []
  for (const [path, row] of table.rows) if (row.recorded) recorded.push(path)
  return foldersAround(recorded)
}

/** Compares a workspace with its pointer's tree folder by folder: one whose oid is that of the tree's is not looked into, nor one that was never
 *  placed here, which is absent as a whole. Of a pointer to a file, all that lies in the folder counts as added. Pages that a partial pull left out are not needed where nothing was placed that they list: what lies there counts as added.
 *  @throws OBJECT_MISSING where other pages are in no cache, TREE_INVALID */
export async function compareFolders(snapshot: Snapshot, entry: Entry, store: ObjectStore): Promise<FileChange[]> {
  const read = pageReader(store)
  const known = knownFolders(snapshot.table)
  const changes: (FileChange & { oid?: string })[] = []
  const add = (path: string, file: { oid?: string; size: number }) =>
    changes.push({ kind: 'added', path: insidePath(snapshot.path, path), after: file.size, oid: file.oid })
  const drop = (path: string, file: { oid: string; size: number }) =>
    changes.push({ kind: 'deleted', path: insidePath(snapshot.path, path), before: file.size, oid: file.oid })
  const leaveOut = (path: string, size: number) =>
    changes.push({ kind: 'absent', path: insidePath(snapshot.path, path), before: size })

  async function dropAll(path: string, tree: TreeRoot): Promise<void> {
    if (!known.has(path)) leaveOut(path, tree.size)
    else
      for await (const { path: below, entry: old } of walkTree(tree.oid, read, path, tree))
        if (old.kind !== 'tree') drop(below, old)
  }

  async function compare(folder: ScannedFolder, tree: TreeRoot): Promise<void> {
    const files = new Map(folder.files.map((file) => [file.name, file]))
    const folders = new Map(folder.folders.map((below) => [below.name, below]))
    const wasPlaced = (name: string) => snapshot.table.rows.get(joinPath(folder.path, name))?.recorded === true
    const placed = [
      ...[...files.keys()].filter(wasPlaced),
      ...[...folders.keys()].filter((name) => known.has(joinPath(folder.path, name))),
    ]
    const row = await readLeafRow(tree.oid, tree, read)
    let leftOut = 0
    for (const [i, leaf] of row.leaves.entries()) {
      let entries: TreeEntry[]
      try {
        entries = await readLeaf(row, i, read)
      } catch (error) {
        if (!hasCode(error, 'OBJECT_MISSING') || holdsAny(placed, leaf, row.leaves[i + 1])) throw error
        leftOut += leaf.size
        continue
      }
      for (const old of entries) await compareOne(old, joinPath(folder.path, old.name), files, folders)
    }
    if (leftOut > 0) leaveOut(folder.path, leftOut)
    for (const file of files.values()) add(file.path, file)
    for (const below of folders.values()) for (const file of scannedFiles(below)) add(file.path, file)
  }

  async function compareOne(
    old: TreeEntry,
    path: string,
    files: Map<string, ScannedFolder['files'][number]>,
    folders: Map<string, ScannedFolder>,
  ): Promise<void> {
    if (old.kind === 'tree') {
      const below = folders.get(old.name)
      folders.delete(old.name)
      if (!below) await dropAll(path, old)
      else if (snapshot.table.rows.get(path)?.oid !== old.oid) await compare(below, old)
      return
    }
    const now = files.get(old.name)
    files.delete(old.name)
    if (!now) drop(path, old)
    else if (now.oid !== old.oid || now.kind !== old.kind)
      changes.push({ kind: 'modified', path: insidePath(snapshot.path, path), before: old.size, after: now.size })
  }

  const { scan } = snapshot
  if (scan.kind === 'folder' && entry.kind === 'tree') await compare(scan.folder, entry)
  else if (scan.kind === 'folder') {
    drop('', entry)
    for (const file of scannedFiles(scan.folder)) add(file.path, file)
  }
  return pairRenames(changes)
}

/** Files that differ between a version and the workspace; undefined when the version's tree cannot be read. */
export async function changesOf(snapshot: Snapshot, entry: Entry, store: ObjectStore): Promise<FileChange[] | undefined> {
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

/** Whether any of the names belongs to a leaf, which ends before the next one begins. */
function holdsAny(names: readonly string[], leaf: PageRef, next: PageRef | undefined): boolean {
  return names.some((name) => compareUtf8(name, leaf.name) >= 0 && (!next || compareUtf8(name, next.name) < 0))
}
