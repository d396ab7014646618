import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { asBuffer } from './blobs.ts'
import { KEYS, PACK_BYTES } from './layout.ts'
import type { ObjectStore, ReadOptions } from './object-store.ts'
import { parsePackTable, ROW_BYTES, readRow } from './pack.ts'
import type { Location } from './pack-index.ts'
import { RANGE_BYTES } from './ranges.ts'
import type { StoreWriter } from './store-writer.ts'
import type { Wanted } from './transfer.ts'

/** A pack whose objects are all wanted. */
export interface WholePack {
  oid: Oid
  objects: Wanted[]
  /** of the pack up to the end of its last object */
  bytes: number
}

/** Smaller packs are packed anew, together: a thousand small adds must not become a thousand uploads. */
const LEAST_BYTES = PACK_BYTES / 4

/** Finds packs that can travel as they are. @returns them, and what is left */
export function planWholePacks(
  from: ObjectStore,
  to: ObjectStore,
  small: readonly Wanted[],
): { packs: WholePack[]; small: Wanted[] } {
  const byPack = new Map<Oid, { item: Wanted; place: Location }[]>()
  for (const item of small) {
    const place = from.locate(item.oid)
    if (place?.type !== 'bytes') continue
    const group = byPack.get(place.pack)
    if (group) group.push({ item, place })
    else byPack.set(place.pack, [{ item, place }])
  }
  const packs: WholePack[] = []
  const travelling = new Set<Oid>()
  for (const [oid, group] of byPack) {
    const bytes = group.reduce((sum, { place }) => sum + place.length, 0)
    if (bytes < LEAST_BYTES || to.knowsPack(oid) || from.countInPack(oid) !== group.length) continue
    packs.push({ oid, objects: group.map(({ item }) => item), bytes })
    for (const { item } of group) travelling.add(item.oid)
  }
  return { packs, small: packs.length === 0 ? [...small] : small.filter(({ oid }) => !travelling.has(oid)) }
}

export interface PackTransfer {
  from: ObjectStore
  writer: StoreWriter
  /** bytes of each object that arrived */
  onObject(bytes: number): void
}

/** Sends packs as they are, once the pack and each of its objects hash to their names. @returns objects of packs that could not be had whole */
export async function sendWholePacks(
  packs: readonly WholePack[],
  { from, writer, onObject }: PackTransfer,
  options: ReadOptions & { packsAtOnce: number },
): Promise<Wanted[]> {
  const left: Wanted[] = []
  await mapBounded(packs, options.packsAtOnce, async (pack) => {
    options.signal?.throwIfAborted()
    const bytes = await readPack(from, pack, options)
    const found = bytes && checkPack(pack, bytes)
    if (!found) {
      left.push(...pack.objects)
      return
    }
    await writer.addPack({ oid: pack.oid, ...found }, bytes)
    const sizes = new Map<Oid, number>()
    for (let row = 0; row < found.count; row++) {
      const entry = readRow(found.table, row * ROW_BYTES, refuse)
      sizes.set(entry.oid, entry.size)
    }
    for (const { oid } of pack.objects) onObject(sizes.get(oid)!)
  })
  return left
}

/** Reads a pack in several ranges at once. @returns undefined when it is gone */
async function readPack(
  from: ObjectStore,
  pack: WholePack,
  { concurrency = 4, signal }: ReadOptions,
): Promise<Buffer | undefined> {
  const key = KEYS.pack(pack.oid)
  const starts = Array.from({ length: Math.ceil(pack.bytes / RANGE_BYTES) }, (_, i) => i * RANGE_BYTES)
  try {
    // The last range has no end: the length of the table is not known.
    const parts = await mapBounded(starts, concurrency, async (start, i) =>
      asBuffer(await from.blobs.get(key, { start, end: i + 1 < starts.length ? start + RANGE_BYTES : PACK_BYTES, signal })),
    )
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return undefined
    throw error
  }
}

/** @returns its table; undefined when the pack or any of its objects is not what its name says */
function checkPack(pack: WholePack, bytes: Buffer): { table: Buffer; count: number } | undefined {
  if (oidOfBytes(bytes) !== pack.oid) return undefined
  try {
    const found = parsePackTable(bytes, pack.oid, bytes.length)
    if (!found) return undefined
    const wanted = new Set(pack.objects.map(({ oid }) => oid))
    for (let row = 0; row < found.count; row++) {
      const { oid, offset, length, type } = readRow(found.table, row * ROW_BYTES, refuse)
      if (type !== 'bytes' || !wanted.has(oid) || oidOfBytes(bytes.subarray(offset, offset + length)) !== oid) return undefined
    }
    return found
  } catch (error) {
    if (hasCode(error, 'PACK_CORRUPT')) return undefined
    throw error
  }
}

function refuse(what: string): never {
  throw new MlvError('PACK_CORRUPT', `A pack ${what}`, { hint: 'Push it again from a clone that has the data.' })
}
