import { lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isTemporaryName } from '../base/atomic.ts'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8, joinPath, nameProblem, type RepoPath } from '../base/paths.ts'
import type { Ignore } from './ignore.ts'
import type { KnownBytes } from './read-file.ts'
import { hasFingerprint, isUnchanged, kindOf, type StatRow, type StatTable } from './stat-table.ts'

/** A file or link below a tracked path. Without an oid its bytes must be read. */
export interface ScannedFile {
  name: string
  /** below the tracked path; '' when the tracked path is itself a file */
  path: string
  kind: 'file' | 'exec' | 'link'
  size: number
  oid: Oid | undefined
  /** what a large file held that may have changed since */
  known?: KnownBytes
}

export interface ScannedFolder {
  name: string
  /** below the tracked path; '' for the tracked folder itself */
  path: string
  files: ScannedFile[]
  folders: ScannedFolder[]
}

export type Scan =
  | { kind: 'absent' }
  | { kind: 'file'; file: ScannedFile }
  | {
      kind: 'folder'
      folder: ScannedFolder
      /** files, links and folders found */
      count: number
      /** files whose bytes must be read */
      unknown: ScannedFile[]
      /** there is a folder that has no row */
      hasNewFolders: boolean
      /** what a killed command left half-written, below the path */
      leftovers: string[]
    }

/** A name in a folder, as the disk lists it or as a look at it alone tells. */
interface Item {
  name: string
  isDirectory(): boolean
  isFile(): boolean
  isSymbolicLink(): boolean
  isFIFO(): boolean
  isSocket(): boolean
  isBlockDevice(): boolean
  isCharacterDevice(): boolean
}

function unsupported(path: string, what: string): MlvError {
  return new MlvError('PATH_UNSUPPORTED', `${path} is ${what}`, {
    hint: 'Only files, folders and symbolic links can be tracked; list it in .mlvignore, or remove it.',
  })
}

function specialKind(item: Pick<Item, 'isFIFO' | 'isSocket'>): string {
  return item.isFIFO() ? 'a FIFO' : item.isSocket() ? 'a socket' : 'a device'
}

/** Default order is by UTF-16 units, which is the order of UTF-8 bytes unless surrogates are about. */
function sortNames(items: Item[]): Item[] {
  let plain = true
  for (const item of items) {
    for (let i = 0; i < item.name.length; i++) if (item.name.charCodeAt(i) >= 0xd800) plain = false
  }
  return items.sort(plain ? (a, b) => (a.name < b.name ? -1 : 1) : (a, b) => compareUtf8(a.name, b.name))
}

function checkName(name: string, path: string): void {
  const problem = nameProblem(name)
  if (problem)
    throw new MlvError('PATH_INVALID', `${path} has ${problem}`, { hint: 'Rename it, or list it in .mlvignore to leave it out.' })
  if (name.includes('\ufffd') && !isUtf8Name(path))
    throw new MlvError('PATH_INVALID', `${path} has a name that is not UTF-8`, {
      hint: 'Rename it, or list its folder in .mlvignore.',
    })
}

