import { randomBytes } from 'node:crypto'
import { MlvError } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import { type PackEntry, packSize, ROW_BYTES, readRow } from './pack.ts'

/** An object's pack and its place there. */
export interface Location extends PackEntry {
  pack: Oid
}

/** What an index says of one pack in all. */
export interface PackSummary {
  entries: number
  /** bytes that a whole pack of these entries has */
  size: number
}

/** An index opened over one buffer; nothing is copied out before it is asked for. */
export interface PackIndex {
  readonly oid: Oid
  readonly count: number
  readonly packs: readonly Oid[]
  /** indexes whose entries this one repeats */
  readonly supersedes: readonly Oid[]
  has(oid: Oid): boolean
  /** every place of an object in this index's packs */
  find(oid: Oid): Location[]
  entries(): Iterable<Location>
  /** each pack's rows, in the order of offsets, as its own table has them */
  tables(): Map<Oid, IndexedPack>
  /** how many entries each of its packs has, in the order of `packs` */
  packCounts(): Uint32Array
  /** Copies entries to `target` from byte `at` on, each with the number that `renumber` gives its pack; undefined leaves it out.
   *  @returns the byte behind the last one */
  copyRows(target: Buffer, at: number, renumber: (pack: number) => number | undefined): number
  /** Looks at every entry. @throws INDEX_CORRUPT when they are out of order or name what is not listed */
  summarize(): Map<Oid, PackSummary>
}

/** Layout, little-endian: magic 8 · packs u32 · superseded u32 · entries u32 · salt u32 · pack oids 32 each · superseded oids 32 each ·
 *  fan-out 256 × u32 (entries whose first byte is at most i) · entries of 52 bytes (a pack's row, then the pack's number u32), sorted by oid, then pack. */
const MAGIC = 'mlvindx1'
const HEADER_BYTES = 24
const ENTRY_BYTES = ROW_BYTES + 4
export const MAX_ENTRIES = 1_000_000

export interface IndexedPack {
  oid: Oid
  table: Buffer
  count: number
}

/** Orders rows by oid without making 64-character strings: 32 bits of the oid and the row's number sort as one float. */
function sortRows(rows: Buffer, count: number): Float64Array {
  const keys = new Float64Array(count)
  for (let i = 0; i < count; i++) keys[i] = rows.readUInt32BE(i * ENTRY_BYTES) * 0x200000 + i
  keys.sort()
  for (let i = 0; i < count; i++) keys[i] = keys[i]! % 0x200000
  // Oids that share their first four bytes are rare: an insertion sort over the whole row puts them right.
  for (let i = 1; i < count; i++) {
    for (let j = i; j > 0; j--) {
      const a = keys[j - 1]! * ENTRY_BYTES
      const b = keys[j]! * ENTRY_BYTES
      if (rows.readUInt32BE(a) !== rows.readUInt32BE(b) || compareRows(rows, a, b) <= 0) break
      const swap = keys[j]!
      keys[j] = keys[j - 1]!
      keys[j - 1] = swap
    }
  }
  return keys
}

function compareRows(rows: Buffer, a: number, b: number): number {
  return rows.compare(rows, b, b + 32, a, a + 32) || rows.readUInt32LE(a + ROW_BYTES) - rows.readUInt32LE(b + ROW_BYTES)
}

/** Gives equal content names that differ, 32 bits. */
export function newSalt(): number {
  return randomBytes(4).readUInt32LE()
}

/** Formats an index over packs; equal content and salt give equal bytes. At most 1,000,000 entries. */
export function formatIndex(packs: readonly IndexedPack[], supersedes: readonly Oid[] = [], salt = 0): Buffer {
  const sortedPacks = [...packs].sort((a, b) => (a.oid < b.oid ? -1 : 1))
  const count = packs.reduce((sum, pack) => sum + pack.count, 0)
  const rows = Buffer.allocUnsafe(count * ENTRY_BYTES)
  let at = 0
  for (const [number, pack] of sortedPacks.entries()) {
    for (let row = 0; row < pack.count; row++, at += ENTRY_BYTES) {
      pack.table.copy(rows, at, row * ROW_BYTES, (row + 1) * ROW_BYTES)
      rows.writeUInt32LE(number, at + ROW_BYTES)
    }
  }
  return assemble(
    sortedPacks.map((pack) => pack.oid),
    rows,
    supersedes,
    salt,
  )
}

