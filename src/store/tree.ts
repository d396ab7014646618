import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { xxh64 } from '../base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import { formatPage, type PageRef, parsePage, type Totals, type TreeEntry, totalsOf } from './tree-page.ts'

export type { TreeEntry } from './tree-page.ts'

export interface TreeRoot extends Totals {
  oid: Oid
}

/** Where finished pages go. Called leaves first, the root last. */
export type PageSink = (oid: Oid, bytes: Buffer) => void
/** Gives a page's verified bytes. @throws OBJECT_MISSING, OBJECT_CORRUPT */
export type PageReader = (oid: Oid) => Promise<Uint8Array>

/** Whether a page could not be had: by a fault of the data, which another place or the whole way round may not have. */
export function isPageLost(error: unknown): boolean {
  return hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED', 'OBJECT_CORRUPT', 'BLOB_MISSING', 'TREE_INVALID')
}

const MAX_ENTRIES = 1024
/** Pages on their way at once. */
const READS = 16

/** Whether a page ends after the entry of this name: 1 in 128 by the name's hash, seeded by level so that levels cut independently. */
function endsPage(name: string, level: number): boolean {
  return (xxh64(name, BigInt(level)) & 0x7fn) === 0n
}

/** Cuts entries into pages. A branch page never ends before its second entry, so that each level is shorter than the one below. */
function cut<T extends { name: string }>(
  entries: readonly T[],
  level: number,
  emit: (page: readonly T[], closed: boolean) => void,
): void {
  let start = 0
  for (let i = 0; i < entries.length; i++) {
    const length = i - start + 1
    if (length >= MAX_ENTRIES || ((level === 0 || length >= 2) && endsPage(entries[i]!.name, level))) {
      emit(entries.slice(start, i + 1), true)
      start = i + 1
    }
  }
  if (start < entries.length) emit(entries.slice(start), false)
}

function sealPage(entries: readonly (TreeEntry | PageRef)[], level: number, sink: PageSink): PageRef {
  const bytes = Buffer.from(formatPage({ level, entries } as never))
  const oid = oidOfBytes(bytes)
  sink(oid, bytes)
  return { name: entries[0]?.name ?? '', kind: 'page', oid, ...totalsOf(entries) }
}

/** Builds the levels above a row of pages. @returns the root */
function seal(pages: PageRef[], sink: PageSink): TreeRoot {
  let row = pages
  for (let level = 1; row.length > 1; level++) {
    const above: PageRef[] = []
    cut(row, level, (page) => above.push(sealPage(page, level, sink)))
    row = above
  }
  const root = row[0]!
  return { oid: root.oid, size: root.size, files: root.files }
}

/** Writes one directory. `entries` are sorted by compareUtf8 and unique; sub-trees have been written before. */
export function writeTree(entries: readonly TreeEntry[], sink: PageSink): TreeRoot {
  const pages: PageRef[] = []
  cut(entries, 0, (page) => pages.push(sealPage(page, 0, sink)))
  if (pages.length === 0) pages.push(sealPage([], 0, sink))
  return seal(pages, sink)
}

function mismatch(oid: Oid, what: string): MlvError {
  return new MlvError('TREE_INVALID', `The tree page ${oid} ${what}`, {
    hint: 'It was made by a broken or hostile program; restore the pointer from an earlier commit.',
  })
}

/** Reads a page and holds it against what its parent says of it. */
async function openPage(ref: PageRef, level: number, end: string | undefined, read: PageReader) {
  const page = parsePage(await read(ref.oid), ref.oid)
  if (page.level !== level) throw mismatch(ref.oid, `is of level ${page.level} where ${level} belongs`)
  const totals = totalsOf(page.entries)
  if (totals.size !== ref.size || totals.files !== ref.files) throw mismatch(ref.oid, 'does not add up to what its parent says')
  if (page.entries[0]?.name !== ref.name) throw mismatch(ref.oid, 'does not begin with the name its parent says')
  if (end !== undefined && compareUtf8(page.entries.at(-1)!.name, end) >= 0) throw mismatch(ref.oid, 'reaches into its neighbour')
  return page
}

/** Reads a directory's root page. */
async function openRoot(root: Oid, expected: Totals | undefined, read: PageReader) {
  const page = parsePage(await read(root), root)
  const totals = totalsOf(page.entries)
  if (expected && (totals.size !== expected.size || totals.files !== expected.files))
    throw mismatch(root, 'does not add up to what refers to it')
  if (page.level > 0 && page.entries.length < 2) throw mismatch(root, 'is a root with a single page below it')
  return page
}

export interface LeafRow {
  /** leaf pages in order; one for a small directory */
  leaves: PageRef[]
  /** pages between the root and the leaves */
  branches: Oid[]
  /** the root page's entries when it is itself a leaf */
  rootEntries: TreeEntry[] | undefined
}

