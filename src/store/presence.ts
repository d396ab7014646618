import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError, systemCode } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { KEYS, type StoreDescription } from './layout.ts'
import { type Location, openIndex, type PackIndex, parseIndexKey } from './pack-index.ts'

/** What is known of a store's content from its indexes and records. */
export interface Presence {
  /** lists index/ (and the records the description names) and reads what is new */
  refresh(description: StoreDescription): Promise<void>
  loadChunkIndexes(): Promise<void>
  adopt(oid: Oid, bytes: Buffer, chunks: boolean): void
  /** the best place of an object: not corrupt, not condemned if there is a choice, bytes before recipe */
  locate(oid: Oid): Location | undefined
  /** as locate, but condemned and purged objects are not present */
  has(oid: Oid): boolean
  hasChunk(oid: Oid): boolean
  isCondemned(oid: Oid): boolean
  isPurged(oid: Oid): boolean
  markCorrupt(oid: Oid, pack: Oid): void
}

/** @param copies a folder for copies of a remote's indexes; undefined where the blobs are as near */
export function createPresence(blobs: Blobs, copies: string | undefined): Presence {
  const indexes = new Map<Oid, PackIndex>()
  const chunkIndexes = new Map<Oid, PackIndex>()
  let listedChunkIndexes: Oid[] = []
  const condemnedPacks = new Set<Oid>()
  const condemnedObjects = new Set<Oid>()
  const purged = new Set<Oid>()
  const corrupt = new Map<Oid, Set<Oid>>()

  async function readIndex(key: string, oid: Oid): Promise<PackIndex | undefined> {
    const copy = copies && join(copies, key.slice(key.lastIndexOf('/') + 1))
    if (copy) {
      try {
        return openIndex(readFileSync(copy), oid)
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' && !hasCode(error, 'INDEX_CORRUPT')) throw error
      }
    }
    let bytes: Buffer
    try {
      bytes = asBuffer(await blobs.get(key))
    } catch (error) {
      // Merged into a larger one since it was listed; the next listing shows that one.
      if (hasCode(error, 'BLOB_MISSING')) return undefined
      throw error
    }
    const index = openIndex(bytes, oid)
    if (copy) {
      mkdirSync(copies!, { recursive: true })
      writeFileSync(copy, bytes)
    }
    return index
  }

  function forget(present: Set<Oid>): void {
    for (const oid of indexes.keys()) if (!present.has(oid)) indexes.delete(oid)
    if (!copies || !existsSync(copies)) return
    for (const name of readdirSync(copies)) {
      if (present.has(name.slice(0, 64) as Oid)) continue
      try {
        unlinkSync(join(copies, name))
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error
      }
    }
  }

  async function listRecords(prefix: string, each: (name: Oid, key: string) => Promise<void> | void): Promise<void> {
    for await (const { key } of blobs.list(prefix)) {
      const name = key.slice(key.lastIndexOf('/') + 1)
      if (isOid(name)) await each(name, key)
    }
  }

  async function refresh(description: StoreDescription): Promise<void> {
    const listed: { key: string; oid: Oid; chunks: boolean }[] = []
    for await (const { key } of blobs.list('index/')) {
      const name = parseIndexKey(key)
      if (name) listed.push({ key, ...name })
    }
    const objects = listed.filter((item) => !item.chunks)
    listedChunkIndexes = listed.filter((item) => item.chunks).map((item) => item.oid)
    forget(new Set(listed.map((item) => item.oid)))
    const fresh = objects.filter((item) => !indexes.has(item.oid))
    await mapBounded(fresh, 8, async (item) => {
      const index = await readIndex(item.key, item.oid)
      if (index) indexes.set(item.oid, index)
    })
    for (const index of [...indexes.values()]) {
      // Only a larger index that really repeats them makes the superseded ones needless.
      for (const oid of index.supersedes) if (oid !== index.oid) indexes.delete(oid)
    }
    if (description.records.includes('condemned')) {
      condemnedPacks.clear()
      condemnedObjects.clear()
      await listRecords(KEYS.condemned, async (_name, key) => {
        const record = parseRecord(await blobs.get(key), key)
        for (const oid of record.packs) condemnedPacks.add(oid)
        for (const oid of record.objects) condemnedObjects.add(oid)
      })
    }
    if (description.records.includes('purged')) await listRecords(KEYS.purged, (name) => void purged.add(name))
    if (description.records.includes('corrupt'))
      await listRecords('corrupt/', async (name, key) => {
        corrupt.set(name, new Set(parseRecord(await blobs.get(key), key).packs))
      })
  }

  function places(oid: Oid, among: Map<Oid, PackIndex>): Location[] {
    const found: Location[] = []
    for (const index of among.values())
      for (const place of index.find(oid)) if (!corrupt.get(oid)?.has(place.pack)) found.push(place)
    return found
  }

  const rank = (place: Location) => (condemnedPacks.has(place.pack) ? 2 : 0) + (place.type === 'bytes' ? 0 : 1)

  function best(oid: Oid): Location | undefined {
    const found = places(oid, indexes)
    if (found.length === 0 && chunkIndexes.size > 0) found.push(...places(oid, chunkIndexes))
    return found.length < 2 ? found[0] : found.sort((a, b) => rank(a) - rank(b))[0]
  }

  return {
    refresh,
    async loadChunkIndexes() {
      const fresh = listedChunkIndexes.filter((oid) => !chunkIndexes.has(oid))
      await mapBounded(fresh, 8, async (oid) => {
        const index = await readIndex(KEYS.chunkIndex(oid), oid)
        if (index) chunkIndexes.set(oid, index)
      })
    },
    adopt(oid, bytes, chunks) {
      ;(chunks ? chunkIndexes : indexes).set(oid, openIndex(bytes, oid))
      if (!copies) return
      mkdirSync(copies, { recursive: true })
      writeFileSync(join(copies, chunks ? `${oid}-chunks` : oid), bytes)
    },
    locate: best,
    has(oid) {
      if (purged.has(oid)) return false
      const place = best(oid)
      return place !== undefined && !condemnedPacks.has(place.pack)
    },
    hasChunk: (oid) => places(oid, chunkIndexes).some((place) => !condemnedPacks.has(place.pack) && place.type === 'bytes'),
    isCondemned: (oid) => condemnedObjects.has(oid),
    isPurged: (oid) => purged.has(oid),
    markCorrupt(oid, pack) {
      const packs = corrupt.get(oid) ?? new Set()
      corrupt.set(oid, packs.add(pack))
    },
  }
}

/** Lists of oids in a record of collection or corruption. @throws STORE_INVALID */
function parseRecord(bytes: Uint8Array, key: string): { packs: Oid[]; objects: Oid[] } {
  const list = (value: unknown): Oid[] =>
    Array.isArray(value) ? value.filter((item): item is Oid => typeof item === 'string' && isOid(item)) : []
  try {
    const value = JSON.parse(Buffer.from(bytes).toString('utf8')) as { packs?: unknown; objects?: unknown }
    return { packs: list(value.packs), objects: list(value.objects) }
  } catch (cause) {
    throw new MlvError('STORE_INVALID', `The record ${key} is not JSON`, { hint: 'Delete it if you did not write it.', cause })
  }
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** @throws OBJECT_CORRUPT when the bytes are not the object */
export function verifyObject(oid: Oid, bytes: Uint8Array, url: string): void {
  if (oidOfBytes(bytes) !== oid)
    throw new MlvError('OBJECT_CORRUPT', `The object ${oid} in ${url} does not hash to its name`, {
      hint: 'Run "mlv pull" to fetch it again, or push it again from a clone that has it.',
    })
}
