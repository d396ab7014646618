import { lstatSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { foldersAround, joinPath, nameOf, type RepoPath, upwards } from '../base/paths.ts'
import type { Blobs } from '../store/blobs.ts'
import type { TreeEntry } from '../store/tree.ts'
import { editPaths } from '../store/tree-walk.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Ignore } from '../workspace/ignore.ts'
import type { openSaving } from '../workspace/saving.ts'
import { checkEntries } from './dvc-files.ts'
import { createMd5, kindAt, md5OfBytes, md5OfListing, openToRead } from './dvc-hash.ts'
import { type DvcData, type DvcEntry, type DvcHash, objectName } from './dvc-out.ts'

/** Where DVC keeps objects: its cache, then its remotes. */
export interface DvcStore {
  /** for messages */
  name: string
  blobs: Blobs
}

export interface ImportOptions {
  root: string
  /** absolute folders that DVC links the workspace's files from */
  caches: readonly string[]
  stores: readonly DvcStore[]
  saving: Awaited<ReturnType<typeof openSaving>>
  signal?: AbortSignal
  /** the files of a folder of the workspace as DVC lists them */
  list(folder: string, hash: DvcHash): Promise<DvcEntry[]>
  /** the folders below one of the workspace that hold no files */
  emptyFolders(folder: string): string[]
  /** what .mlvignore leaves out of the project */
  ignore: Ignore
}

export interface Imported {
  entry: Entry
  /** files of the workspace that are links into DVC's cache */
  linked: boolean
  /** patterns that keep .mlvignore away from files that DVC tracks */
  exceptions: string[]
}

/** What could not be taken over. */
export interface Missing {
  /** of the workspace */
  path: string
  /** as DVC names it */
  object: string
  /** places whose bytes were not what DVC says */
  wrong: string[]
}

export interface Importer {
  /** Takes over what DVC says lies at a path, checked against its MD5 while it is read. @returns what is missing instead, when anything is */
  take(data: DvcData): Promise<Imported | Missing[]>
  /** the entry of what was taken over with that MD5, wherever it lay */
  known(data: Pick<DvcData, 'md5' | 'folder' | 'hash'>): Entry | undefined
  readonly files: number
  readonly bytes: number
}

interface Source {
  name: string
  size: number
  /** where it lies, if in a folder */
  path?: string
  read: Pick<FileHandle, 'read'>['read']
  close(): Promise<void>
}

/** Files under way at once: of a bucket each is a request or more. */
const AT_ONCE = 16

function keyOf(md5: string, hash: DvcHash, folder: boolean): string {
  const name = `${md5.slice(0, 2)}/${md5.slice(2)}${folder ? '.dir' : ''}`
  return hash === 'md5' ? `files/md5/${name}` : name
}

async function fileSource(path: string, name: string): Promise<Source> {
  const file = await openToRead(path)
  const { size } = await file.stat()
  return { name, size, path, read: file.read.bind(file) as Source['read'], close: () => file.close() }
}

async function blobSource({ blobs, name }: DvcStore, key: string, signal: AbortSignal | undefined): Promise<Source | undefined> {
  const info = await blobs.head(key, signal)
  if (!info) return undefined
  if (blobs.filePath) return fileSource(blobs.filePath(key), name)
  const read = async (buffer: Uint8Array, offset: number, length: number, position: number) => {
    if (position >= info.size) return { bytesRead: 0, buffer }
    const bytes = await blobs.get(key, { start: position, end: Math.min(info.size, position + length), signal })
    buffer.set(bytes, offset)
    return { bytesRead: bytes.length, buffer }
  }
  return { name, size: info.size, read: read as Source['read'], close: async () => {} }
}

export function createImporter(options: ImportOptions): Importer {
  const { saving, root, caches, stores, signal } = options
  const taken = new Map<string, Promise<{ oid: Oid; size: number } | Missing>>()
  const entries = new Map<string, Entry>()
  let files = 0
  let total = 0

  /** @returns undefined when the bytes are not what DVC says */
  async function store(source: Source, md5: string, hash: DvcHash): Promise<{ oid: Oid; size: number } | undefined> {
    const check = createMd5(hash)
    const { loose } = saving.store
    if (loose && source.size >= (saving.store.policy.looseFrom ?? Number.POSITIVE_INFINITY)) {
      saving.checkSpace?.(source.size)
      // Bytes that prove wrong are an object that nothing refers to.
      const stored = await loose.storeFile(source, { path: source.path, signal, onPiece: (piece) => void check.update(piece) })
      return check.digest() === md5 ? stored : undefined
    }
    // One byte more shows a file that has grown.
    const bytes = Buffer.alloc(source.size + 1)
    let size = 0
    for (;;) {
      const { bytesRead } = await source.read(bytes, size, bytes.length - size, size)
      size += bytesRead
      if (bytesRead === 0 || size === bytes.length) break
    }
    const whole = bytes.subarray(0, size)
    check.update(whole)
    if (size !== source.size || check.digest() !== md5) return undefined
    const oid = oidOfBytes(whole)
    if (!saving.store.has(oid) && !saving.writer.has(oid)) await saving.writer.add(oid, whole)
    return { oid, size }
  }

  async function* sources(path: string, md5: string, hash: DvcHash): AsyncGenerator<Source> {
    const kind = kindAt(join(root, path), caches)
    if (kind === 'file' || kind === 'exec') yield await fileSource(join(root, path), path)
    for (const place of stores) {
      const source = await blobSource(place, keyOf(md5, hash, false), signal)
      if (source) yield source
    }
  }

  async function takeBytes(path: string, md5: string, hash: DvcHash): Promise<{ oid: Oid; size: number } | Missing> {
    const wrong: string[] = []
    for await (const source of sources(path, md5, hash)) {
      try {
        const found = await store(source, md5, hash)
        if (found) {
          files++
          total += found.size
          return found
        }
      } catch (error) {
        throw fileError(error, 'reading', source.name)
      } finally {
        await source.close()
      }
      // A file that was edited is no damage.
      if (source.name !== path) wrong.push(source.name)
    }
    return { path, object: md5, wrong }
  }

  async function takeFile(path: string, file: { md5: string; hash: DvcHash; exec: boolean }): Promise<Entry | Missing> {
    const key = `${file.hash} ${file.md5}`
    let found = taken.get(key)
    if (!found) {
      found = takeBytes(path, file.md5, file.hash)
      taken.set(key, found)
    }
    const result = await found
    if ('object' in result) return { ...result, path }
    // DVC's lists do not say which files are executable; the workspace does.
    const runs = kindAt(join(root, path), caches) === 'exec' && lstatSync(join(root, path)).size === result.size
    const entry: Entry = { kind: file.exec || runs ? 'exec' : 'file', oid: result.oid, size: result.size }
    entries.set(key, entry)
    return entry
  }

  /** The list of a folder: from the file that names it, from a place that has it, or as the workspace has it. */
  async function readList(data: DvcData): Promise<DvcEntry[] | Missing> {
    const { md5, hash } = data
    if (md5 === undefined) return data.files!
    const wrong: string[] = []
    for (const { blobs, name } of stores) {
      let bytes: Uint8Array
      try {
        bytes = await blobs.get(keyOf(md5, hash, true), { signal })
      } catch (error) {
        if (hasCode(error, 'BLOB_MISSING')) continue
        throw error
      }
      // Lists were always hashed as they are, also by DVC 2.
      if (md5OfBytes(bytes, 'md5') !== md5) wrong.push(name)
      else return checkEntries(parseList(bytes, `${md5}.dir`), `${md5}.dir`)
    }
    if (kindAt(join(root, data.path), caches) === 'folder') {
      const here = await options.list(data.path, hash)
      if (md5OfListing(here) === md5) return here
    }
    return { path: data.path, object: objectName(data), wrong }
  }

  async function takeFolder(data: DvcData): Promise<Imported | Missing[]> {
    const list = await readList(data)
    if (!Array.isArray(list)) return [list]
    const changes = new Map<string, TreeEntry>()
    const missing: Missing[] = []
    await mapBounded(list, AT_ONCE, async ({ path, md5 }) => {
      const found = await takeFile(`${data.path}/${path}`, { md5, hash: data.hash, exec: false })
      if ('object' in found) missing.push(found)
      else changes.set(path, { ...found, name: nameOf(path) } as TreeEntry)
    })
    if (missing.length > 0) return missing
    await loadFingerprint()
    const pages = new Map<Oid, Buffer>()
    const io = {
      read: async (oid: Oid) => pages.get(oid) ?? saving.store.read(oid),
      sink: (oid: Oid, bytes: Buffer) => void pages.set(oid, bytes),
    }
    const known = foldersAround(changes.keys())
    // DVC's lists do not name empty folders; the workspace does.
    for (const path of kindAt(join(root, data.path), caches) === 'folder' ? options.emptyFolders(data.path) : [])
      if (!known.has(path as RepoPath) && ![...upwards(path)].some((at) => changes.has(at)))
        changes.set(path, { kind: 'tree', name: nameOf(path), ...(await editPaths(undefined, new Map(), io)) })
    const tree = await editPaths(undefined, changes, io)
    for (const [oid, bytes] of pages) if (!saving.store.has(oid) && !saving.writer.has(oid)) await saving.writer.add(oid, bytes)
    const linked = list.some(({ path }) => kindAt(join(root, data.path, path), caches) === 'linked')
    return { entry: { kind: 'tree', ...tree }, linked, exceptions: exceptionsOf(data.path, list, options.ignore) }
  }

  return {
    async take(data) {
      if (data.folder) {
        const result = await takeFolder(data)
        if (!Array.isArray(result) && data.md5) entries.set(`${data.hash} ${data.md5}.dir`, result.entry)
        return result
      }
      const found = await takeFile(data.path, { md5: data.md5!, hash: data.hash, exec: data.exec })
      if ('object' in found) return [found]
      return { entry: found, linked: kindAt(join(root, data.path), caches) === 'linked', exceptions: [] }
    },
    known: ({ md5, folder, hash }) => entries.get(`${hash} ${md5}${folder ? '.dir' : ''}`),
    get files() {
      return files
    },
    get bytes() {
      return total
    },
  }
}

/** One pattern for each name below a folder that .mlvignore would leave out though DVC tracks it. */
function exceptionsOf(folder: string, list: readonly DvcEntry[], ignore: Ignore): string[] {
  const literally = (text: string) => text.replace(/[\\*?[\]!# ]/g, '\\$&')
  const patterns = new Set<string>()
  for (const { path } of list) {
    if (!ignore.ignores(`${folder}/${path}`, false)) continue
    const names = path.split('/')
    const depth = names.findIndex((_name, at) =>
      ignore.ignores(joinPath(folder, names.slice(0, at + 1).join('/')), at < names.length - 1),
    )
    patterns.add(
      `!/${folder.split('/').map(literally).join('/')}/**/${literally(names[depth]!)}${depth < names.length - 1 ? '/' : ''}`,
    )
  }
  return [...patterns]
}

function parseList(bytes: Uint8Array, name: string): unknown[] {
  try {
    const list: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (Array.isArray(list)) return list
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new MlvError('DVC_INVALID', `${name} is no list of files`, { hint: 'Run "dvc fetch", then the command again.' })
}
