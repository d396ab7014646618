import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { createCondemned } from './condemned.ts'
import { createDamage, type Damage } from './damage.ts'
import { createIndexSet, type IndexFile, type IndexSetOptions } from './index-set.ts'
import { KEYS, type StoreDescription } from './layout.ts'
import { TYPES } from './pack.ts'
import type { Location, PackIndex, PackSummary } from './pack-index.ts'
import { listRecords } from './record.ts'

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
  /** whether a pack or whole object is condemned and not yet deleted */
  isWaiting(oid: Oid): boolean
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

export function createPresence(blobs: Blobs, options: IndexSetOptions): Presence {
  const indexSet = createIndexSet(blobs, options)
  const indexes = indexSet.objects.open
  const chunkIndexes = indexSet.chunks.open
  const condemned = createCondemned(blobs)
  const purged = new Set<Oid>()
  const damage = createDamage(blobs)

  /** The packs that count, and the whole objects that do not. */
  function countedPacks(): Set<Oid> {
    const packs = new Set(indexSet.all().flatMap((index) => index.packs))
    for (const pack of condemned.packs) packs.delete(pack)
    return packs
  }

  async function refresh(description: StoreDescription): Promise<boolean> {
    const before = countedPacks()
    const spurned = new Map(condemned.objects)
    await readAll(description)
    const now = countedPacks()
    return (
      [...before].some((pack) => !now.has(pack)) || [...condemned.objects].some(([oid, since]) => since > (spurned.get(oid) ?? 0))
    )
  }

  async function readAll(description: StoreDescription): Promise<void> {
    await indexSet.read()
    if (description.records.includes('condemned')) await condemned.read()
    if (description.records.includes('purged')) for await (const oid of listRecords(blobs, KEYS.purged)) purged.add(oid)
    if (description.records.includes('corrupt')) await damage.load()
  }

  function places(oid: Oid, among: Map<Oid, PackIndex>): Location[] {
    const found: Location[] = []
    for (const index of among.values()) for (const place of index.find(oid)) if (!damage.isBad(place)) found.push(place)
    return found
  }

  const isDoomed = (pack: Oid) => condemned.packs.has(pack) || damage.isGone(pack)
  const counts = new Map<PackIndex, Uint32Array>()
  function countsOf(index: PackIndex): Uint32Array {
    const known = counts.get(index) ?? index.packCounts()
    counts.set(index, known)
    return known
  }
  const rank = (place: Location) => (condemned.packs.has(place.pack) ? TYPES.length : 0) + TYPES.indexOf(place.type)
  const best = (found: Location[]) => (found.length < 2 ? found[0] : found.sort((a, b) => rank(a) - rank(b))[0])
  const isBytes = (place: Location) => place.type === 'bytes'

  return {
    damage,
    refresh,
    loadChunkIndexes: indexSet.loadChunks,
    adopt: indexSet.adopt,
    indexes: (chunks) => [...(chunks ? chunkIndexes : indexes).values()],
    listed: (chunks) => (chunks ? indexSet.chunks : indexSet.objects).listed,
    isDoomed,
    locate: (oid) => best(places(oid, indexes)),
    locateChunk: (oid) => best([...places(oid, chunkIndexes), ...places(oid, indexes)].filter(isBytes)),
    has(oid) {
      if (purged.has(oid)) return false
      if (damage.isNone && condemned.packs.size === 0) {
        for (const index of indexes.values()) if (index.has(oid)) return true
        return false
      }
      const place = best(places(oid, indexes))
      return place !== undefined && !condemned.packs.has(place.pack)
    },
    hasChunk: (oid) => places(oid, chunkIndexes).some((place) => !condemned.packs.has(place.pack) && isBytes(place)),
    condemnedAt: (oid) => condemned.objects.get(oid),
    isWaiting: (oid) => condemned.waiting.has(oid),
    isPurged: (oid) => purged.has(oid),
    digest: () => oidOfBytes(Buffer.from([...condemned.names(), '', ...[...purged].sort(), '', damage.describe()].join('\n'))),
    packsOf: (oid) => [...new Set([...indexes.values()].flatMap((index) => index.find(oid).map(({ pack }) => pack)))],
    isCorrupt: (oid) => indexSet.all().some((index) => index.find(oid).some((place) => damage.isCorrupt(place))),
    discard: indexSet.discard,
    placesOf: (oid) => indexSet.all().flatMap((index) => index.find(oid)),
    packs: () => new Map(indexSet.all().flatMap((index) => [...index.summarize()])),
    isCondemnedPack: (pack) => condemned.packs.has(pack),
    knowsPack: (pack) => isDoomed(pack) || indexSet.all().some((index) => index.packs.includes(pack)),
    countInPack(pack) {
      for (const index of indexes.values()) {
        const number = index.packs.indexOf(pack)
        if (number >= 0) return countsOf(index)[number]
      }
      return undefined
    },
    placesIn(pack) {
      const found: Location[] = []
      for (const index of indexSet.all()) {
        if (!index.packs.includes(pack)) continue
        for (const place of index.entries()) if (place.pack === pack) found.push(place)
        break
      }
      return found
    },
  }
}
