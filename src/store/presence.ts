import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { createDamage, type Damage } from './damage.ts'
import { KEYS, type StoreDescription } from './layout.ts'
import { type Location, openIndex, type PackIndex, parseIndexKey } from './pack-index.ts'
import { listRecords, readRecords } from './record.ts'

/** What is known of a store's content from its indexes and records. */
export interface Presence {
  /** lists index/ (and the records the description names) and reads what is new */
  refresh(description: StoreDescription): Promise<void>
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
  isCondemned(oid: Oid): boolean
  isPurged(oid: Oid): boolean
  /** the packs that hold an object, bad ones too */
  packsOf(oid: Oid): Oid[]
  /** whether wrong bytes lie where the object or chunk should be */
  isCorrupt(oid: Oid): boolean
  /** every place in a pack; none when no index names it */
  placesIn(pack: Oid): Location[]
  readonly damage: Damage
}

/** Answers when indexes prove broken: writes new ones in their place, or throws. */
export type MendIndexes = (broken: readonly { key: string; error: Error }[], named: ReadonlySet<Oid>) => Promise<Buffer[]>

export interface PresenceOptions {
  /** a folder for copies of a remote's indexes; undefined where the blobs are as near */
  copies: string | undefined
  mend: MendIndexes
}

export function createPresence(blobs: Blobs, { copies, mend }: PresenceOptions): Presence {
  const indexes = new Map<Oid, PackIndex>()
  const chunkIndexes = new Map<Oid, PackIndex>()
  /** indexes that a larger one repeats, not to be read again */
  const superseded = new Set<Oid>()
  let listedChunkIndexes: Oid[] = []
  const condemnedPacks = new Set<Oid>()
  const condemnedObjects = new Set<Oid>()
  const purged = new Set<Oid>()
  const damage = createDamage(blobs)

  function keepCopy(name: string, bytes: Buffer): void {
    if (!copies) return
    try {
      mkdirSync(copies, { recursive: true })
      writeFileSync(join(copies, name), bytes)
    } catch (error) {
      throw fileError(error, 'writing', copies)
    }
  }

  async function readIndex(key: string, oid: Oid): Promise<PackIndex | undefined> {
    const name = key.slice(key.lastIndexOf('/') + 1)
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

  /** Reads indexes into `among`; broken ones are mended or thrown. */
  async function readIndexes(fresh: readonly { key: string; oid: Oid }[], among: Map<Oid, PackIndex>): Promise<void> {
    const broken: { key: string; error: Error }[] = []
    await mapBounded(fresh, 8, async ({ key, oid }) => {
      try {
        const index = await readIndex(key, oid)
        if (index) among.set(oid, index)
      } catch (error) {
        if (!hasCode(error, 'INDEX_CORRUPT')) throw error
        broken.push({ key, error })
      }
    })
    if (broken.length === 0) return
    if (among === indexes) await loadChunkIndexes()
    const named = new Set([...indexes.values(), ...chunkIndexes.values()].flatMap((index) => index.packs))
    for (const bytes of await mend(broken, named)) {
      const index = openIndex(bytes)
      indexes.set(index.oid, index)
    }
  }

  function forget(present: Set<Oid>): void {
    for (const among of [indexes, chunkIndexes]) for (const oid of among.keys()) if (!present.has(oid)) among.delete(oid)
    if (!copies || !existsSync(copies)) return
    for (const name of readdirSync(copies)) {
      if (present.has(name.slice(0, 64) as Oid)) continue
      try {
        unlinkSync(join(copies, name))
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', join(copies, name))
      }
    }
  }

  /** Drops indexes that a larger one names, where it does repeat them: an index that only says so would hide what it lacks. */
  function dropSuperseded(): void {
    for (const index of [...indexes.values()]) {
      if (index.supersedes.length === 0) continue
      const packs = new Set(index.packs)
      for (const oid of index.supersedes) {
        const other = indexes.get(oid)
        if (!other || other.count > index.count || !other.packs.every((pack) => packs.has(pack))) continue
        indexes.delete(oid)
        superseded.add(oid)
      }
    }
  }

  async function loadChunkIndexes(): Promise<void> {
    const fresh = listedChunkIndexes.filter((oid) => !chunkIndexes.has(oid))
    if (fresh.length === 0) return
    await readIndexes(
      fresh.map((oid) => ({ key: KEYS.chunkIndex(oid), oid })),
      chunkIndexes,
    )
  }

  async function refresh(description: StoreDescription): Promise<void> {
    const objects: { key: string; oid: Oid }[] = []
    const chunks: Oid[] = []
    for await (const { key } of blobs.list('index/')) {
      const name = parseIndexKey(key)
      if (name?.chunks) chunks.push(name.oid)
      else if (name) objects.push({ key, oid: name.oid })
    }
    listedChunkIndexes = chunks
    forget(new Set([...chunks, ...objects.map(({ oid }) => oid)]))
    await readIndexes(
      objects.filter(({ oid }) => !indexes.has(oid) && !superseded.has(oid)),
      indexes,
    )
    dropSuperseded()
    if (description.records.includes('condemned')) {
      condemnedPacks.clear()
      condemnedObjects.clear()
      for await (const record of readRecords(blobs, KEYS.condemned)) {
        for (const oid of record.packs) condemnedPacks.add(oid)
        for (const oid of record.objects) condemnedObjects.add(oid)
      }
    }
    if (description.records.includes('purged')) for await (const oid of listRecords(blobs, KEYS.purged)) purged.add(oid)
    if (description.records.includes('corrupt')) await damage.load()
  }

  function places(oid: Oid, among: Map<Oid, PackIndex>): Location[] {
    const found: Location[] = []
    for (const index of among.values()) for (const place of index.find(oid)) if (!damage.isBad(place)) found.push(place)
    return found
  }

  const rank = (place: Location) => (condemnedPacks.has(place.pack) ? 2 : 0) + (place.type === 'bytes' ? 0 : 1)
  const best = (found: Location[]) => (found.length < 2 ? found[0] : found.sort((a, b) => rank(a) - rank(b))[0])
  const isBytes = (place: Location) => place.type === 'bytes'

  return {
    damage,
    refresh,
    loadChunkIndexes,
    adopt(oid, bytes, chunks) {
      ;(chunks ? chunkIndexes : indexes).set(oid, openIndex(bytes, oid))
      keepCopy(chunks ? `${oid}-chunks` : oid, bytes)
    },
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
    isCondemned: (oid) => condemnedObjects.has(oid),
    isPurged: (oid) => purged.has(oid),
    packsOf: (oid) => [...new Set([...indexes.values()].flatMap((index) => index.find(oid).map(({ pack }) => pack)))],
    isCorrupt: (oid) =>
      [...indexes.values(), ...chunkIndexes.values()].some((index) => index.find(oid).some((place) => damage.isCorrupt(place))),
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

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
