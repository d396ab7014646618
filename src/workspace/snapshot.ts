import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { loadFingerprint } from '../base/fingerprint.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader } from '../store/tree.ts'
import { buildTree } from './build-tree.ts'
import type { Entry } from './entry.ts'
import { type HashOptions, hashFiles, isStored, type Saving } from './hash-files.ts'
import { createHashCrew, type HashCrew } from './hash-threads.ts'
import type { Ignore } from './ignore.ts'
import { type Scan, type ScannedFile, scannedFiles, scannedFolders, scanPath } from './scan.ts'
import type { StatCache } from './stat-cache.ts'
import { forgetTrees, kindOf, type StatRow, type StatTable } from './stat-table.ts'

/** What lies at a path, with every file's oid. */
export interface Snapshot {
  path: RepoPath
  entry: Entry | undefined
  scan: Scan
  /** the table whose rows describe it: the folder's own, or that of single files */
  table: StatTable
  /** nothing differs from what the rows said before */
  unchanged: boolean
  /** pages of the tree that were made just now; without `saving` they are in no store */
  pages?: Map<Oid, Buffer>
}

export interface SnapshotOptions {
  root: string
  cache: StatCache
  ignore: Ignore
  /** the cache, for editing large trees page by page; opened only when needed */
  store: () => Promise<ObjectStore>
  /** the cache's objects/ folder, with a slash at its end: links into it stand for files */
  objects?: string
  /** when given, every object of the path is in the store (or its writer) afterwards */
  saving?: Saving
  /** hand out the pages also when saving, for an edit that follows */
  keepPages?: boolean
  signal?: AbortSignal
  onBytes?: (count: number) => void
}

/** Looks at a part of a folder alone, and reads its files that the rows do not know: no tree is made. Where no folder lies, the whole is looked at. */
export async function takePartSnapshot(path: RepoPath, part: string, options: SnapshotOptions): Promise<Snapshot> {
  const table = options.cache.folder(path)
  const scan = scanPath(options.root, path, table, options.ignore, { objects: options.objects, part })
  if (scan.kind !== 'folder') return takeSnapshot(path, options)
  let differs = false
  await hashFiles(
    join(options.root, path),
    scan.unknown,
    (file, row) => {
      const old = table.rows.get(file.path)
      differs ||= old?.oid !== row.oid || old.kind !== row.kind
      keepRow(table, file.path, file, row, false)
    },
    { objects: options.objects, signal: options.signal, onBytes: options.onBytes },
  )
  if (differs) forgetTrees(table, part)
  return { path, entry: undefined, scan, table, unchanged: false }
}

/** Looks at a path, reads the files that the rows do not know, and names the whole. @throws what scanPath and hashFiles throw */
export async function takeSnapshot(path: RepoPath, options: SnapshotOptions): Promise<Snapshot> {
  const folderTable = options.cache.folder(path)
  // Threads take a while to start, beside the scan.
  const crew = createHashCrew()
  try {
    const scan = scanPath(options.root, path, folderTable, options.ignore, { ...options, onMany: crew.start })
    if (scan.kind === 'absent') return { path, entry: undefined, scan, table: folderTable, unchanged: false }
    if (scan.kind === 'folder') return await snapshotFolder(path, scan, folderTable, { ...options, crew })
  } finally {
    await crew.close()
  }
  const table = options.cache.files()
  const scan = scanPath(options.root, path, table, options.ignore, options)
  if (scan.kind !== 'file') return takeSnapshot(path, options)
  return snapshotFile(path, scan, table, options)
}

/** Whether what is recorded of a file was taken out of the cache because a remote holds it: an add of something else does not bring it back. */
function isDropped(saving: Saving, row: StatRow | undefined, oid: Oid): boolean {
  if (saving.all) return false
  return row?.recorded === true && !row.unsaved && row.oid === oid && (saving.dropped?.().has(oid) ?? false)
}

function needsSaving(saving: Saving | undefined, oid: StatRow['oid']): boolean {
  return saving !== undefined && !isStored(saving, oid)
}

