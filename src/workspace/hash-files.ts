import { lstatSync, readlinkSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { DIGEST_HERE } from '../base/digester.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { refusePurged as refuseStoring } from '../store/intake.ts'
import { MAX_OBJECT_BYTES, tooLarge } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoreWriter } from '../store/store-writer.ts'
import { createHashCrew, type HashCrew } from './hash-threads.ts'
import { type HashedFile, type LargeOptions, readLargeFile, readSmallFile, SMALL_BYTES } from './read-file.ts'
import { linkedObject, refuseLostLink, type ScannedFile } from './scan.ts'
import { kindOf, type StatRow, TICK_MS } from './stat-table.ts'

/** Where bytes go while they are hashed; undefined where only the hash is wanted. */
export interface Saving {
  store: ObjectStore
  writer: StoreWriter
  /** what was taken out of the cache because a remote holds it: where it is recorded already it need not come back */
  dropped?(): ReadonlySet<Oid>
  /** what the cache lacks is stored, whatever the rows say of it */
  all?: boolean
  /** Told how many bytes are about to be copied. @throws DISK_FULL when they will not fit */
  checkSpace?(bytes: number): void
}

export interface HashOptions {
  saving?: Saving
  /** the cache's objects/ folder: links into it stand for files */
  objects?: string
  /** threads to share the work with, where there is enough of it; closed by the caller */
  crew?: HashCrew
  signal?: AbortSignal
  onBytes?: (count: number) => void
}

/** A large file, left for later. */
interface LargeFile {
  file: ScannedFile
  path: string
  size: number
}

const TRIES = 3
/** Files that go to a thread, or are read here, between two looks at what has come back. */
const SLICE_FILES = 256
/** Slices that a thread has at once, so that it never waits for the next. */
const SLICES_AHEAD = 2
/** Work below which starting threads costs more than it saves. */
const THREADS_FROM = { files: 2 * SLICE_FILES, bytes: 64 << 20 }

const scratch = Buffer.allocUnsafeSlow(SMALL_BYTES)

function rowOf(
  kind: StatRow['kind'],
  file: { size: number; mtime: number; ctime: number; inode: number; at: number; oid: Oid; fingerprint?: string },
): StatRow {
  const row: StatRow = {
    kind,
    oid: file.oid,
    size: file.size,
    files: 0,
    mtime: file.mtime,
    ctime: file.ctime,
    inode: file.inode,
    recorded: false,
    racy: Math.max(file.mtime, file.ctime) >= file.at - TICK_MS,
    unsettled: false,
    unsaved: false,
  }
  if (file.fingerprint !== undefined) row.fingerprint = file.fingerprint
  return row
}

function rowOfHashed({ stats, oid, at, fingerprint }: HashedFile): StatRow {
  return rowOf(kindOf(stats), {
    size: stats.size,
    mtime: stats.mtimeMs,
    ctime: stats.ctimeMs,
    inode: stats.ino,
    at,
    oid,
    fingerprint,
  })
}

async function hashLink(path: string, options: HashOptions): Promise<StatRow> {
  const stats = lstatSync(path)
  const times = { mtime: stats.mtimeMs, ctime: stats.ctimeMs, inode: stats.ino, at: Date.now() }
  const linked = linkedObject(path, options.objects)
  if (linked) return { ...rowOf('file', { ...times, ...linked }), racy: false }
  const target = readlinkSync(path, { encoding: 'buffer' })
  const oid = oidOfBytes(target)
  const { saving } = options
  refusePurged(saving, oid, path)
  if (saving) refuseLostLink(path, options.objects)
  if (saving && !isStored(saving, oid)) await saving.writer.add(oid, target)
  return rowOf('link', { ...times, size: target.length, oid })
}

/** @throws OBJECT_PURGED */
function refusePurged(saving: Saving | undefined, oid: Oid, path: string): void {
  if (saving) refuseStoring(saving.store, oid, path)
}

/** Whether the bytes need not be stored: the cache has them, or its writer has just been given them. */
export function isStored(saving: Saving, oid: Oid): boolean {
  return saving.writer.has(oid) || saving.store.has(oid)
}

/** Reads files once each, here and on other cores, and, when saving, stores exactly the bytes that were hashed.
 *  @param each is given the row of each file, in no order
 *  @throws FILE_CHANGED when one changes each time it is read, FILE_UNREADABLE, PATH_MISSING, DISK_FULL */
