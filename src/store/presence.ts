import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { BlobInfo, Blobs } from './blobs.ts'
import { createDamage, type Damage } from './damage.ts'
import { KEYS, type StoreDescription } from './layout.ts'
import { TYPES } from './pack.ts'
import { type Location, openIndex, type PackIndex, type PackSummary, parseIndexKey } from './pack-index.ts'
import { listRecords, readRecords, type StoredRecord } from './record.ts'

/** What is known of a store's content from its indexes and records. */
export interface Presence {
  /** Lists index/ (and the records the description names) and reads what is new. @returns whether packs that counted before do so no longer */
  refresh(description: StoreDescription): Promise<boolean>
  loadChunkIndexes(): Promise<void>
  /** takes in an index that was just written */
  adopt(oid: Oid, bytes: Buffer, chunks: boolean): void
  /** the best place of an object: never a bad one, not condemned if there is a choice, bytes before recipe */
  locate(oid: Oid): Location | undefined
  /** the best place of a chunk, in any index read so far */
  locateChunk(oid: Oid): Location | undefined
  /** as locate, but condemned and purged objects are not present */
  has(oid: Oid): boolean
  hasChunk(oid: Oid): boolean
  /** when a whole object was condemned, by the clock of the place, in ms since 1970; undefined when it is not */
  condemnedAt(oid: Oid): number | undefined
  isPurged(oid: Oid): boolean
  /** Names what the records and the known damage take out of the store. */
  digest(): Oid
  /** the packs that hold an object, bad ones too */
  packsOf(oid: Oid): Oid[]
  /** whether wrong bytes lie where the object or chunk should be */
  isCorrupt(oid: Oid): boolean
  /** whether any index or record of a collection names a pack */
  knowsPack(pack: Oid): boolean
  /** how many objects lie in a pack; undefined when no index names it */
  countInPack(pack: Oid): number | undefined
  /** every place in a pack; none when no index names it */
  placesIn(pack: Oid): Location[]
  /** the indexes in use: none that a larger one repeats */
  indexes(chunks: boolean): PackIndex[]
  /** index/ as it was listed last, chunk indexes or the others */
  listed(chunks: boolean): IndexFile[]
  /** whether a pack is condemned or gone: nothing new may name it */
  isDoomed(pack: Oid): boolean
  /** does without an index that says what is not so */
  discard(index: Oid): void
  /** every place of an object or chunk, in all indexes read so far, bad ones too */
  placesOf(oid: Oid): Location[]
  /** the packs that indexes read so far name @throws INDEX_CORRUPT */
  packs(): Map<Oid, PackSummary>
  isCondemnedPack(pack: Oid): boolean
  readonly damage: Damage
}

/** An index as its place lists it. */
export interface IndexFile extends BlobInfo {
  oid: Oid
}

/** Indexes of one kind. */
interface Side {
  open: Map<Oid, PackIndex>
  listed: IndexFile[]
  /** those that a larger open one repeats: not read, or no longer used */
  superseded: Set<Oid>
}

/** Indexes read at once. */
const READS = 8
/** How often index/ is listed again when indexes vanish between the listing and the reading. */
const LISTINGS = 3

/** Answers when indexes prove broken: writes new ones in their place, or throws. */
export type MendIndexes = (broken: readonly { key: string; error: Error }[], named: ReadonlySet<Oid>) => Promise<Buffer[]>

export interface PresenceOptions {
  /** a folder for copies of a remote's indexes; undefined where the blobs are as near */
  copies: string | undefined
  mend: MendIndexes
  /** look at every entry of an index before it is believed */
  thorough?: boolean
}