async function snapshotFile(
  path: RepoPath,
  scan: Scan & { kind: 'file' },
  table: StatTable,
  options: SnapshotOptions,
): Promise<Snapshot> {
  const { file } = scan
  const { saving } = options
  const known =
    file.oid !== undefined && (!saving || !needsSaving(saving, file.oid) || isDropped(saving, table.rows.get(path), file.oid))
  if (!known)
    await hashFiles(
      join(options.root, path),
      [file],
      (_file, row) => keepRow(table, path, file, row, options.saving !== undefined),
      options,
    )
  return { path, entry: { kind: file.kind, oid: file.oid!, size: file.size }, scan, table, unchanged: known }
}

/** Reads many single files that the rows do not know, all in one go: one by one each would take ten times as long. Left out is what is no
 *  file or symbolic link, and what is gone. */
export async function takeFiles(paths: readonly RepoPath[], options: SnapshotOptions): Promise<Map<RepoPath, Entry>> {
  const table = options.cache.files()
  const files: ScannedFile[] = []
  for (const path of paths) {
    const stats = lstatSync(`${options.root}/${path}`, { throwIfNoEntry: false })
    if (stats?.isFile() || stats?.isSymbolicLink())
      files.push({ name: '', path, kind: kindOf(stats), size: stats.size, oid: undefined })
  }
  const entries = new Map<RepoPath, Entry>()
  const { saving, objects, signal, onBytes } = options
  await hashFiles(
    options.root,
    files,
    (file, row) => {
      keepRow(table, file.path, file, row, saving !== undefined)
      entries.set(file.path as RepoPath, { kind: file.kind, oid: row.oid, size: row.size })
    },
    { saving, objects, signal, onBytes },
  )
  return entries
}

function keepRow(table: StatTable, key: string, file: ScannedFile, row: StatRow, saved: boolean): void {
  file.kind = row.kind as ScannedFile['kind']
  file.oid = row.oid
  file.size = row.size
  const old = table.rows.get(key)
  const unsaved = !saved && (old?.oid !== row.oid || old.unsaved === true)
  // Nobody else holds the row: changed in place it takes less memory than a copy.
  row.recorded = old?.recorded ?? false
  row.unsaved = unsaved
  table.rows.set(key, row)
  table.dirty = true
}

