import { mapBounded } from '../base/concurrency.ts'
import { hasCode } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import { asBuffer, type Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'
import { parsePackTable, TABLE_GUESS_BYTES } from './pack.ts'
import { formatIndex, groupPacks, type IndexedPack } from './pack-index.ts'

export interface MadeIndexes {
  indexes: Buffer[]
  /** packs that they name */
  packs: Oid[]
  /** packs that no index names and whose tables are broken; what they held counts as missing, and can be sent again */
  broken: Oid[]
}

/** Makes indexes for the packs that no sound index names, from the packs' own tables. Writes nothing.
 *  @param named packs that sound indexes name, or that are not to be named */
export async function makeIndexes(blobs: Blobs, named: ReadonlySet<Oid>): Promise<MadeIndexes> {
  const unnamed: { oid: Oid; size: number }[] = []
  for await (const { key, size } of blobs.list('packs/')) {
    const oid = key.slice(key.lastIndexOf('/') + 1)
    if (isOid(oid) && key === KEYS.pack(oid) && !named.has(oid)) unnamed.push({ oid, size })
  }
  const { tables: packs, broken } = await readTables(blobs, unnamed)
  return { indexes: groupPacks(packs).map((group) => formatIndex(group)), packs: packs.map(({ oid }) => oid), broken }
}

/** Writes indexes that were made again, and then deletes the broken ones. */
export async function replaceIndexes(blobs: Blobs, brokenKeys: readonly string[], indexes: readonly Buffer[]): Promise<void> {
  const written = new Set<string>()
  for (const bytes of indexes) {
    const oid = oidOfBytes(bytes)
    await blobs.put(KEYS.index(oid), bytes, { oid })
    written.add(KEYS.index(oid))
  }
  // The same packs make the same index: then it has replaced the broken one.
  for (const key of brokenKeys) if (!written.has(key)) await blobs.delete(key)
}

/** Reads the tables of packs from the packs themselves; those that are gone are left out.
 *  @returns packs whose table is broken, apart */
export async function readTables(
  blobs: Blobs,
  packs: readonly { oid: Oid; size: number }[],
): Promise<{ tables: IndexedPack[]; broken: Oid[] }> {
  const broken: Oid[] = []
  const tables = await mapBounded(packs, 8, async ({ oid, size }): Promise<IndexedPack | undefined> => {
    try {
      return { oid, ...(await readTable(blobs, oid, size)) }
    } catch (error) {
      if (!hasCode(error, 'PACK_CORRUPT', 'BLOB_MISSING')) throw error
      if (hasCode(error, 'PACK_CORRUPT')) broken.push(oid)
      return undefined
    }
  })
  return { tables: tables.filter((table) => table !== undefined), broken }
}

/** Reads a pack's table from its end. @throws PACK_CORRUPT, BLOB_MISSING */
async function readTable(blobs: Blobs, oid: Oid, size: number): Promise<{ table: Buffer; count: number }> {
  for (let length = Math.min(size, TABLE_GUESS_BYTES); ; length = size) {
    const tail = asBuffer(await blobs.get(KEYS.pack(oid), { start: size - length, end: size }))
    const parsed = parsePackTable(tail, oid, size)
    if (parsed) return { table: Buffer.from(parsed.table), count: parsed.count }
  }
}