export function createPresence(blobs: Blobs, { copies, mend, thorough = false }: PresenceOptions): Presence {
  const newSide = (): Side => ({ open: new Map(), listed: [], superseded: new Set() })
  const objectSide = newSide()
  const chunkSide = newSide()
  const indexes = objectSide.open
  const chunkIndexes = chunkSide.open
  const condemnedPacks = new Set<Oid>()
  const condemnedObjects = new Map<Oid, number>()
  let condemned = new Map<Oid, StoredRecord>()
  const purged = new Set<Oid>()
  const damage = createDamage(blobs)
  const discarded = new Set<Oid>()

  function keepCopy(name: string, bytes: Buffer): void {
    if (!copies) return
    try {
      mkdirSync(copies, { recursive: true })
      faultPoint('index copy: write')
      writeFileSync(join(copies, name), bytes)
    } catch (error) {
      throw fileError(error, 'writing', copies)
    }
  }

  async function readIndex(key: string, oid: Oid): Promise<PackIndex | undefined> {
    const name = nameOf(key)
    if (copies) {
      try {
        return openIndex(readFileSync(join(copies, name)), oid)
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' && !hasCode(error, 'INDEX_CORRUPT')) throw fileError(error, 'reading', copies)
      }
    }
    for (let tries = 2; ; tries--) {
      try {
        const bytes = asBuffer(await blobs.get(key))
        const index = openIndex(bytes, oid)
        if (thorough) index.summarize()
        keepCopy(name, bytes)
        return index
      } catch (error) {
        // Merged into a larger one since it was listed; the next listing shows that one.
        if (hasCode(error, 'BLOB_MISSING')) return undefined
        // Broken on its way, perhaps: it is mended only if it is so again.
        if (!hasCode(error, 'INDEX_CORRUPT') || tries === 1) throw error
      }
    }
  }

  /** Reads what is listed and not yet open; broken ones are mended or thrown. The largest come first and alone, then more at a time: an
   *  index is larger than those it supersedes, so that these are hardly ever read.
   *  @returns false where one is gone since it was listed */
  async function readIndexes(side: Side): Promise<boolean> {
    const waiting = side.listed.filter(({ oid }) => !side.open.has(oid) && !discarded.has(oid)).sort((a, b) => b.size - a.size)
    const broken: { key: string; error: Error }[] = []
    let whole = true
    for (let next = 0, wave = 1; next < waiting.length; wave = Math.min(wave * 2, READS)) {
      const batch: IndexFile[] = []
      for (; next < waiting.length && batch.length < wave; next++)
        if (!side.superseded.has(waiting[next]!.oid)) batch.push(waiting[next]!)
      const fresh: PackIndex[] = []
      await mapBounded(batch, READS, async ({ key, oid }) => {
        try {
          const index = await readIndex(key, oid)
          if (index) fresh.push(index)
          else whole = false
        } catch (error) {
          if (!hasCode(error, 'INDEX_CORRUPT')) throw error
          broken.push({ key, error })
        }
      })
      for (const index of fresh) side.open.set(index.oid, index)
      // All of them: what was read now may be repeated by one that was open before.
      leaveSuperseded(side, [...side.open.values()])
    }
    if (broken.length > 0) await replaceBroken(side, broken)
    return whole
  }

  async function replaceBroken(side: Side, broken: readonly { key: string; error: Error }[]): Promise<void> {
    if (side === objectSide) await readIndexes(chunkSide)
    const named = new Set([...indexes.values(), ...chunkIndexes.values()].flatMap((index) => index.packs))
    for (const bytes of await mend(broken, named)) {
      const index = openIndex(bytes)
      indexes.set(index.oid, index)
    }
  }

  /** Notes what open indexes name as superseded. Where both are open it must be true: an index that only says so would hide what it lacks.
   *  One that was not read must at least be smaller than what the larger one says of its own packs. */
  function leaveSuperseded(side: Side, larger: readonly PackIndex[]): void {
    const merged = larger.filter((index) => index.supersedes.length > 0)
    if (merged.length === 0) return
    const sizes = new Map(side.listed.map(({ oid, size }) => [oid, size]))
    for (const index of merged) {
      const packs = new Set(index.packs)
      const own = (sizes.get(index.oid) ?? 0) - 32 * index.supersedes.length
      for (const oid of index.supersedes) {
        const other = side.open.get(oid)
        const isRepeated = other
          ? other.count <= index.count && other.packs.every((pack) => packs.has(pack))
          : (sizes.get(oid) ?? 0) < own
        if (!isRepeated) continue
        side.open.delete(oid)
        side.superseded.add(oid)
      }
    }
  }

  /** Forgets what is no longer listed, with what it superseded, and deletes copies that nobody will read. */
  function forget(): void {
    for (const side of [objectSide, chunkSide]) {
      const present = new Set(side.listed.map(({ oid }) => oid))
      for (const oid of side.open.keys()) if (!present.has(oid)) side.open.delete(oid)
      side.superseded.clear()
      leaveSuperseded(side, [...side.open.values()])
    }
    if (!copies || !existsSync(copies)) return
    const names = new Set([objectSide, chunkSide].flatMap(({ listed }) => listed.map(({ key }) => nameOf(key))))
    for (const name of readdirSync(copies)) {
      if (names.has(name)) continue
      try {
        faultPoint('index copy: delete')
        unlinkSync(join(copies, name))
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', join(copies, name))
      }
    }
  }

  let wantsChunks = false

  async function loadChunkIndexes(): Promise<void> {
    wantsChunks = true
    if (!(await readIndexes(chunkSide))) await readListed()
  }

  /** Lists index/ and reads what is new. What vanishes in between was merged into what the next listing shows. */
  async function readListed(): Promise<void> {
    for (let tries = LISTINGS; tries > 0; tries--) {
      objectSide.listed = []
      chunkSide.listed = []
      for await (const info of blobs.list('index/')) {
        const name = parseIndexKey(info.key)
        if (name) (name.chunks ? chunkSide : objectSide).listed.push({ ...info, oid: name.oid })
      }
      forget()
      const isWhole = await readIndexes(objectSide)
      if ((!wantsChunks || (await readIndexes(chunkSide))) && isWhole) return
    }
  }

  async function readCondemned(): Promise<void> {
    const records = new Map<Oid, StoredRecord>()
    for await (const record of readRecords(blobs, KEYS.condemned, condemned)) records.set(record.name, record)
    condemned = records
    condemnedPacks.clear()
    condemnedObjects.clear()
    for (const record of records.values()) {
      for (const oid of record.packs) condemnedPacks.add(oid)
      for (const oid of record.objects) condemnedObjects.set(oid, Math.max(record.modified, condemnedObjects.get(oid) ?? 0))
    }
  }

  /** The packs that count, and the whole objects that do not. */
  function countedPacks(): Set<Oid> {
    const packs = new Set([...indexes.values(), ...chunkIndexes.values()].flatMap((index) => index.packs))
    for (const pack of condemnedPacks) packs.delete(pack)
    return packs
  }

  async function refresh(description: StoreDescription): Promise<boolean> {
    const before = countedPacks()
    const spurned = new Map(condemnedObjects)
    await readAll(description)
    const now = countedPacks()
    return (
      [...before].some((pack) => !now.has(pack)) || [...condemnedObjects].some(([oid, since]) => since > (spurned.get(oid) ?? 0))
    )
  }

  async function readAll(description: StoreDescription): Promise<void> {
    await readListed()
    if (description.records.includes('condemned')) await readCondemned()
    if (description.records.includes('purged')) for await (const oid of listRecords(blobs, KEYS.purged)) purged.add(oid)
    if (description.records.includes('corrupt')) await damage.load()
  }

  function places(oid: Oid, among: Map<Oid, PackIndex>): Location[] {
    const found: Location[] = []
    for (const index of among.values()) for (const place of index.find(oid)) if (!damage.isBad(place)) found.push(place)
    return found
  }

  const isDoomed = (pack: Oid) => condemnedPacks.has(pack) || damage.isGone(pack)
  const counts = new Map<PackIndex, Uint32Array>()
  function countsOf(index: PackIndex): Uint32Array {
    const known = counts.get(index) ?? index.packCounts()
    counts.set(index, known)
    return known
  }
  const rank = (place: Location) => (condemnedPacks.has(place.pack) ? TYPES.length : 0) + TYPES.indexOf(place.type)
  const best = (found: Location[]) => (found.length < 2 ? found[0] : found.sort((a, b) => rank(a) - rank(b))[0])
  const isBytes = (place: Location) => place.type === 'bytes'

  return {
    damage,
    refresh,
    loadChunkIndexes,
    adopt(oid, bytes, chunks) {
      const side = chunks ? chunkSide : objectSide
      const index = openIndex(bytes, oid)
      side.open.set(oid, index)
      keepCopy(chunks ? `${oid}-chunks` : oid, bytes)
      leaveSuperseded(side, [index])
    },
    indexes: (chunks) => [...(chunks ? chunkIndexes : indexes).values()],
    listed: (chunks) => (chunks ? chunkSide : objectSide).listed,
    isDoomed,
    locate: (oid) => best(places(oid, indexes)),
    locateChunk: (oid) => best([...places(oid, chunkIndexes), ...places(oid, indexes)].filter(isBytes)),
    has(oid) {
      if (purged.has(oid)) return false
      if (damage.isNone && condemnedPacks.size === 0) {
        for (const index of indexes.values()) if (index.has(oid)) return true
        return false
      }
      const place = best(places(oid, indexes))
      return place !== undefined && !condemnedPacks.has(place.pack)
    },
    hasChunk: (oid) => places(oid, chunkIndexes).some((place) => !condemnedPacks.has(place.pack) && isBytes(place)),
    condemnedAt: (oid) => condemnedObjects.get(oid),
    isPurged: (oid) => purged.has(oid),
    digest: () => oidOfBytes(Buffer.from([...condemned.keys(), '', ...[...purged].sort(), '', damage.describe()].join('\n'))),
    packsOf: (oid) => [...new Set([...indexes.values()].flatMap((index) => index.find(oid).map(({ pack }) => pack)))],
    isCorrupt: (oid) =>
      [...indexes.values(), ...chunkIndexes.values()].some((index) => index.find(oid).some((place) => damage.isCorrupt(place))),
    discard(oid) {
      discarded.add(oid)
      for (const side of [objectSide, chunkSide]) side.open.delete(oid)
    },
    placesOf: (oid) => [...indexes.values(), ...chunkIndexes.values()].flatMap((index) => index.find(oid)),
    packs: () => new Map([...indexes.values(), ...chunkIndexes.values()].flatMap((index) => [...index.summarize()])),
    isCondemnedPack: (pack) => condemnedPacks.has(pack),
    knowsPack: (pack) =>
      isDoomed(pack) || [...indexes.values(), ...chunkIndexes.values()].some((index) => index.packs.includes(pack)),
    countInPack(pack) {
      for (const index of indexes.values()) {
        const number = index.packs.indexOf(pack)
        if (number >= 0) return countsOf(index)[number]
      }
      return undefined
    },
    placesIn(pack) {
      const found: Location[] = []
      for (const index of [...indexes.values(), ...chunkIndexes.values()]) {
        if (!index.packs.includes(pack)) continue
        for (const place of index.entries()) if (place.pack === pack) found.push(place)
        break
      }
      return found
    },
  }
}

/** An index's name in its folder. */
function nameOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
