import { hasCode } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { placesOf, readContent, readUnnamed, type StoreContent } from './content.ts'
import { parseForeign } from './foreign.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import { formatIndex, groupPacks, type IndexedPack, type Location, newSalt } from './pack-index.ts'
import { parseRecipe } from './recipe.ts'

/** A pack with what of it is worth keeping. */
export interface PackToCopy extends IndexedPack {
  chunks: boolean
}

export interface CopiedPacks {
  /** objects and chunks written again */
  objects: number
  /** bytes of packs and indexes written */
  written: number
  /** what should have been kept and does not hash to its name */
  corrupt: Location[]
}

/** Writes those objects of packs that `keeps` names into new packs, each hashed on its way and each once, and then their indexes. The old packs stay.
 *  Safe to repeat: the same packs give the same new ones. A pack that is gone has nothing to copy. @throws what the blobs throw */
export async function copyPacks(
  store: ObjectStore,
  packs: Iterable<PackToCopy>,
  keeps: (place: Location) => boolean,
  signal?: AbortSignal,
): Promise<CopiedPacks> {
  const writer = store.writer({ signal })
  const result: CopiedPacks = { objects: 0, written: 0, corrupt: [] }
  const copied = new Set<string>()
  for (const pack of packs) {
    signal?.throwIfAborted()
    const wanted = [...placesOf(pack)].filter((place) => keeps(place) && !copied.has(`${place.type} ${place.oid}`))
    if (wanted.length === 0) continue
    const bytes = await readWhole(store.blobs, pack.oid, signal)
    if (!bytes) continue
    for (const place of wanted) {
      const stored = bytes.subarray(place.offset, place.offset + place.length)
      if (!(await copyOne(place, stored, pack.chunks))) {
        result.corrupt.push(place)
        continue
      }
      copied.add(`${place.type} ${place.oid}`)
      result.objects++
    }
  }
  await writer.finish()
  result.written = writer.written.bytes
  return result

  async function copyOne(place: Location, stored: Uint8Array, chunks: boolean): Promise<boolean> {
    if (place.type === 'bytes') {
      if (oidOfBytes(stored) !== place.oid) return false
      await (chunks ? writer.addChunk(place.oid, stored) : writer.add(place.oid, stored))
      return true
    }
    try {
      if (place.type === 'foreign') await writer.addForeign(place.oid, parseForeign(stored, place.oid, place.size))
      else await writer.addRecipe(place.oid, parseRecipe(stored, place.oid, place.size))
      return true
    } catch (error) {
      if (hasCode(error, 'OBJECT_CORRUPT')) return false
      throw error
    }
  }
}

/** Reads a pack, and once more where it does not hash to its name: what was altered on its way would be left behind, or copied, with the
 *  old pack about to go. @returns undefined where it is gone */
async function readWhole(blobs: Blobs, pack: Oid, signal?: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    const bytes = await blobs.get(KEYS.pack(pack), { signal })
    return oidOfBytes(bytes) === pack ? bytes : await blobs.get(KEYS.pack(pack), { checked: true, signal })
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return undefined
    throw error
  }
}

/** Makes the indexes forget packs: what else the indexes that name them list goes into new ones first, then the old ones go.
 *  Safe to repeat. @returns how many indexes were deleted */
export async function forgetPacks(blobs: Blobs, content: StoreContent, gone: ReadonlySet<Oid>): Promise<number> {
  let deleted = 0
  for (const chunks of [true, false]) {
    const concerned = content.indexes.filter(
      (stored) => stored.chunks === chunks && stored.index.packs.some((oid) => gone.has(oid)),
    )
    const rest = new Map<Oid, IndexedPack>()
    for (const { index } of concerned) for (const [oid, table] of index.tables()) if (!gone.has(oid)) rest.set(oid, table)
    for (const group of groupPacks([...rest.values()])) {
      // A name of its own: another one may just be deleting an index of the same packs, which it has merged.
      const bytes = formatIndex(group, [], newSalt())
      const oid = oidOfBytes(bytes)
      await blobs.put(KEYS.index(oid, chunks), bytes, { oid })
    }
    for (const { key } of concerned) {
      await blobs.delete(key)
      deleted++
    }
  }
  return deleted
}

/** Deletes packs, after every index has forgotten them, and the notes of damage in them. */
export async function deletePacks(blobs: Blobs, content: StoreContent, gone: ReadonlySet<Oid>): Promise<void> {
  await forgetPacks(blobs, content, gone)
  for (const pack of gone) {
    await blobs.delete(KEYS.pack(pack))
    await blobs.delete(KEYS.corrupt(pack))
  }
}

export interface RewrittenPacks extends CopiedPacks {
  /** packs that were deleted, those without a readable table included */
  packs: Oid[]
  /** bytes of the packs that were deleted */
  deleted: number
}

/** Takes objects, recipes and chunks out of a store at once: every pack that holds one of `leaveOut`, also one that no index names, is
 *  written again without them and then deleted. So is a pack that neither an index nor its own table describes, since it may hold one and nobody can read it.
 *  Interrupted at any point, it leaves everything else readable and can be repeated. @throws what the blobs throw, INDEX_CORRUPT */
export async function rewritePacks(
  store: ObjectStore,
  leaveOut: ReadonlySet<Oid>,
  options: { signal?: AbortSignal } = {},
): Promise<RewrittenPacks> {
  const { blobs } = store
  const content = await readContent(blobs, options.signal)
  const unnamed = await readUnnamed(blobs, content)
  const tables = [...content.packs.keys()].flatMap((oid) => content.table(oid) ?? []).concat(unnamed.tables)
  const concerned: PackToCopy[] = []
  for (const pack of tables)
    for (const place of placesOf(pack))
      if (leaveOut.has(place.oid)) {
        concerned.push({ ...pack, chunks: content.holdsChunks(pack.oid) })
        break
      }
  const copied = await copyPacks(store, concerned, ({ oid }) => !leaveOut.has(oid), options.signal)
  const gone = new Set([...concerned.map(({ oid }) => oid), ...unnamed.broken])
  // Read again: the new packs have indexes now, and others may have merged theirs.
  if (gone.size > 0) await deletePacks(blobs, await readContent(blobs, options.signal), gone)
  await store.refresh()
  const deleted = [...gone].reduce((sum, oid) => sum + (content.packs.get(oid)?.size ?? 0), 0)
  return { ...copied, packs: [...gone], deleted }
}