function isUtf8Name(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

/** The object that a symbolic link into the cache names, there or not; undefined for a link of the user's.
 *  @param objects the cache's objects/ folder, with a slash at its end */
export function namedObject(path: string, objects: string): Oid | undefined {
  let target: string
  try {
    target = readlinkSync(path)
  } catch (error) {
    if (isGone(error) || systemCode(error) === 'EINVAL') return undefined
    throw error
  }
  const oid = target.slice(-64)
  return isOid(oid) && target === `${objects}${oid.slice(0, 2)}/${oid}` ? oid : undefined
}

/** The object that a symbolic link into the cache stands for, with its size; undefined for a link of the user's, or to an object that is gone. */
export function linkedObject(path: string, objects: string | undefined): { oid: Oid; size: number } | undefined {
  const oid = objects === undefined ? undefined : namedObject(path, objects)
  const size = oid && statSync(`${objects}${oid.slice(0, 2)}/${oid}`, { throwIfNoEntry: false })?.size
  return size === undefined || oid === undefined ? undefined : { oid, size }
}

/** A link that mlv made is no data: once its object is gone, what it stood for is. @throws OBJECT_MISSING */
export function refuseLostLink(path: string, objects: string | undefined, shown = path): void {
  if (objects === undefined || !namedObject(path, objects)) return
  throw new MlvError('OBJECT_MISSING', `${shown} is a link to an object that the cache has lost`, {
    hint: 'Run "mlv pull" to get it again, or remove the link.',
  })
}

function isRowOf(row: StatRow | undefined, oid: Oid): boolean {
  return row?.kind === 'file' && row.oid === oid
}

/** One name of a folder, without listing the others. */
function lookFor(folder: string, name: string): Item[] {
  const stats = lstatSync(`${folder}/${name}`, { throwIfNoEntry: false })
  return stats ? [Object.assign(stats, { name })] : []
}

/** The name that leads from a folder towards a part; undefined inside the part, where all names count. */
export function nameTowards(part: string, folder: string): string | undefined {
  if (part === '' || folder === part || folder.startsWith(`${part}/`)) return undefined
  return part.slice(folder === '' ? 0 : folder.length + 1).split('/')[0]
}

export interface ScanOptions {
  /** the cache's objects/ folder, as linkedObject takes it */
  objects?: string
  /** only what lies at or below this path of a folder, and the folders on the way to it; '' or undefined: all */
  part?: string
  /** told once there are so many files to read that threads pay */
  onMany?: () => void
}

/** Files to be read from which a scan tells. */
const MANY_FILES = 512

/** Looks at what lies at `path` without reading any file: what the table knows by size, time and inode gets its oid from there.
 *  @param absolute the project's root  @throws PATH_UNSUPPORTED, PATH_INVALID, FILE_UNREADABLE */
export function scanPath(absolute: string, path: RepoPath, table: StatTable, ignore: Ignore, options: ScanOptions = {}): Scan {
  const { objects, part = '' } = options
  const top = join(absolute, path)
  const stats = lstatSync(top, { throwIfNoEntry: false })
  if (!stats) return { kind: 'absent' }
  if (!stats.isDirectory()) {
    if (!stats.isFile() && !stats.isSymbolicLink()) throw unsupported(path, specialKind(stats))
    const row = table.rows.get(path)
    const linked = stats.isSymbolicLink() ? linkedObject(top, objects) : undefined
    const isKnown = linked ? isRowOf(row, linked.oid) : isUnchanged(row, stats)
    const kind = linked && isKnown ? 'file' : kindOf(stats)
    const file: ScannedFile = { name: '', path: '', kind, size: linked?.size ?? stats.size, oid: isKnown ? row!.oid : undefined }
    if (!isKnown && hasFingerprint(row)) file.known = row
    return { kind: 'file', file }
  }
  const unknown: ScannedFile[] = []
  const leftovers: string[] = []
  let count = 0
  let hasNewFolders = false

  function visit(folder: ScannedFolder, absoluteFolder: string): void {
    const only = nameTowards(part, folder.path)
    let items: Item[]
    try {
      items = only === undefined ? sortNames(readdirSync(absoluteFolder, { withFileTypes: true })) : lookFor(absoluteFolder, only)
    } catch (error) {
      throw fileError(error, 'reading', joinPath(path, folder.path))
    }
    for (const item of items) {
      const { name } = item
      // Joined it is one flat string; a template would keep its two halves beside it.
      const below = folder.path === '' ? name : [folder.path, name].join('/')
      const isFolder = item.isDirectory()
      if (ignore.ignores(below, isFolder)) continue
      if (isTemporaryName(name)) {
        leftovers.push(below)
        continue
      }
      const full = `${absoluteFolder}/${name}`
      checkName(name, full)
      count++
      if (isFolder) {
        const next: ScannedFolder = { name, path: below, files: [], folders: [] }
        folder.folders.push(next)
        hasNewFolders ||= table.rows.get(below)?.kind !== 'tree'
        visit(next, full)
        continue
      }
      if (!item.isFile() && !item.isSymbolicLink()) throw unsupported(`${path}/${below}`, specialKind(item))
      const row = table.rows.get(below)
      const file: ScannedFile = { name, path: below, kind: item.isFile() ? 'file' : 'link', size: row?.size ?? 0, oid: undefined }
      const linked = item.isFile() ? undefined : linkedObject(full, objects)
      if (linked) {
        if (isRowOf(row, linked.oid)) Object.assign(file, { ...linked, kind: 'file' })
      } else if (row && !row.racy) {
        const now = lstatSync(full, { throwIfNoEntry: false })
        if (!now) {
          count--
          continue
        }
        file.kind = kindOf(now)
        file.size = now.size
        if (isUnchanged(row, now)) file.oid = row.oid
      }
      if (file.oid === undefined && hasFingerprint(row)) file.known = row
      if (file.oid === undefined && unknown.push(file) === MANY_FILES) options.onMany?.()
      folder.files.push(file)
    }
  }

  const folder: ScannedFolder = { name: '', path: '', files: [], folders: [] }
  visit(folder, top)
  return { kind: 'folder', folder, count, unknown, hasNewFolders, leftovers }
}

/** Every file of a scanned folder, in order of their folders. */
export function* scannedFiles(folder: ScannedFolder): Generator<ScannedFile> {
  yield* folder.files
  for (const below of folder.folders) yield* scannedFiles(below)
}

export function* scannedFolders(folder: ScannedFolder): Generator<ScannedFolder> {
  yield folder
  for (const below of folder.folders) yield* scannedFolders(below)
}

export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '')
}