export async function hashFiles(
  folder: string,
  files: readonly ScannedFile[],
  each: (file: ScannedFile, row: StatRow) => void,
  options: HashOptions,
): Promise<void> {
  const { saving, signal } = options
  const largeFrom = Math.min(saving?.store.policy.looseFrom ?? SMALL_BYTES, SMALL_BYTES)
  const pathOf = (file: ScannedFile) => (file.path === '' ? folder : `${folder}/${file.path}`)
  const large: LargeFile[] = []
  const crew = options.crew ?? createHashCrew()

  const reserve = (length: number): Buffer | Promise<void> =>
    saving ? saving.writer.reserve(length) : scratch.subarray(0, length)

  /** @throws OBJECT_TOO_LARGE, before hours are spent on it */
  function keepForLater(file: ScannedFile, path: string, size: number): void {
    if (size > MAX_OBJECT_BYTES) throw tooLarge(path, size)
    large.push({ file, path, size })
  }

  /** Small files take no promise each: it would cost more than hashing them. @returns what to wait for before the rest can be read */
  function readSlice(slice: ScannedFile[]): Promise<void> | undefined {
    for (let i = 0; i < slice.length; i++) {
      const file = slice[i]!
      const path = pathOf(file)
      try {
        const glance = file.kind === 'link' ? undefined : readSmallFile(path, largeFrom, reserve)
        if (glance?.is === 'hashed') keep(file, glance.file)
        else if (glance?.is === 'large') keepForLater(file, path, glance.size)
        else {
          const wait = glance?.is === 'waiting' ? glance.until : readAlone(file, path)
          return wait.then(() => readSlice(slice.slice(glance?.is === 'waiting' ? i : i + 1)))
        }
      } catch (error) {
        throw fileError(error, 'reading', path)
      }
    }
    return undefined
  }

  function keep(file: ScannedFile, hashed: HashedFile): void {
    const { oid, stats } = hashed
    refusePurged(saving, oid, pathOf(file))
    options.onBytes?.(stats.size)
    if (saving && !isStored(saving, oid)) saving.writer.keep(oid, stats.size)
    each(file, rowOfHashed(hashed))
  }

  /** A link, or a file that changed while it was read. */
  async function readAlone(file: ScannedFile, path: string): Promise<void> {
    try {
      if (file.kind === 'link') each(file, await hashLink(path, options))
      else await retry(file, path)
    } catch (error) {
      throw fileError(error, 'reading', path)
    }
  }

  async function retry(file: ScannedFile, path: string): Promise<void> {
    for (let attempt = 0; attempt < TRIES; ) {
      const glance = readSmallFile(path, largeFrom, reserve)
      if (glance.is === 'hashed') return keep(file, glance.file)
      if (glance.is === 'waiting') {
        await glance.until
        continue
      }
      const hashed = glance.is === 'large' ? await readLargeFile(path, largeOptions(file)) : undefined
      if (hashed) {
        refusePurged(saving, hashed.oid, path)
        return each(file, rowOfHashed(hashed))
      }
      attempt++
    }
    throw new MlvError('FILE_CHANGED', `${path} changes while it is being read`, {
      hint: 'Wait until its writer has finished, then run the command again.',
    })
  }

  function largeOptions({ known }: ScannedFile): LargeOptions {
    // Bytes that are not stored must be read for their own sake.
    const isKept = known !== undefined && (!saving || isStored(saving, known.oid))
    return { loose: saving?.store.loose, known: isKept ? known : undefined, signal, onBytes: options.onBytes }
  }

  /** Slices go to the threads as they have room; this thread reads one itself between two looks at theirs. */
  async function readSmall(): Promise<void> {
    // Threads that have ended are not asked again.
    let helpers = crew.threads
    const slices: ScannedFile[][] = []
    for (let at = 0; at < files.length; at += SLICE_FILES) slices.push(files.slice(at, at + SLICE_FILES))
    slices.reverse()
    const away = new Set<Promise<void>>()
    let failure: { error: unknown } | undefined
    const send = (slice: ScannedFile[]) => {
      const flight: Promise<void> = takeBack(slice)
        .catch((error) => {
          failure ??= { error }
        })
        .finally(() => away.delete(flight))
      away.add(flight)
    }
    async function takeBack(slice: ScannedFile[]): Promise<void> {
      const reply = await crew.threads!.readSlice(slice.map(pathOf), largeFrom, saving === undefined)
      if (!reply) {
        slices.push(slice)
        helpers = undefined
        return
      }
      if (reply.count < slice.length) slices.push(slice.slice(reply.count))
      for (let i = 0; i < reply.count; i++) {
        const file = slice[i]!
        const result = reply.take(i)
        if (result === 'redo') await readAlone(file, pathOf(file))
        else if ('large' in result) keepForLater(file, pathOf(file), result.large)
        else {
          refusePurged(saving, result.oid, pathOf(file))
          options.onBytes?.(result.size)
          if (saving && !isStored(saving, result.oid)) await saving.writer.add(result.oid, reply.bytes(result))
          each(file, rowOf(result.exec ? 'exec' : 'file', result))
        }
      }
      reply.release()
    }
    while (slices.length > 0 || away.size > 0) {
      if (failure) break
      while (helpers && slices.length > 0 && away.size < helpers.size * SLICES_AHEAD) send(slices.pop()!)
      const own = slices.pop()
      if (own) await readSlice(own)
      // Ctrl-C, the progress line and the threads get their turn.
      else if (away.size > 0) await Promise.race(away)
      await setImmediate()
      signal?.throwIfAborted()
    }
    if (failure) throw failure.error
  }

  /** The largest first, so that all cores end at about the same time. */
  async function readLarge(): Promise<void> {
    large.sort((a, b) => b.size - a.size)
    const next = () => large.shift()
    const here = async () => {
      for (let item = next(); item; item = next()) await readAlone(item.file, item.path)
    }
    const there = async () => {
      for (let item = next(); item; item = next()) {
        const done = await crew.threads!.readLarge(item.path, largeOptions(item.file))
        if (done) refusePurged(saving, done.oid, item.path)
        if (done) each(item.file, rowOf(done.exec ? 'exec' : 'file', done))
        else await readAlone(item.file, item.path)
        signal?.throwIfAborted()
      }
    }
    // Two files for each core: while one is flushed, the other is hashed.
    const crews = [here(), here(), ...Array.from({ length: 2 * (crew.threads?.size ?? 0) }, there)]
    try {
      await Promise.all(crews)
    } catch (error) {
      large.length = 0
      crew.threads?.stop()
      await Promise.allSettled(crews)
      throw error
    }
  }

  try {
    if (files.length >= THREADS_FROM.files) crew.start()
    if (saving && crew.threads) saving.writer.digester = crew.threads
    await readSmall()
    const bytes = large.reduce((sum, { size }) => sum + size, 0)
    saving?.checkSpace?.(bytes)
    if (large.length > 1 && bytes >= THREADS_FROM.bytes) crew.start()
    await readLarge()
  } finally {
    if (saving) saving.writer.digester = DIGEST_HERE
    if (!options.crew) await crew.close()
  }
}
