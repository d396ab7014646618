import { hasCode } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { asBuffer, type Blobs } from './blobs.ts'
import { wrongIn } from './damage.ts'
import { KEYS } from './layout.ts'
import { makeIndexes, replaceIndexes } from './mend-indexes.ts'
import { createPackBuilder, parsePackTable, ROW_BYTES, readRow } from './pack.ts'
import type { Location, PackSummary } from './pack-index.ts'
import type { Presence } from './presence.ts'
import type { Chunk } from './recipe.ts'

/** How a pack proved when it was read whole. */
export interface PackState {
  /** bytes read */
  size: number
  entries: number
  /** objects and chunks whose bytes are wrong; 'gone' for all of them */
  wrong: readonly Oid[] | 'gone'
  /** its objects are right, and what stands around them is not */
  isTableBroken: boolean
  /** keys of indexes that say of it what its table, its name and its objects deny; they are not believed any more */
  lying: readonly string[]
}

/** What a checker asks of a store beyond its objects. */
export interface Inspection {
  /** keys of indexes that proved broken when the store was opened for checking */
  readonly brokenIndexes: readonly string[]
  /** the packs that indexes name; those of chunks too once they were read. @throws INDEX_CORRUPT */
  packs(): Map<Oid, PackSummary>
  /** Finds packs that no index names and whose tables are sound; condemned ones aside. With `adopt`, their objects count as present in this
   *  process from then on. */
  findUnnamed(options?: { adopt?: boolean }): Promise<Oid[]>
  /** Reads a whole pack, checks each object and holds its table against the indexes. Changes nothing. */
  readPack(pack: Oid, expected: PackSummary | undefined, signal?: AbortSignal): Promise<PackState>
  /** whether all of this stands in the pack's record already */
  isRecorded(pack: Oid, wrong: readonly Oid[] | 'gone'): boolean
  /** The pack proved right: what was noted or written down of it was no fault of its own. */
  clear(pack: Oid): Promise<void>
  /** From now on these places count as missing, in this process. */
  note(pack: Oid, wrong: readonly Oid[] | 'gone'): void
  /** Why an object is not whole here, by what is known without reading data; undefined when it is */
  faultOf(oid: Oid): 'missing' | 'corrupt' | 'purged' | undefined
  /** The same for a large object's chunks. */
  faultOfChunks(chunks: readonly Chunk[]): 'missing' | 'corrupt' | undefined
  /** places of an object or chunk */
  placesOf(oid: Oid): Location[]
  /** what indexes say that a pack holds */
  oidsIn(pack: Oid): Oid[]
  /** whether an index says that the store has the bytes of an object, be its pack gone or not; of a condemned pack nobody says so */
  wasHere(oid: Oid): boolean
  /** Writes down what is wrong in a pack, so that other commands take it for missing and write it again; takes it back where nothing is. */
  record(pack: Oid): Promise<void>
  /** Writes the indexes that were made again, and deletes the broken ones. @returns how many were written */
  replaceIndexes(): Promise<number>
  /** Writes a pack whose objects are right again, as the indexes say it was; what they say of it is not believed where that is not its name. */
  rewritePack(pack: Oid): Promise<void>
  /** Of an object that lacks chunks, gives up its recipe, so that it counts as missing. */
  disown(oid: Oid): Promise<void>
}

export interface InspectionParts {
  blobs: Blobs
  presence: Presence
  /** keys of broken indexes, filled when the store was opened */
  broken: string[]
  /** indexes made again when the store was opened, not yet written */
  made: Map<Oid, Buffer>
  isWhole(oid: Oid): boolean
  record(pack: Oid): Promise<void>
}

/** Rows of a pack's own table; undefined when it is broken. */
function readTable(bytes: Buffer, pack: Oid): Location[] | undefined {
  try {
    const parsed = parsePackTable(bytes, pack, bytes.length)
    if (!parsed) return undefined
    const never = (what: string): never => {
      throw new Error(what)
    }
    return Array.from({ length: parsed.count }, (_, row) => ({ ...readRow(parsed.table, row * ROW_BYTES, never), pack }))
  } catch (error) {
    if (hasCode(error, 'PACK_CORRUPT')) return undefined
    throw error
  }
}

function sameLocation(a: Location, b: Location): boolean {
  return a.pack === b.pack && a.offset === b.offset && a.length === b.length && a.size === b.size && a.type === b.type
}

