import { loadFingerprint } from '../base/fingerprint.ts'
import type { Oid } from '../base/oid.ts'
import { compareUtf8, nameOf, parentOf } from '../base/paths.ts'
import { editTree, isPageLost, type PageReader, type PageSink, type TreeEntry, type TreeRoot, writeTree } from '../store/tree.ts'
import type { ScannedFile, ScannedFolder } from './scan.ts'
import { emptyTable, type StatTable } from './stat-table.ts'

/** From this many entries on, a folder's tree is edited page by page where few entries changed. */
const EDIT_FROM = 2000

interface BuildOptions {
  table: StatTable
  /** the folder's tree when its rows were last complete */
  previous: Oid | undefined
  /** rows whose entry differs from what `previous` holds, or that are gone: paths below the tracked folder */
  changed: ReadonlySet<string>
  /** every page is made again, because those that rows name may be gone */
  anew: boolean
  /** the sink stores what is not stored yet; otherwise the pages may be in no store */
  saved: boolean
  read: PageReader
  sink: PageSink
}

/** Builds the tree of a scanned folder whose files all have oids, and notes each sub-folder's tree in the table.
 *  Folders in which nothing changed keep the tree their row names. */
export async function buildTree(top: ScannedFolder, options: BuildOptions): Promise<TreeRoot> {
  const { table, changed } = options
  const changedFolders = new Map<string, Set<string>>()
  for (const path of changed) {
    for (let child = path; ; child = parentOf(child)) {
      const folder = parentOf(child)
      const names = changedFolders.get(folder) ?? new Set()
      changedFolders.set(folder, names.add(nameOf(child)))
      if (folder === '') break
    }
  }

  async function build(folder: ScannedFolder): Promise<TreeRoot> {
    const row = folder.path === '' ? undefined : table.rows.get(folder.path)
    const known = row?.kind === 'tree' && !options.anew && !(options.saved && row.unsaved) ? row : undefined
    const previous = folder.path === '' ? options.previous : known?.oid
    const names = changedFolders.get(folder.path)
    if (known && names === undefined) return { oid: known.oid, size: known.size, files: known.files }
    const root = (previous !== undefined && names && (await edit(previous, folder, names))) || (await write(folder))
    if (folder.path !== '' && (row?.oid !== root.oid || (options.saved && row.unsaved)))
      table.rows.set(folder.path, {
        ...{ kind: 'tree', ...root, mtime: 0, ctime: 0, inode: 0, racy: false, unsettled: false },
        recorded: row?.recorded ?? false,
        unsaved: !options.saved,
      })
    return root
  }

  async function subEntry(below: ScannedFolder): Promise<TreeEntry> {
    return { name: below.name, kind: 'tree', ...(await build(below)) }
  }

  async function write(folder: ScannedFolder): Promise<TreeRoot> {
    const entries: TreeEntry[] = folder.files.map(fileEntry)
    for (const below of folder.folders) entries.push(await subEntry(below))
    if (folder.folders.length > 0 && folder.files.length > 0) entries.sort((a, b) => compareUtf8(a.name, b.name))
    return writeTree(entries, options.sink)
  }

  async function edit(previous: Oid, folder: ScannedFolder, names: Set<string>): Promise<TreeRoot | undefined> {
    const count = folder.files.length + folder.folders.length
    if (count < EDIT_FROM || names.size > count / 50) return undefined
    const edits = new Map<string, TreeEntry | undefined>([...names].map((name) => [name, undefined]))
    for (const file of folder.files) if (names.has(file.name)) edits.set(file.name, fileEntry(file))
    for (const below of folder.folders) if (names.has(below.name)) edits.set(below.name, await subEntry(below))
    try {
      return await editTree(previous, edits, options)
    } catch (error) {
      // The old pages need not be here: then all are made again.
      if (isPageLost(error)) return undefined
      throw error
    }
  }

  return build(top)
}

/** Every page of the tree of a scanned folder whose files all have oids, also where the rows know it: they may be in no store. */
export async function treePages(top: ScannedFolder): Promise<Map<Oid, Buffer>> {
  const pages = new Map<Oid, Buffer>()
  await loadFingerprint()
  await buildTree(top, {
    ...{ table: emptyTable(), previous: undefined, changed: new Set<string>(), anew: true, saved: false },
    read: (oid) => Promise.reject(new Error(`nothing is read to make ${oid}`)),
    sink: (oid, bytes) => void pages.set(oid, bytes),
  })
  return pages
}

function fileEntry(file: ScannedFile): TreeEntry {
  return { name: file.name, kind: file.kind, oid: file.oid!, size: file.size }
}
