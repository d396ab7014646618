import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs'
import { open } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import { fileError, MlvError } from '../base/errors.ts'
import { createOidHash, type Oid, oidOfBytes } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoreWriter } from '../store/store-writer.ts'
import { linkedObject, type ScannedFile } from './scan.ts'
import { kindOf, type StatRow, TICK_MS } from './stat-table.ts'

/** Where bytes go while they are hashed; undefined where only the hash is wanted. */
export interface Saving {
  store: ObjectStore
  writer: StoreWriter
}

export interface HashOptions {
  saving?: Saving
  /** the cache's objects/ folder: links into it stand for files */
  objects?: string
  signal?: AbortSignal
  onBytes?: (count: number) => void
}

const TRIES = 3
const PAUSE_EVERY_MS = 50
/** One read of this size is a single step for the file system; a larger file is looked at again afterwards. */
const SINGLE_READ_BYTES = 64 << 10
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

const scratch = Buffer.allocUnsafeSlow(1 << 20)

function readFully(fd: number, buffer: Buffer): number {
  let done = 0
  while (done < buffer.length) {
    const step = readSync(fd, buffer, done, buffer.length - done, done)
    if (step === 0) break
    done += step
  }
  return done
}

function sameStats(a: Stats, b: Stats): boolean {
  return a.size === b.size && a.mtimeMs === b.mtimeMs && a.ino === b.ino
}

function rowOf(stats: Stats, kind: ScannedFile['kind'], oid: Oid, size: number, now: number): StatRow {
  return {
    kind,
    oid,
    size,
    files: 0,
    mtime: stats.mtimeMs,
    inode: stats.ino,
    recorded: false,
    racy: stats.mtimeMs >= now - TICK_MS,
    unsettled: false,
  }
}

/** Puts bytes that lie in `bytes` into the cache's packs. */
async function saveBytes(saving: Saving, oid: Oid, bytes: Buffer): Promise<void> {
  if (!saving.store.has(oid) && !saving.writer.has(oid)) await saving.writer.add(oid, bytes)
}

async function hashLink(path: string, options: HashOptions): Promise<StatRow> {
  const stats = lstatSync(path)
  const linked = linkedObject(path, options.objects)
  if (linked) return { ...rowOf(stats, 'file', linked.oid, linked.size, Date.now()), racy: false }
  const target = readlinkSync(path, { encoding: 'buffer' })
  const oid = oidOfBytes(target)
  if (options.saving) await saveBytes(options.saving, oid, target)
  return rowOf(stats, 'link', oid, target.length, Date.now())
}

/** Takes over `fd`. */
async function hashLarge(fd: number, path: string, before: Stats, options: HashOptions): Promise<StatRow | undefined> {
  const now = Date.now()
  try {
    const oid = await hashPieces(fd, path, before, options)
    return oid && sameStats(before, fstatSync(fd)) ? rowOf(before, kindOf(before), oid, before.size, now) : undefined
  } finally {
    closeSync(fd)
  }
}

/** @returns undefined when another file has taken the path meanwhile */
async function hashPieces(fd: number, path: string, stats: Stats, options: HashOptions): Promise<Oid | undefined> {
  const loose = options.saving?.store.loose
  if (loose) {
    const source = await open(path, FLAGS)
    try {
      if (!sameStats(stats, await source.stat())) return undefined
      return (await loose.storeFile(source, { signal: options.signal, onBytes: options.onBytes })).oid
    } finally {
      await source.close()
    }
  }
  const hash = createOidHash()
  for (let at = 0; at < stats.size; ) {
    options.signal?.throwIfAborted()
    const length = readSync(fd, scratch, 0, scratch.length, at)
    if (length === 0) break
    hash.update(scratch.subarray(0, length))
    options.onBytes?.(length)
    at += length
  }
  return hash.digest()
}

/** Reads one file once, hashes it and, when saving, stores exactly the bytes that were hashed.
 *  @returns its row   @throws FILE_CHANGED when it changes each time it is read, FILE_UNREADABLE, PATH_MISSING */
async function hashFile(path: string, options: HashOptions): Promise<StatRow> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const row = await tryHashFile(path, options)
    if (row) return row
  }
  throw new MlvError('FILE_CHANGED', `${path} changes while it is being read`, {
    hint: 'Wait until its writer has finished, then run the command again.',
  })
}

/** One try at one file. undefined: it changed meanwhile. A promise where it is large, or a pack must be written first. */
function tryHashFile(path: string, options: HashOptions): StatRow | undefined | Promise<StatRow | undefined> {
  const { saving } = options
  const now = Date.now()
  const fd = openSync(path, FLAGS)
  let open = true
  try {
    const before = fstatSync(fd)
    if (!before.isFile()) throw new MlvError('FILE_CHANGED', `${path} is no longer a file`, { hint: 'Run the command again.' })
    const { size } = before
    if (size >= (saving?.store.policy.looseFrom ?? scratch.length)) {
      open = false
      return hashLarge(fd, path, before, options)
    }
    const room = saving ? saving.writer.reserve(size) : scratch.subarray(0, size)
    if (room instanceof Promise) return room.then(() => tryHashFile(path, options))
    if (readFully(fd, room) !== size) return undefined
    // A file written to in the last seconds may be written to now.
    if ((size > SINGLE_READ_BYTES || before.mtimeMs >= now - 2000) && !sameStats(before, fstatSync(fd))) return undefined
    const oid = oidOfBytes(room)
    options.onBytes?.(size)
    if (saving && !saving.writer.has(oid) && !saving.store.has(oid)) saving.writer.keep(oid, size)
    return rowOf(before, kindOf(before), oid, size, now)
  } finally {
    if (open) closeSync(fd)
  }
}

/** Hashes scanned files in order. @param each is given the row of each */
export async function hashFiles(
  folder: string,
  files: readonly ScannedFile[],
  each: (file: ScannedFile, row: StatRow) => void,
  options: HashOptions,
): Promise<void> {
  let lastPause = performance.now()
  for (const file of files) {
    if (performance.now() - lastPause > PAUSE_EVERY_MS) {
      // Ctrl-C and the progress line get their turn.
      await setImmediate()
      options.signal?.throwIfAborted()
      lastPause = performance.now()
    }
    const path = file.path === '' ? folder : `${folder}/${file.path}`
    try {
      // Most files are small: a promise for each would cost more than hashing it.
      const quick = file.kind === 'link' ? hashLink(path, options) : tryHashFile(path, options)
      const row = quick instanceof Promise ? await quick : quick
      each(file, row ?? (await hashFile(path, options)))
    } catch (error) {
      throw fileError(error, 'reading', path)
    }
  }
}
