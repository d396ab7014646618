import type { Oid } from '../base/oid.ts'
import { compareUtf8, joinPath } from '../base/paths.ts'
import {
  editTree,
  findEntry,
  type LeafRow,
  type PageReader,
  type PageSink,
  readLeaf,
  readLeafRow,
  readTree,
  type TreeEntry,
  type TreeRoot,
  writeTree,
} from './tree.ts'
import type { Totals } from './tree-page.ts'

/** An entry with its path below the root that was walked. */
export interface PathEntry {
  path: string
  entry: TreeEntry
}

/** Every entry below a tree, each directory before what it holds, in the order of paths' names. @throws TREE_INVALID, OBJECT_MISSING */
export async function* walkTree(root: Oid, read: PageReader, folder = '', expected?: Totals): AsyncGenerator<PathEntry> {
  for (const entry of await readTree(root, read, expected)) {
    const path = joinPath(folder, entry.name)
    yield { path, entry }
    if (entry.kind === 'tree') yield* walkTree(entry.oid, read, path, entry)
  }
}

/** As walkTree, but only what lies at or below `part`, and the folders on the way to it, each found by the pages that lead there.
 *  @param part '' for all */
export async function* walkPart(root: Oid, part: string, read: PageReader, expected?: Totals): AsyncGenerator<PathEntry> {
  if (part === '') {
    yield* walkTree(root, read, '', expected)
    return
  }
  let folder: { oid: Oid; totals: Totals | undefined } = { oid: root, totals: expected }
  let path = ''
  for (const name of part.split('/')) {
    const entry = await findEntry(folder.oid, name, read, folder.totals)
    if (!entry) return
    path = joinPath(path, name)
    yield { path, entry }
    if (entry.kind !== 'tree') return
    folder = { oid: entry.oid, totals: entry }
  }
  yield* walkTree(folder.oid, read, path, folder.totals)
}

/** Every object a tree needs, pages included; each oid once as a page and once as a file. `seen` carries over between trees, so that shared
 *  sub-trees are read once. */
