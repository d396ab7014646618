import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { sharedBuffer } from '../base/pages.ts'
import { PACK_BYTES } from './layout.ts'

/** What an entry's stored bytes are: the object itself, the recipe that makes it from chunks, or where it lies in a bucket of its own. */
export type EntryType = 'bytes' | 'recipe' | 'foreign'

/** Where an object lies in a pack. */
export interface PackEntry {
  oid: Oid
  /** first byte in the pack */
  offset: number
  /** stored bytes */
  length: number
  /** bytes of the object */
  size: number
  type: EntryType
}

/** Row of a pack's table, little-endian: oid 32 · offset u32 · length u32 · size u48 · type u8 · codec u8. */
export const ROW_BYTES = 48
const FOOTER_BYTES = 16
const MAGIC = 'mlvpack1'
/** By their numbers; of places of one object the lower number is better. */
export const TYPES: readonly EntryType[] = ['bytes', 'recipe', 'foreign']
const CODEC_RAW = 0

/** @returns bytes of a pack whose objects have `stored` bytes */
export function packSize(stored: number, rows: number): number {
  return stored + rows * ROW_BYTES + FOOTER_BYTES
}

/** A pack that has no name yet: that is the SHA-256 of its bytes. */
export interface SealedPack {
  /** shared memory, so that another thread can hash it */
  bytes: Buffer
  /** the rows, in the order of offsets; a view into `bytes` */
  table: Buffer
  count: number
  /** gives the memory of `bytes` back for another pack, once they are written */
  release(): void
}

/** Collects objects in one buffer, so that a caller can read a file straight into its place. */
export interface PackBuilder {
  readonly count: number
  /** Room for `length` bytes at the end, or undefined when they do not fit. What is not kept is given back by the next call. */
  reserve(length: number): Buffer | undefined
  /** Keeps the first `length` reserved bytes as an object. */
  keep(oid: Oid, length: number, size: number, type: EntryType): void
  /** Appends the table. The builder is empty afterwards; its buffer belongs to the result until that is released. */
  seal(): SealedPack
}

/** Reads the row at byte `at` and checks what does not depend on its neighbours. @param oid where it is known already */
export function readRow(bytes: Buffer, at: number, fail: (what: string) => never, oid?: Oid): PackEntry {
  const type = TYPES[bytes[at + 46]!]
  if (!type) return fail(`has an entry of unknown type ${bytes[at + 46]}`)
  if (bytes[at + 47] !== CODEC_RAW) return fail(`has an entry of unknown codec ${bytes[at + 47]}`)
  const length = bytes.readUInt32LE(at + 36)
  const size = bytes.readUIntLE(at + 40, 6)
  if (type === 'bytes' && length !== size) return fail('has an entry whose lengths differ')
  return { oid: oid ?? (bytes.toString('hex', at, at + 32) as Oid), offset: bytes.readUInt32LE(at + 32), length, size, type }
}

/** What a builder begins with: most packs stay small, and a process that writes many would spend half its time on collecting whole ones. */
const FIRST_BYTES = 256 << 10

/** @param first bytes to begin with; less is copied and left behind where a pack will be full anyway */
export function createPackBuilder(capacity = PACK_BYTES, first = FIRST_BYTES): PackBuilder {
  let begin = first
  let buffer: Buffer | undefined
  const free: Buffer[] = []
  let rows = Buffer.allocUnsafe(ROW_BYTES * 256)
  let used = 0
  let count = 0

  /** A buffer that holds what is used so far and this many bytes in all. */
  function bufferOf(bytes: number): Buffer {
    buffer ??= free.pop() ?? sharedBuffer(Math.min(begin, capacity))
    if (buffer.length >= bytes) return buffer
    const larger = sharedBuffer(Math.min(capacity, Math.max(bytes, 4 * buffer.length)))
    buffer.copy(larger, 0, 0, used)
    return larger
  }

  return {
    get count() {
      return count
    },
    reserve(length) {
      const rest = FOOTER_BYTES + ROW_BYTES * (count + 1)
      if (used + length + rest > capacity) return undefined
      buffer = bufferOf(used + length + rest)
      return buffer.subarray(used, used + length)
    },
    keep(oid, length, size, type) {
      const at = count * ROW_BYTES
      if (at === rows.length) rows = Buffer.concat([rows, Buffer.allocUnsafe(rows.length)])
      rows.write(oid, at, 32, 'hex')
      rows.writeUInt32LE(used, at + 32)
      rows.writeUInt32LE(length, at + 36)
      rows.writeUIntLE(size, at + 40, 6)
      rows[at + 46] = TYPES.indexOf(type)
      rows[at + 47] = CODEC_RAW
      used += length
      count++
    },
    seal() {
      if (!buffer) throw new Error('a pack without objects is never written')
      const end = used + count * ROW_BYTES
      rows.copy(buffer, used, 0, count * ROW_BYTES)
      buffer.writeUInt32LE(count, end)
      buffer.writeUInt32LE(count * ROW_BYTES, end + 4)
      buffer.write(MAGIC, end + 8, 'latin1')
      const bytes = buffer.subarray(0, end + FOOTER_BYTES)
      const whole = buffer
      // Behind a full pack another one comes.
      if (2 * bytes.length > capacity) begin = capacity
      const sealed = {
        bytes,
        table: bytes.subarray(used, end),
        count,
        release: () => void free.push(whole),
      }
      buffer = undefined
      used = 0
      count = 0
      return sealed
    },
  }
}

/** The end of a pack that holds most tables whole. */
export const TABLE_GUESS_BYTES = 256 << 10

/** Reads the table from the end of a pack and checks that its rows cover the pack without gap or overlap.
 *  @param tail the last bytes of a pack of `size` bytes   @returns undefined when the table begins before the tail   @throws PACK_CORRUPT */
export function parsePackTable(tail: Buffer, oid: Oid, size: number): { table: Buffer; count: number } | undefined {
  const fail = (what: string): never => {
    throw new MlvError('PACK_CORRUPT', `The pack ${oid} ${what}`, {
      hint: 'Fetch it again from a remote that has it, or push it again from a clone that has the data.',
    })
  }
  if (tail.length < FOOTER_BYTES || tail.toString('latin1', tail.length - 8) !== MAGIC) return fail('does not end like a pack')
  const count = tail.readUInt32LE(tail.length - 16)
  const length = tail.readUInt32LE(tail.length - 12)
  const end = size - FOOTER_BYTES
  if (length !== count * ROW_BYTES || length > end) return fail('has a table of the wrong length')
  if (length > tail.length - FOOTER_BYTES) return undefined
  const table = tail.subarray(tail.length - FOOTER_BYTES - length, tail.length - FOOTER_BYTES)
  let offset = 0
  for (let row = 0; row < count; row++) {
    const entry = readRow(table, row * ROW_BYTES, fail)
    if (entry.offset !== offset) return fail(`has a gap or an overlap at row ${row}`)
    offset += entry.length
  }
  if (offset !== end - length) return fail('has bytes that no row names')
  return { table, count }
}