export function createInspection(parts: InspectionParts): Inspection {
  const { blobs, presence } = parts

  function discardLying(pack: Oid, rows: readonly Location[]): string[] {
    const lying: string[] = []
    for (const chunks of [false, true])
      for (const index of presence.indexes(chunks)) {
        const entries = index.summarize().get(pack)?.entries
        const says = (row: Location) => index.find(row.oid).some((place) => sameLocation(place, row))
        if (entries === undefined || (entries === rows.length && rows.every(says))) continue
        presence.discard(index.oid)
        lying.push(KEYS.index(index.oid, chunks))
      }
    parts.broken.push(...lying)
    return lying
  }

  return {
    brokenIndexes: parts.broken,
    packs: presence.packs,
    placesOf: presence.placesOf,
    oidsIn: (pack) => presence.placesIn(pack).map(({ oid }) => oid),
    wasHere: (oid) => presence.placesOf(oid).some(({ pack, type }) => type !== 'foreign' && !presence.isCondemnedPack(pack)),
    async findUnnamed({ adopt = false } = {}) {
      const skip = new Set(presence.packs().keys())
      for await (const { key } of blobs.list('packs/')) {
        const oid = key.slice(key.lastIndexOf('/') + 1) as Oid
        if (presence.isCondemnedPack(oid)) skip.add(oid)
      }
      const { indexes, packs } = await makeIndexes(blobs, skip)
      for (const bytes of adopt ? indexes : []) {
        const oid = oidOfBytes(bytes)
        presence.adopt(oid, bytes, false)
        parts.made.set(oid, bytes)
      }
      return packs
    },
    async readPack(pack, expected, signal) {
      let bytes: Buffer
      try {
        bytes = asBuffer(await blobs.get(KEYS.pack(pack), { signal }))
      } catch (error) {
        if (!hasCode(error, 'BLOB_MISSING')) throw error
        return { size: 0, entries: 0, wrong: 'gone', isTableBroken: false, lying: [] }
      }
      const rows = readTable(bytes, pack)
      // An index that lies may stand beside one that does not.
      const isNamed = (row: Location) => {
        const places = presence.placesOf(row.oid).filter((place) => place.pack === pack)
        return places.length > 0 && places.every((place) => sameLocation(place, row))
      }
      // The indexes' own word is taken only where the table says otherwise: it costs a look at all their entries.
      const agrees = rows !== undefined && rows.length === expected?.entries && rows.every(isNamed)
      const isNamedRight = oidOfBytes(bytes) === pack
      if (rows && !agrees && isNamedRight && wrongIn(bytes, pack, rows).length === 0)
        return { size: bytes.length, entries: rows.length, wrong: [], isTableBroken: false, lying: discardLying(pack, rows) }
      const places = agrees ? rows : presence.placesIn(pack)
      const wrong = [...new Set(wrongIn(bytes, pack, places))]
      const isTableBroken = wrong.length === 0 && !(agrees && isNamedRight)
      return { size: bytes.length, entries: places.length, wrong, isTableBroken, lying: [] }
    },
    isRecorded: presence.damage.isRecorded,
    clear: presence.damage.heal,
    note: (pack, wrong) => presence.damage.note(pack, wrong === 'gone' ? undefined : wrong),
    faultOf(oid) {
      if (presence.isPurged(oid)) return 'purged'
      if (parts.isWhole(oid)) return undefined
      return presence.isCorrupt(oid) ? 'corrupt' : 'missing'
    },
    faultOfChunks(chunks) {
      for (const chunk of chunks) {
        const place = presence.locateChunk(chunk.oid)
        if (!place && presence.isCorrupt(chunk.oid)) return 'corrupt'
        if (!place) return 'missing'
        if (place.length !== chunk.length) return 'corrupt'
      }
      return undefined
    },
    async record(pack) {
      if (presence.damage.knownIn(pack) === undefined) await presence.damage.heal(pack)
      else await parts.record(pack)
    },
    async replaceIndexes() {
      await replaceIndexes(blobs, parts.broken, [...parts.made.values()])
      const count = parts.made.size
      parts.broken.length = 0
      parts.made.clear()
      return count
    },
    async rewritePack(pack) {
      const places = presence.placesIn(pack).sort((a, b) => a.offset - b.offset)
      const old = asBuffer(await blobs.get(KEYS.pack(pack)))
      const builder = createPackBuilder()
      for (const { oid, offset, length, size, type } of places) {
        builder.reserve(length)?.set(old.subarray(offset, offset + length))
        builder.keep(oid, length, size, type)
      }
      const sealed = places.length > 0 ? builder.seal() : undefined
      if (sealed && oidOfBytes(sealed.bytes) === pack) {
        await blobs.put(KEYS.pack(pack), sealed.bytes, { oid: pack })
        await presence.damage.heal(pack)
        return
      }
      presence.damage.note(
        pack,
        places.map(({ oid }) => oid),
      )
      await parts.record(pack)
    },
    async disown(oid) {
      for (;;) {
        const place = presence.locate(oid)
        if (place?.type !== 'recipe') return
        presence.damage.note(place.pack, [oid])
        await parts.record(place.pack)
      }
    },
  }
}
