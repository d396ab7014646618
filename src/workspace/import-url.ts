import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import { createOidHash, type Oid } from '../base/oid.ts'
import { nameOf, type RepoPath } from '../base/paths.ts'
import { FOREIGN } from '../store/foreign.ts'
import { refusePurged, takeIn } from '../store/intake.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoreWriter } from '../store/store-writer.ts'
import type { TreeEntry } from '../store/tree.ts'
import { editPaths } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import { bucketSettings, type OpenedSource, openUrlSource, type SourceFile } from './open-source.ts'
import { checkAgain, checkPlace, type Earlier, type Imported, placeImport } from './place-import.ts'
import type { Project } from './project.ts'
import { ofSource, type UrlSource } from './source.ts'
import { isSameFile, readSourceFiles, storeSourceFiles, type TakenFile, versionOf } from './source-files.ts'

/** Files read at once; each holds up to 32 MiB of ranges. */
const FILES_AT_ONCE = 4

export interface UrlOptions {
  force: boolean
  /** straight into a remote: neither the cache nor the workspace gets the data */
  toRemote: boolean
  /** another remote than the default one */
  remote?: string
}

/** Builds the tree of files that are stored, and stores its pages. */
export async function storeTree(files: Map<string, TreeEntry>, store: ObjectStore, writer: StoreWriter): Promise<Entry> {
  await loadFingerprint()
  const pages = new Map<Oid, Buffer>()
  const root = await editPaths(undefined, files, {
    read: async (oid) => pages.get(oid)!,
    sink: (oid, bytes) => void pages.set(oid, bytes),
  })
  for (const [oid, bytes] of pages) if (!store.has(oid) && !writer.has(oid)) await writer.add(oid, bytes)
  return { kind: 'tree', ...root }
}

/** Hashes a file and notes where it lies instead of storing it. */
type Keeper = (file: SourceFile, pieces: AsyncIterable<Buffer>, writer: StoreWriter) => Promise<{ oid: Oid; size: number }>

function keepInPlace(project: Project, source: UrlSource, store: ObjectStore): Keeper {
  const { endpoint, region, path_style } = bucketSettings(project, source, bucketOf(source.url))
  // A bucket keeps versions of all its files or of none, so one that has none is asked once.
  let keepsVersions = true
  return async (file, pieces, writer) => {
    const { key, blobs } = file.blob!
    const head = keepsVersions ? await blobs.head(key) : undefined
    if (head && head.etag !== file.blob!.info.etag)
      throw new MlvError('FILE_CHANGED', `${blobs.url}/${key} has changed since it was listed`, {
        hint: 'Run the command again, when nobody writes there.',
      })
    keepsVersions = head?.version !== undefined
    const hash = createOidHash()
    let size = 0
    for await (const piece of pieces) {
      hash.update(piece)
      size += piece.length
    }
    const oid = hash.digest()
    refusePurged(store, oid, nameIn(source, file))
    if (store.has(oid) || writer.has(oid)) return { oid, size }
    const full = prefixOf(blobs.url) + key
    const { version, etag } = { version: head?.version, etag: file.blob!.info.etag }
    await writer.addForeign(oid, { bucket: bucketOf(source.url), key: full, size, version, etag, endpoint, region, path_style })
    return { oid, size }
  }
}

/** A file of a source, for messages. */
function nameIn({ url }: UrlSource, { path }: SourceFile): string {
  return path === '' ? url : `${url.replace(/\/+$/, '')}/${path}`
}

function bucketOf(url: string): string {
  return url.slice('s3://'.length).split('/', 1)[0]!
}

/** What stands before the keys of blobs below a prefix. */
function prefixOf(url: string): string {
  const below = url.slice('s3://'.length + bucketOf(url).length + 1)
  return below === '' ? '' : `${below}/`
}

/** Files that need not be read again. */
export interface KnownFiles {
  /** what the last import or update took, by path */
  taken: ReadonlyMap<string, TakenFile>
  /** another store beside the one written to whose objects will do */
  also?: ObjectStore
}

interface Stored {
  entry: Entry
  /** of a bucket's folder: the object that says what was taken */
  files: Oid | undefined
}

/** Reads the files of a source that are not known, each byte once: into a store, or to note where they lie. */
async function storeSource(
  project: Project,
  { opened, source, known }: { opened: OpenedSource; source: UrlSource; known: KnownFiles | undefined },
  store: ObjectStore,
): Promise<Stored> {
  const { signal, progress } = project.surroundings
  const writer = store.writer({ signal })
  const isHere = (oid: Oid) => [store, known?.also].some((one) => one?.has(oid) || (source.in_place && one?.refersTo(oid)))
  const reusable = (file: SourceFile) => {
    const taken = known?.taken.get(file.path)
    return isSameFile(taken, file) && isHere(taken.oid) ? taken : undefined
  }
  if (source.in_place) await store.requireFeature(FOREIGN)
  const keep: Keeper = source.in_place
    ? keepInPlace(project, source, store)
    : (file, pieces) => takeIn(pieces, { store, writer, what: nameIn(source, file) })
  const entries = new Map<string, TreeEntry>()
  const taken = new Map<string, TakenFile>()
  const unread: SourceFile[] = []
  const note = (file: SourceFile, oid: Oid, size: number) => {
    entries.set(file.path, { name: nameOf(file.path), kind: 'file', oid, size })
    const version = versionOf(file)
    if (version !== undefined) taken.set(file.path, { size, version, oid })
  }
  for (const file of opened.files) {
    const same = reusable(file)
    if (same) note(file, same.oid, same.size)
    else unread.push(file)
  }
  const task = progress.start(
    'importing',
    unread.reduce((sum, file) => sum + (file.size ?? 0), 0),
  )
  try {
    await mapBounded(unread, project.config.get('core.jobs') ?? FILES_AT_ONCE, async (file) => {
      signal?.throwIfAborted()
      const { oid, size } = await keep(file, counted(file.read(), task), writer)
      if (file.size !== undefined && size !== file.size)
        throw new MlvError(
          'FILE_CHANGED',
          `A file of the source has ${size} bytes, not ${file.size} as it was listed: ${file.path}`,
          {
            hint: 'Run the command again, when nobody writes there.',
          },
        )
      note(file, oid, size)
    })
    const only = entries.get('')
    const entry: Entry =
      opened.kind === 'file' ? { kind: 'file', oid: only!.oid, size: only!.size } : await storeTree(entries, store, writer)
    const files = opened.kind === 'folder' ? await storeSourceFiles(taken, store, writer) : undefined
    store.loose?.flush()
    await writer.finish()
    return { entry, files }
  } finally {
    task.finish()
  }
}