/** Formats one index over the packs of several; a pack that more than one lists is taken once, from the one with most entries for it.
 *  At most 1,000,000 entries. @throws INDEX_CORRUPT */
export function formatMergedIndex(indexes: readonly PackIndex[], supersedes: readonly Oid[], salt = 0): Buffer {
  const sources = new Map<Oid, { from: PackIndex; count: number }>()
  for (const from of indexes) {
    const counts = from.packCounts()
    for (const [number, pack] of from.packs.entries())
      if (counts[number]! > (sources.get(pack)?.count ?? -1)) sources.set(pack, { from, count: counts[number]! })
  }
  const packs = [...sources.keys()].sort()
  const numbers = new Map(packs.map((pack, number) => [pack, number]))
  const count = packs.reduce((sum, pack) => sum + sources.get(pack)!.count, 0)
  const rows = Buffer.allocUnsafe(count * ENTRY_BYTES)
  let at = 0
  for (const index of indexes)
    at = index.copyRows(rows, at, (number) => {
      const pack = index.packs[number]!
      return sources.get(pack)!.from === index ? numbers.get(pack) : undefined
    })
  return assemble(packs, rows, supersedes, salt)
}

/** @param packs sorted   @param rows entries in any order */
function assemble(packs: readonly Oid[], rows: Buffer, supersedes: readonly Oid[], salt = 0): Buffer {
  const count = rows.length / ENTRY_BYTES
  const header = HEADER_BYTES + 32 * (packs.length + supersedes.length)
  const bytes = Buffer.alloc(header + 1024 + rows.length)
  bytes.write(MAGIC, 0, 'latin1')
  bytes.writeUInt32LE(packs.length, 8)
  bytes.writeUInt32LE(supersedes.length, 12)
  bytes.writeUInt32LE(count, 16)
  bytes.writeUInt32LE(salt, 20)
  let next = HEADER_BYTES
  for (const oid of [...packs, ...[...supersedes].sort()]) next += bytes.write(oid, next, 32, 'hex')
  const order = sortRows(rows, count)
  const fan = new Uint32Array(256)
  for (let i = 0; i < count; i++) {
    const from = order[i]! * ENTRY_BYTES
    fan[rows[from]!]!++
    rows.copy(bytes, header + 1024 + i * ENTRY_BYTES, from, from + ENTRY_BYTES)
  }
  let sum = 0
  for (let i = 0; i < 256; i++) {
    sum += fan[i]!
    bytes.writeUInt32LE(sum, header + i * 4)
  }
  return bytes
}

