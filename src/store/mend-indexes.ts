import { mapBounded } from '../base/concurrency.ts'
import { hasCode } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'
import { parsePackTable, TABLE_GUESS_BYTES } from './pack.ts'
import { formatIndex, groupPacks, type IndexedPack } from './pack-index.ts'
import { asBuffer } from './presence.ts'

/** Writes indexes for the packs that no sound index names, from the packs' own tables, and then deletes the broken ones.
 *  @param named packs that sound indexes name   @returns the new indexes */
export async function rebuildIndexes(blobs: Blobs, brokenKeys: readonly string[], named: ReadonlySet<Oid>): Promise<Buffer[]> {
  const unnamed: { oid: Oid; size: number }[] = []
  for await (const { key, size } of blobs.list('packs/')) {
    const oid = key.slice(key.lastIndexOf('/') + 1)
    if (isOid(oid) && key === KEYS.pack(oid) && !named.has(oid)) unnamed.push({ oid, size })
  }
  const tables = await mapBounded(unnamed, 8, async ({ oid, size }) => {
    try {
      return { oid, ...(await readTable(blobs, oid, size)) }
    } catch (error) {
      // What it held counts as missing, and can be sent again.
      if (hasCode(error, 'PACK_CORRUPT', 'BLOB_MISSING')) return undefined
      throw error
    }
  })
  const packs = tables.filter((pack): pack is IndexedPack => pack !== undefined)
  const indexes: Buffer[] = []
  const written = new Set<string>()
  for (const group of groupPacks(packs)) {
    const bytes = formatIndex(group)
    const oid = oidOfBytes(bytes)
    await blobs.put(KEYS.index(oid), bytes, { oid })
    indexes.push(bytes)
    written.add(KEYS.index(oid))
  }
  // The same packs make the same index: then it has replaced the broken one.
  for (const key of brokenKeys) if (!written.has(key)) await blobs.delete(key)
  return indexes
}

/** Reads a pack's table from its end. @throws PACK_CORRUPT, BLOB_MISSING */
export async function readTable(blobs: Blobs, oid: Oid, size: number): Promise<{ table: Buffer; count: number }> {
  for (let length = Math.min(size, TABLE_GUESS_BYTES); ; length = size) {
    const tail = asBuffer(await blobs.get(KEYS.pack(oid), { start: size - length, end: size }))
    const parsed = parsePackTable(tail, oid, size)
    if (parsed) return { table: Buffer.from(parsed.table), count: parsed.count }
  }
}