export async function* reachableObjects(
  root: Oid,
  read: PageReader,
  seen: Set<string>,
  expected?: Totals,
): AsyncGenerator<{ oid: Oid; size: number | undefined; page: boolean }> {
  // A file may hold the text of a page: having seen it as a file says nothing about the tree.
  const isNewPage = (oid: Oid): boolean => {
    const key = `page ${oid}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  }
  if (!isNewPage(root)) return
  yield { oid: root, size: undefined, page: true }
  const row = await readLeafRow(root, expected, read)
  for (const oid of row.branches) if (isNewPage(oid)) yield { oid, size: undefined, page: true }
  for (let i = 0; i < row.leaves.length; i++) {
    const leaf = row.leaves[i]!
    if (leaf.oid !== root) {
      if (!isNewPage(leaf.oid)) continue
      yield { oid: leaf.oid, size: undefined, page: true }
    }
    for (const entry of await readLeaf(row, i, read)) {
      if (entry.kind === 'tree') yield* reachableObjects(entry.oid, read, seen, entry)
      else if (!seen.has(entry.oid)) {
        seen.add(entry.oid)
        yield { oid: entry.oid, size: entry.size, page: false }
      }
    }
  }
}

/** Finds what lies at `path` below a tree. */
export async function findPath(root: Oid, path: string, read: PageReader): Promise<TreeEntry | undefined> {
  let entry: TreeEntry | undefined
  for (const name of path.split('/')) {
    if (entry && entry.kind !== 'tree') return undefined
    entry = await findEntry(entry?.oid ?? root, name, read, entry)
    if (!entry) return undefined
  }
  return entry
}

interface ChangeFolder {
  /** undefined deletes */
  entries: Map<string, TreeEntry | undefined>
  folders: Map<string, ChangeFolder>
}

/** Sets or deletes many paths below a tree, rewriting only the pages on their way. Missing folders are made; emptied ones stay.
 *  @param changes paths relative to the root; undefined deletes; no path may lie below another one */
export async function editPaths(
  root: Oid | undefined,
  changes: ReadonlyMap<string, TreeEntry | undefined>,
  io: { read: PageReader; sink: PageSink },
): Promise<TreeRoot> {
  const top: ChangeFolder = { entries: new Map(), folders: new Map() }
  for (const [path, entry] of changes) {
    const names = path.split('/')
    let folder = top
    for (const name of names.slice(0, -1)) {
      let next = folder.folders.get(name)
      if (!next) {
        next = { entries: new Map(), folders: new Map() }
        folder.folders.set(name, next)
      }
      folder = next
    }
    folder.entries.set(names.at(-1)!, entry)
  }
  async function apply(oid: Oid | undefined, folder: ChangeFolder): Promise<TreeRoot> {
    const edits = new Map(folder.entries)
    for (const [name, below] of folder.folders) {
      const old = oid === undefined ? undefined : await findEntry(oid, name, io.read)
      const deletesOnly = old?.kind !== 'tree' && !hasAdditions(below)
      if (deletesOnly) continue
      const made = await apply(old?.kind === 'tree' ? old.oid : undefined, below)
      edits.set(name, { name, kind: 'tree', ...made })
    }
    if (oid !== undefined) return editTree(oid, edits, io)
    const entries = [...edits.values()].filter((entry): entry is TreeEntry => entry !== undefined)
    return writeTree(
      entries.sort((a, b) => compareUtf8(a.name, b.name)),
      io.sink,
    )
  }
  return apply(root, top)
}

function hasAdditions(folder: ChangeFolder): boolean {
  for (const entry of folder.entries.values()) if (entry) return true
  for (const below of folder.folders.values()) if (hasAdditions(below)) return true
  return false
}

export interface TreeChange {
  path: string
  before: TreeEntry | undefined
  after: TreeEntry | undefined
}

/** The leaves of one side that the other side lacks, as entries in order. */
async function unsharedEntries(row: LeafRow, shared: Set<Oid>, read: PageReader): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = []
  for (let i = 0; i < row.leaves.length; i++) {
    if (!shared.has(row.leaves[i]!.oid)) for (const entry of await readLeaf(row, i, read)) entries.push(entry)
  }
  return entries
}

/** Files and links that differ between two trees (undefined: nothing there), reading only leaves that differ. Folders themselves are listed
 *  only where a folder that holds nothing came or went. @throws TREE_INVALID, OBJECT_MISSING */
export async function* diffTrees(
  before: Oid | undefined,
  after: Oid | undefined,
  read: PageReader,
  folder = '',
): AsyncGenerator<TreeChange> {
  yield* diffFolders(
    before === undefined ? undefined : { oid: before },
    after === undefined ? undefined : { oid: after },
    read,
    folder,
  )
}

/** One side of a comparison, with its totals where something refers to it. */
type Side = { oid: Oid } | (TreeEntry & { kind: 'tree' }) | undefined

function readSide(side: Side, read: PageReader): Promise<LeafRow> {
  if (!side) return Promise.resolve({ leaves: [], branches: [], rootEntries: undefined })
  return readLeafRow(side.oid, 'kind' in side ? side : undefined, read)
}

async function* diffFolders(before: Side, after: Side, read: PageReader, folder: string): AsyncGenerator<TreeChange> {
  if (before?.oid === after?.oid) return
  const [a, b] = await Promise.all([readSide(before, read), readSide(after, read)])
  const inA = new Set(a.leaves.map((leaf) => leaf.oid))
  const shared = new Set(b.leaves.map((leaf) => leaf.oid).filter((oid) => inA.has(oid)))
  const [olds, news] = await Promise.all([unsharedEntries(a, shared, read), unsharedEntries(b, shared, read)])
  let i = 0
  let j = 0
  while (i < olds.length || j < news.length) {
    const order = i >= olds.length ? 1 : j >= news.length ? -1 : compareUtf8(olds[i]!.name, news[j]!.name)
    const old = order <= 0 ? olds[i++] : undefined
    const now = order >= 0 ? news[j++] : undefined
    if (old && now && old.kind === now.kind && old.oid === now.oid) continue
    const path = joinPath(folder, (old ?? now)!.name)
    const oldTree = old?.kind === 'tree' ? old : undefined
    const newTree = now?.kind === 'tree' ? now : undefined
    const oldFile = oldTree ? undefined : old
    const newFile = newTree ? undefined : now
    if (oldFile || newFile) yield { path, before: oldFile, after: newFile }
    if (oldTree || newTree) {
      let any = false
      for await (const change of diffFolders(oldTree, newTree, read, path)) {
        any = true
        yield change
      }
      if (!any && !(oldTree && newTree)) yield { path, before: oldTree, after: newTree }
    }
  }
}