async function* counted(pieces: AsyncIterable<Buffer>, task: { advance(bytes: number): void }): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    yield piece
    task.advance(piece.length)
  }
}

/** Stores what a url names, and says how a pointer pins it. @throws FILE_CHANGED when it changes while it is read, and what the store throws */
export async function storeUrl(
  project: Project,
  request: { source: UrlSource; opened: OpenedSource; known?: KnownFiles },
  { toRemote, remote }: Pick<UrlOptions, 'toRemote' | 'remote'>,
): Promise<{ entry: Entry; source: UrlSource }> {
  const { source, opened, known } = request
  const store = toRemote ? (await project.remote(remote, 'write')).store : await project.cache('write')
  const { entry, files } = await storeSource(project, { opened, source, known }, store)
  const { etag: _etag, modified: _modified, version: _version, listing: _listing, files: _files, ...place } = source
  return { entry, source: { ...place, ...opened.pin, files } }
}

async function take(
  project: Project,
  request: { path: RepoPath; source: UrlSource; opened: OpenedSource; known?: KnownFiles; earlier?: Earlier },
  options: UrlOptions,
): Promise<Imported> {
  const { force, toRemote, remote } = options
  const { path, earlier } = request
  const store = toRemote ? (await project.remote(remote, 'write')).store : await project.cache('write')
  const isPlaced = !toRemote && !request.source.in_place
  const kept = { path, force, place: isPlaced, remote: toRemote ? remote : undefined, store }
  for (;;) {
    const stored = await storeUrl(project, request, options)
    checkAgain(path, earlier, stored.entry)
    const placed = await placeImport(project, { ...kept, ...stored, ...earlier })
    if (placed) return placed
  }
}

/** Takes what a url names into this project, pinned by what the server calls this version.
 *  @throws as checkPlace, openUrlSource and placeImport; FILE_CHANGED when it changes while it is read */
export async function importUrl(project: Project, source: UrlSource, request: UrlOptions & { out: RepoPath }): Promise<Imported> {
  const earlier = await checkPlace(project, request.out, { force: request.force, source })
  if (source.in_place && request.toRemote)
    throw new MlvError('USAGE', '--in-place and --to-remote exclude each other', {
      hint: 'In place, "mlv push" tells the remote where the data lies.',
    })
  const opened = await openUrlSource(project, source)
  try {
    return await take(project, { path: request.out, source, opened, earlier }, request)
  } finally {
    opened.close()
  }
}

/** Whether a pointer pins what was looked at; 'unknown' where the server does not say which version it has. */
export function isPinned(source: UrlSource, { pin }: Pick<OpenedSource, 'pin'>): boolean | 'unknown' {
  const keys = (['listing', 'etag', 'version', 'modified'] as const).filter((key) => pin[key] !== undefined)
  return keys.length === 0 ? 'unknown' : keys.every((key) => pin[key] === source[key])
}

/** What may be wrong with the place that an import came from. */
export const SOURCE_URL_FAULTS = [
  'PATH_MISSING',
  'PATH_INVALID',
  'BLOB_MISSING',
  'REMOTE_DENIED',
  'REMOTE_FAILED',
  'REMOTE_UNREACHABLE',
  'CONFIG_INVALID',
  'SECRET_REFUSED',
  'USAGE',
] as const

/** Puts what the pointer has named before into the workspace, where an interrupted update has not. Work stays, and what is not here is left to a pull. */
async function finishUpdate(
  project: Project,
  { path, entry, source }: { path: RepoPath; entry: Entry; source: UrlSource },
): Promise<Imported | undefined> {
  const store = await project.cache('read')
  if (source.in_place || !store.has(entry.oid)) return undefined
  try {
    return await placeImport(project, { path, entry, source, force: false, place: true, store })
  } catch (error) {
    if (hasCode(error, 'WORK_UNSAVED', 'OBJECT_MISSING')) return undefined
    throw error
  }
}

/** Looks whether what a url names has changed, and takes it if so.
 *  @returns undefined when the server says that it is as it was, and nothing was left to do   @throws as importUrl, naming the pointer */
export async function updateFromUrl(
  project: Project,
  now: { path: RepoPath; entry: Entry; source: UrlSource; remote: string | undefined },
  options: UrlOptions,
): Promise<Imported | undefined> {
  const { path, source } = now
  let opened: OpenedSource | undefined
  try {
    opened = await openUrlSource(project, source)
    if (isPinned(source, opened) === true) return options.toRemote ? undefined : await finishUpdate(project, now)
    const taken = await readSourceFiles(project, source.files, now.remote)
    return await take(project, { path, source, opened, known: taken && { taken } }, options)
  } catch (error) {
    throw ofSource(path, error, SOURCE_URL_FAULTS)
  } finally {
    opened?.close()
  }
}