/** Reads a directory down to its row of leaf pages, without the leaves. @throws TREE_INVALID, OBJECT_MISSING */
export async function readLeafRow(root: Oid, expected: Totals | undefined, read: PageReader): Promise<LeafRow> {
  const page = await openRoot(root, expected, read)
  if (page.level === 0) {
    const entries = page.entries as TreeEntry[]
    const only: PageRef = { name: entries[0]?.name ?? '', kind: 'page', oid: root, ...totalsOf(entries) }
    return { leaves: [only], branches: [], rootEntries: entries }
  }
  let row = page.entries as PageRef[]
  const branches: Oid[] = []
  for (let level = page.level - 1; level > 0; level--) {
    branches.push(...row.map((ref) => ref.oid))
    const above = row
    const pages = await mapBounded(above, READS, (ref, i) => openPage(ref, level, above[i + 1]?.name, read))
    row = pages.flatMap((below) => below.entries as PageRef[])
  }
  return { leaves: row, branches, rootEntries: undefined }
}

export async function readLeaf(row: LeafRow, index: number, read: PageReader): Promise<TreeEntry[]> {
  if (row.rootEntries) return row.rootEntries
  const page = await openPage(row.leaves[index]!, 0, row.leaves[index + 1]?.name, read)
  return page.entries as TreeEntry[]
}

/** Reads one directory's entries, in order. @throws TREE_INVALID, OBJECT_MISSING */
export async function readTree(root: Oid, read: PageReader, expected?: Totals): Promise<TreeEntry[]> {
  const row = await readLeafRow(root, expected, read)
  const leaves = await mapBounded(row.leaves, READS, (_, index) => readLeaf(row, index, read))
  return leaves.length === 1 ? leaves[0]! : leaves.flat()
}

/** Index of the page in which `name` is or would be. */
export function leafOf(leaves: readonly PageRef[], name: string): number {
  let low = 0
  let high = leaves.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (compareUtf8(leaves[middle]!.name, name) <= 0) low = middle
    else high = middle - 1
  }
  return low
}

/** Finds one name in a directory, reading one page per level. @throws TREE_INVALID, OBJECT_MISSING */
export async function findEntry(root: Oid, name: string, read: PageReader, expected?: Totals): Promise<TreeEntry | undefined> {
  let page = await openRoot(root, expected, read)
  let end: string | undefined
  while (page.level > 0) {
    const refs = page.entries as PageRef[]
    const at = leafOf(refs, name)
    end = refs[at + 1]?.name ?? end
    page = await openPage(refs[at]!, page.level - 1, end, read)
  }
  return (page.entries as TreeEntry[]).find((entry) => entry.name === name)
}

/** Merges sorted entries with changes sorted by name; undefined deletes. */
function applyChanges(entries: TreeEntry[], changes: [string, TreeEntry | undefined][]): TreeEntry[] {
  const merged: TreeEntry[] = []
  let at = 0
  for (const [name, entry] of changes) {
    while (at < entries.length && compareUtf8(entries[at]!.name, name) < 0) merged.push(entries[at++]!)
    if (at < entries.length && entries[at]!.name === name) at++
    if (entry) merged.push(entry)
  }
  while (at < entries.length) merged.push(entries[at++]!)
  return merged
}

/** Edits one directory: reads and rewrites the leaves that change, and gives the same pages as a build from scratch.
 *  @param changes by name; undefined deletes */
export async function editTree(
  root: Oid,
  changes: ReadonlyMap<string, TreeEntry | undefined>,
  io: { read: PageReader; sink: PageSink },
): Promise<TreeRoot> {
  const row = await readLeafRow(root, undefined, io.read)
  const sorted = [...changes].sort((a, b) => compareUtf8(a[0], b[0]))
  const pages: PageRef[] = []
  let next = 0
  let carried: TreeEntry[] = []
  for (let i = 0; i < row.leaves.length; i++) {
    const end = row.leaves[i + 1]?.name
    const from = next
    while (next < sorted.length && (end === undefined || compareUtf8(sorted[next]![0], end) < 0)) next++
    // An untouched leaf that starts on a cut is kept unread.
    if (from === next && carried.length === 0 && !row.rootEntries) {
      pages.push(row.leaves[i]!)
      continue
    }
    const entries = [...carried, ...applyChanges(await readLeaf(row, i, io.read), sorted.slice(from, next))]
    carried = []
    const last = i === row.leaves.length - 1
    cut(entries, 0, (page, closed) => {
      if (closed || last) pages.push(sealPage(page, 0, io.sink))
      else carried = [...page]
    })
  }
  if (pages.length === 0) pages.push(sealPage([], 0, io.sink))
  return seal(pages, io.sink)
}