/** Opens an index whose bytes hash to `oid`. @throws INDEX_CORRUPT */
export function openIndex(bytes: Buffer, oid: Oid = oidOfBytes(bytes)): PackIndex {
  const fail = (what: string): never => {
    throw new MlvError('INDEX_CORRUPT', `The index ${oid} ${what}`, {
      hint: 'Run "mlv fsck --repair" (with "--remote NAME" for a remote): it makes the index again from the packs.',
    })
  }
  if (oidOfBytes(bytes) !== oid) fail('does not hash to its name')
  if (bytes.length < HEADER_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) fail('does not begin like an index')
  const packCount = bytes.readUInt32LE(8)
  const supersededCount = bytes.readUInt32LE(12)
  const count = bytes.readUInt32LE(16)
  const header = HEADER_BYTES + 32 * (packCount + supersededCount)
  const base = header + 1024
  if (count > MAX_ENTRIES || bytes.length !== base + count * ENTRY_BYTES) fail('has the wrong length')
  const oids: Oid[] = []
  for (let at = HEADER_BYTES; at < header; at += 32) oids.push(bytes.toString('hex', at, at + 32) as Oid)
  const packs = oids.slice(0, packCount)
  const fan = (byte: number) => (byte < 0 ? 0 : bytes.readUInt32LE(header + byte * 4))
  for (let byte = 0; byte < 256; byte++) if (fan(byte) < fan(byte - 1) || fan(byte) > count) fail('has a broken fan-out')
  if (count > 0 && fan(255) !== count) fail('has a broken fan-out')

  function packNumberAt(at: number): number {
    const number = bytes.readUInt32LE(at + ROW_BYTES)
    return number < packCount ? number : fail('names a pack it does not list')
  }

  function entryAt(i: number, oid?: Oid): Location {
    const at = base + i * ENTRY_BYTES
    const pack = packs[packNumberAt(at)]!
    const { offset, length, size, type, oid: found } = readRow(bytes, at, fail, oid)
    return { oid: found, offset, length, size, type, pack }
  }

  /** The first entry that is not before `wanted`. The first four bytes decide nearly always, without a look at the others. */
  function seek(wanted: Oid): number {
    const start = Number.parseInt(wanted.slice(0, 8), 16)
    let low = fan((start >>> 24) - 1)
    let high = fan(start >>> 24)
    while (low < high) {
      const middle = (low + high) >>> 1
      const at = base + middle * ENTRY_BYTES
      const word = bytes.readUInt32BE(at)
      if (word < start || (word === start && bytes.toString('hex', at, at + 32) < wanted)) low = middle + 1
      else high = middle
    }
    return low
  }

  const isAt = (i: number, wanted: Oid) => {
    const at = base + i * ENTRY_BYTES
    return i < count && bytes.toString('hex', at, at + 32) === wanted
  }

  function summarize(): Map<Oid, PackSummary> {
    const summaries = packs.map((): PackSummary => ({ entries: 0, size: packSize(0, 0) }))
    for (let i = 0; i < count; i++) {
      const at = base + i * ENTRY_BYTES
      if (i > 0 && compareRows(bytes, at - ENTRY_BYTES, at) > 0) fail('has entries out of order')
      const summary = summaries[bytes.readUInt32LE(at + ROW_BYTES)] ?? fail('names a pack it does not list')
      summary.entries++
      summary.size += readRow(bytes, at, fail, oid).length + ROW_BYTES
    }
    return new Map(packs.map((pack, number) => [pack, summaries[number]!]))
  }

  return {
    oid,
    count,
    packs,
    summarize,
    supersedes: oids.slice(packCount),
    has: (wanted) => isAt(seek(wanted), wanted),
    find(wanted) {
      const found: Location[] = []
      for (let i = seek(wanted); isAt(i, wanted); i++) found.push(entryAt(i, wanted))
      return found
    },
    *entries() {
      for (let i = 0; i < count; i++) yield entryAt(i)
    },
    tables() {
      const rows = packs.map((): { offset: number; at: number }[] => [])
      for (let i = 0, at = base; i < count; i++, at += ENTRY_BYTES) {
        const number = bytes.readUInt32LE(at + ROW_BYTES)
        if (number >= packs.length) fail('names a pack it does not list')
        rows[number]!.push({ offset: bytes.readUInt32LE(at + 32), at })
      }
      return new Map(
        packs.map((pack, number) => {
          // A row without bytes lies before the one that begins at the same offset.
          const sorted = rows[number]!.sort(
            (a, b) => a.offset - b.offset || bytes.readUInt32LE(a.at + 36) - bytes.readUInt32LE(b.at + 36),
          )
          const table = Buffer.concat(sorted.map(({ at }) => bytes.subarray(at, at + ROW_BYTES)))
          return [pack, { oid: pack, table, count: sorted.length }]
        }),
      )
    },
    packCounts() {
      const counts = new Uint32Array(packCount)
      for (let at = base; at < bytes.length; at += ENTRY_BYTES) counts[packNumberAt(at)]!++
      return counts
    },
    copyRows(target, start, renumber) {
      let to = start
      for (let at = base; at < bytes.length; at += ENTRY_BYTES) {
        const number = renumber(packNumberAt(at))
        if (number === undefined) continue
        bytes.copy(target, to, at, at + ROW_BYTES)
        target.writeUInt32LE(number, to + ROW_BYTES)
        to += ENTRY_BYTES
      }
      return to
    },
  }
}

/** Groups packs so that the entries of each group fit one index. */
export function groupPacks<T extends { count: number }>(packs: readonly T[]): T[][] {
  const groups: T[][] = []
  let room = 0
  for (const pack of packs) {
    if (groups.length === 0 || pack.count > room) {
      groups.push([])
      room = MAX_ENTRIES
    }
    groups.at(-1)!.push(pack)
    room -= pack.count
  }
  return groups
}

/** Splits a key below index/ into what it names; undefined for foreign files. */
export function parseIndexKey(key: string): { oid: Oid; chunks: boolean } | undefined {
  const name = key.slice('index/'.length)
  const oid = name.slice(0, 64)
  const rest = name.slice(64)
  if (!isOid(oid) || (rest !== '' && rest !== '-chunks')) return undefined
  return { oid, chunks: rest !== '' }
}
