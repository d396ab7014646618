import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createFingerprint, type Fingerprint, loadFingerprint } from '../base/fingerprint.ts'
import { createOidHash, type Oid, oidOfBytes } from '../base/oid.ts'
import type { LooseObjects } from '../store/loose.ts'
import { readInTurns } from '../store/read-pieces.ts'

/** One read of this size is a single step for the file system; a larger file is looked at again afterwards. */
const SINGLE_READ_BYTES = 64 << 10
/** A file written to in the last seconds may be written to now. */
const YOUNG_MS = 2000
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Bytes below which a file is read at once. */
export const SMALL_BYTES = 1 << 20

/** A file's bytes, named, and the stats they were read under. */
export interface HashedFile {
  stats: Stats
  oid: Oid
  /** xxh64 of the bytes of a large file */
  fingerprint?: string
  /** when it was looked at, in ms since 1970 */
  at: number
}

/** What a file's bytes were when they were last hashed. */
export interface KnownBytes {
  oid: Oid
  size: number
  fingerprint: string
}

export type Glance<Busy> =
  | { is: 'hashed'; file: HashedFile }
  /** too large to be read at once */
  | { is: 'large'; size: number }
  /** changed while it was read, or is no file any more */
  | { is: 'changed' }
  /** there was no room; undone */
  | { is: 'waiting'; until: Busy }

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

/** Reads a small file once and hashes what was read. @param reserve gives room for that many bytes, or what to wait for
 *  @throws system errors */
export function readSmallFile<Busy>(path: string, largeFrom: number, reserve: (length: number) => Buffer | Busy): Glance<Busy> {
  const at = Date.now()
  const fd = openSync(path, FLAGS)
  try {
    const stats = fstatSync(fd)
    if (!stats.isFile()) return { is: 'changed' }
    const { size } = stats
    if (size >= largeFrom) return { is: 'large', size }
    const room = reserve(size)
    if (!Buffer.isBuffer(room)) return { is: 'waiting', until: room }
    if (readFully(fd, room) !== size) return { is: 'changed' }
    if ((size > SINGLE_READ_BYTES || stats.mtimeMs >= at - YOUNG_MS) && !sameStats(stats, fstatSync(fd))) return { is: 'changed' }
    return { is: 'hashed', file: { stats, oid: oidOfBytes(room), at } }
  } finally {
    closeSync(fd)
  }
}

export interface LargeOptions {
  loose?: LooseObjects
  /** Bytes that it may still hold, and which are stored: then it is read for their fingerprint alone. */
  known?: KnownBytes
  signal?: AbortSignal
  onBytes?: (count: number) => void
}

/** Reads a large file in pieces, into the cache where one is given. @returns undefined when it changed meanwhile   @throws system errors, DISK_FULL */
export async function readLargeFile(path: string, options: LargeOptions): Promise<HashedFile | undefined> {
  await loadFingerprint()
  const at = Date.now()
  const source = await open(path, FLAGS)
  try {
    const stats = await source.stat()
    if (!stats.isFile()) return undefined
    const hashed = (await stillKnown(source, stats, options)) ?? (await hashWhole(path, source, stats, options))
    // What bears the name, of which a clone is made; a name that went and came back leaves another ctime.
    const now = lstatSync(path, { throwIfNoEntry: false })
    return now?.ctimeMs === stats.ctimeMs && sameStats(stats, now) ? { stats, ...hashed, at } : undefined
  } finally {
    await source.close()
  }
}

type Named = Pick<HashedFile, 'oid' | 'fingerprint'>

async function stillKnown(source: FileHandle, stats: Stats, { known, signal }: LargeOptions): Promise<Named | undefined> {
  if (known?.size !== stats.size) return undefined
  const fingerprint = createFingerprint()
  for await (const piece of readInTurns(source, signal)) fingerprint.update(piece)
  return fingerprint.digest() === known.fingerprint ? known : undefined
}

async function hashWhole(path: string, source: FileHandle, stats: Stats, options: LargeOptions): Promise<Named> {
  const fingerprint = createFingerprint()
  if (!options.loose) {
    const oid = hashPieces(source.fd, stats.size, options, fingerprint)
    return { oid, fingerprint: fingerprint.digest() }
  }
  const onPiece = (piece: Buffer) => {
    fingerprint.update(piece)
    options.onBytes?.(piece.length)
  }
  const { oid } = await options.loose.storeFile(source, { path, size: stats.size, signal: options.signal, onPiece })
  return { oid, fingerprint: fingerprint.digest() }
}

function hashPieces(fd: number, size: number, options: LargeOptions, fingerprint: Fingerprint): Oid {
  const piece = Buffer.allocUnsafe(SMALL_BYTES)
  const hash = createOidHash()
  for (let at = 0; at < size; ) {
    options.signal?.throwIfAborted()
    const length = readSync(fd, piece, 0, piece.length, at)
    if (length === 0) break
    hash.update(piece.subarray(0, length))
    fingerprint.update(piece.subarray(0, length))
    options.onBytes?.(length)
    at += length
  }
  return hash.digest()
}