async function snapshotFolder(
  path: RepoPath,
  scan: Scan & { kind: 'folder' },
  table: StatTable,
  options: SnapshotOptions & { crew: HashCrew },
): Promise<Snapshot> {
  const { saving, crew } = options
  // All that is here has a row, and there are no others: rows of what is gone may be as many as new folders.
  const complete = scan.unknown.length === 0 && !scan.hasNewFolders && scan.count === table.rows.size
  const { computed } = table
  const whole = saving === undefined || isHeld(table, computed, saving)
  if (complete && computed && whole) return { path, entry: computed, scan, table, unchanged: true }

  await loadFingerprint()
  const known = table.rows.size
  // Without rows all is made from nothing: a list of a million names would say no more.
  const changed = new Set<string>()
  let fresh = false
  const unsaved = saving ? findUnsaved(scan, table, saving) : []
  const hashing: HashOptions = { saving, crew, objects: options.objects, signal: options.signal, onBytes: options.onBytes }
  const files = unsaved.length === 0 ? scan.unknown : [...scan.unknown, ...unsaved]
  await hashFiles(
    join(options.root, path),
    files,
    (file, row) => {
      const old = table.rows.get(file.path)
      fresh ||= old === undefined
      if (known > 0 && (old?.oid !== row.oid || old.kind !== row.kind)) changed.add(file.path)
      keepRow(table, file.path, file, row, saving !== undefined)
    },
    hashing,
  )
  // No rows, or equal counts and nothing new: nothing is gone, and no list of all that is here need be made.
  if (known > 0 && (scan.count !== table.rows.size || fresh || scan.hasNewFolders)) forgetGone(scan, table, changed)
  // What was read again is as it was. Without rows the folder was empty, and nothing says what has come to it.
  else if (known > 0 && computed && whole && changed.size === 0) return { path, entry: computed, scan, table, unchanged: false }
  if (saving) for (const folder of scannedFolders(scan.folder)) markUnsavedFolder(folder.path, table, saving, changed)

  const recorded = table.recorded.get('')
  // Where the cache was collected since, a page that it has may name others that it lacks.
  const anew = saving !== undefined && (saving.all || !saving.store.isSound(recorded && table.held))
  const isTrusted = saving === undefined || saving.store.isSound() || computed?.oid === recorded?.oid
  let store: ObjectStore | undefined
  const read: PageReader = async (oid) => {
    store ??= await options.store()
    return store.read(oid)
  }
  const stored: Promise<void>[] = []
  const pages = new Map<Oid, Buffer>()
  const root = await buildTree(scan.folder, {
    table,
    previous: isTrusted && !anew ? computed?.oid : undefined,
    ...{ changed, anew, saved: saving !== undefined },
    read,
    sink: (oid, bytes) => {
      if (!saving || options.keepPages) pages.set(oid, bytes)
      if (!saving || !needsSaving(saving, oid)) return
      const adding = saving.writer.add(oid, bytes)
      // Awaited once the tree is built; until then a failure nobody waits for would end the process.
      adding.catch(() => {})
      stored.push(adding)
    },
  })
  await Promise.all(stored)
  const entry: Entry = { kind: 'tree', ...root }
  if (table.computed?.oid !== entry.oid) table.dirty = true
  table.computed = entry
  return { path, entry, scan, table, unchanged: false, pages: saving && !options.keepPages ? undefined : pages }
}

/** Whether the cache has a folder with all that lies below it: its root vouches for that where nothing was ever taken out of the cache, and that of
 *  what was recorded where nothing was since. */
function isHeld(table: StatTable, entry: Entry | undefined, { store, all }: Saving): boolean {
  if (all || entry === undefined || !store.has(entry.oid)) return false
  return store.isSound() || (store.isSound(table.held) && entry.oid === table.recorded.get('')?.oid)
}

/** Files whose oid a row knows, but which were never stored, e.g. because only `status` has read them. */
function findUnsaved(scan: Scan & { kind: 'folder' }, table: StatTable, saving: Saving): ScannedFile[] {
  const unsaved: ScannedFile[] = []
  if (scan.unknown.length === scan.count) return unsaved
  const recorded = table.recorded.get('')
  const trusted = isHeld(table, recorded, saving)
  for (const file of scannedFiles(scan.folder)) {
    if (file.oid === undefined) continue
    const row = table.rows.get(file.path)
    if (trusted && row?.recorded && !row.unsaved) continue
    if (needsSaving(saving, file.oid) && !isDropped(saving, row, file.oid)) unsaved.push(file)
  }
  return unsaved
}

/** A folder's tree that its row names but the store lacks must be written again. */
function markUnsavedFolder(path: string, table: StatTable, saving: Saving, changed: Set<string>): void {
  const row = path === '' ? table.computed : table.rows.get(path)
  if (row?.kind === 'tree' && needsSaving(saving, row.oid)) changed.add(path === '' ? '.' : `${path}/.`)
}

/** Drops rows of what is gone, but keeps those that mlv recorded: their absence means "deleted". Notes them as changed. */
function forgetGone(scan: Scan & { kind: 'folder' }, table: StatTable, changed: Set<string>): void {
  const present = new Set<string>()
  for (const folder of scannedFolders(scan.folder)) {
    if (folder.path !== '') present.add(folder.path)
    for (const file of folder.files) present.add(file.path)
    if (folder.path !== '' && table.rows.get(folder.path)?.kind !== 'tree') changed.add(folder.path)
  }
  for (const [path, row] of table.rows) {
    if (present.has(path)) continue
    changed.add(path)
    if (row.recorded) continue
    table.rows.delete(path)
    table.dirty = true
  }
}
