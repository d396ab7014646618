import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { asBuffer, type Blobs } from './blobs.ts'
import { LISTINGS } from './index-set.ts'
import { KEYS } from './layout.ts'
import { readTables } from './mend-indexes.ts'
import { ROW_BYTES, readRow } from './pack.ts'
import { type IndexedPack, type Location, openIndex, type PackIndex, parseIndexKey } from './pack-index.ts'
import { findSuccessor } from './superseded.ts'

/** A pack as it lies in the store. */
export interface StoredPack {
  oid: Oid
  /** bytes of the file */
  size: number
  /** by the clock of the place, in ms since 1970 */
  modified: number
}

export interface StoredIndex {
  key: string
  chunks: boolean
  /** by the clock of the place, in ms since 1970 */
  modified: number
  index: PackIndex
}

/** Everything a store's packs and indexes say, read anew and with nothing left out: for those who delete. */
export interface StoreContent {
  packs: Map<Oid, StoredPack>
  indexes: StoredIndex[]
  /** Where a pack's objects lie, by the first index that names it, in the order of offsets; undefined when none does. */
  table(pack: Oid): IndexedPack | undefined
  /** whether only indexes of chunks name a pack */
  holdsChunks(pack: Oid): boolean
}

/** Lists packs and reads all indexes. Packs are listed first: one that is written meanwhile is unknown rather than without an index.
 *  @param listings how often index/ is listed at most, when indexes vanish between the listing and the reading
 *  @throws INDEX_CORRUPT, REMOTE_FAILED where what is listed is not there, and what the blobs throw */
export async function readContent(blobs: Blobs, signal?: AbortSignal, listings = LISTINGS): Promise<StoreContent> {
  const packs = new Map<Oid, StoredPack>()
  for await (const { key, size, modified } of blobs.list('packs/', signal)) {
    const oid = key.slice(key.lastIndexOf('/') + 1)
    if (isOid(oid) && key === KEYS.pack(oid)) packs.set(oid, { oid, size, modified })
  }
  const keys: { key: string; oid: Oid; chunks: boolean; modified: number }[] = []
  for await (const { key, modified } of blobs.list('index/', signal)) {
    const name = parseIndexKey(key)
    if (name) keys.push({ key, modified, ...name })
  }
  const read = await mapBounded(keys, 8, async ({ key, oid, chunks, modified }): Promise<StoredIndex | undefined> => {
    const index = await readIndex(blobs, key, oid, signal)
    if (index) return { key, chunks, modified, index }
    // Merged into a larger one since it was listed: then that one is needed.
    const found = await findSuccessor(blobs, oid, chunks, signal)
    const larger = found && (await readIndex(blobs, found.info.key, found.oid, signal))
    if (!larger?.supersedes.includes(found!.repeats)) return undefined
    return { key: found!.info.key, chunks, modified: found!.info.modified, index: larger }
  })
  if (read.includes(undefined)) {
    if (listings > 1) return readContent(blobs, signal, listings - 1)
    throw new MlvError('REMOTE_FAILED', `${blobs.url} lists indexes that are not there`, {
      hint: 'Nothing is deleted by such a list. Run the command again later.',
    })
  }
  const indexes = [...new Map((read as StoredIndex[]).map((stored) => [stored.key, stored])).values()]
  const byPack = new Map<Oid, StoredIndex>()
  for (const stored of [...indexes].sort((a, b) => Number(a.chunks) - Number(b.chunks)))
    for (const pack of stored.index.packs) if (!byPack.has(pack)) byPack.set(pack, stored)
  const tables = new Map<PackIndex, Map<Oid, IndexedPack>>()
  return {
    packs,
    indexes,
    table(pack) {
      const index = byPack.get(pack)?.index
      if (!index) return undefined
      if (!tables.has(index)) tables.set(index, index.tables())
      return tables.get(index)!.get(pack)
    },
    holdsChunks: (pack) => byPack.get(pack)?.chunks ?? false,
  }
}

/** @returns undefined where it is gone   @throws INDEX_CORRUPT, and what the blobs throw */
async function readIndex(blobs: Blobs, key: string, oid: Oid, signal?: AbortSignal): Promise<PackIndex | undefined> {
  try {
    return openIndex(asBuffer(await blobs.get(key, { signal })), oid)
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return undefined
    throw error
  }
}

/** Adds to what indexes say the packs that none names, such as an interrupted push leaves them, from the packs' own tables.
 *  @returns packs whose own table cannot be read */
export async function readUnnamed(blobs: Blobs, content: StoreContent): Promise<{ tables: IndexedPack[]; broken: Oid[] }> {
  return readTables(
    blobs,
    [...content.packs.values()].filter(({ oid }) => !content.table(oid)),
  )
}

/** The rows of a pack's table as places. */
export function* placesOf({ oid, table, count }: IndexedPack): Generator<Location> {
  for (let row = 0; row < count; row++) {
    const entry = readRow(table, row * ROW_BYTES, (what) => {
      throw new Error(`a table that was checked ${what}`)
    })
    yield { ...entry, pack: oid }
  }
}
