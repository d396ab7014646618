import { mapBounded } from '../base/concurrency.ts'
import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import { ROW_BYTES } from './pack.ts'
import type { Location } from './pack-index.ts'
import { type Chunk, parseRecipe } from './recipe.ts'

/** A pack ends with a row per object and 16 bytes. */
const LEAST_BEHIND_OBJECTS = ROW_BYTES + 16

/** Reads the list of chunks that an object at a place is made of. No name says what it must hold: one that names chunks which are nowhere may
 *  have been altered on its way, and is read once more. @throws BLOB_MISSING when the pack is gone, OBJECT_CORRUPT */
export async function readRecipe(store: ObjectStore, place: Location, signal?: AbortSignal): Promise<Chunk[]> {
  const range = { start: place.offset, end: place.offset + place.length, signal }
  await store.loadChunkIndexes()
  for (let tries = 2; ; tries--) {
    try {
      const chunks = parseRecipe(await store.blobs.get(KEYS.pack(place.pack), range), place.oid, place.size)
      if (tries === 1 || chunks.every(({ oid }) => store.locateChunk(oid))) return chunks
    } catch (error) {
      if (!hasCode(error, 'OBJECT_CORRUPT') || tries === 1) throw error
    }
  }
}

/** Asks a store now whether it could give objects back: beside its indexes it asks for every pack concerned, those of chunks too, whether it
 *  is there and long enough. Reads recipes, no data. @returns the objects it could not give */
export async function findUnheld(store: ObjectStore, oids: Iterable<Oid>, signal?: AbortSignal): Promise<Set<Oid>> {
  const unheld = new Set<Oid>()
  /** per pack where the last object needed ends, and what needs it */
  const packs = new Map<Oid, { end: number; needed: Oid[] }>()
  const recipes: Location[] = []
  const foreign: Oid[] = []

  function need(place: Location, oid: Oid): void {
    const known = packs.get(place.pack) ?? { end: 0, needed: [] }
    known.end = Math.max(known.end, place.offset + place.length)
    known.needed.push(oid)
    packs.set(place.pack, known)
  }

  for (const oid of oids) {
    const place = store.has(oid) ? store.locate(oid) : undefined
    if (place) need(place, oid)
    else if (!store.has(oid) || store.loose?.check(oid) !== true) unheld.add(oid)
    if (place?.type === 'recipe') recipes.push(place)
    else if (place?.type === 'foreign') foreign.push(oid)
  }
  await mapBounded(recipes, 8, async (place) => {
    try {
      for (const chunk of await readRecipe(store, place, signal)) {
        const found = store.hasChunk(chunk.oid) || store.has(chunk.oid) ? store.locateChunk(chunk.oid) : undefined
        if (found && found.length === chunk.length) need(found, place.oid)
        else unheld.add(place.oid)
      }
    } catch (error) {
      if (!hasCode(error, 'BLOB_MISSING', 'OBJECT_CORRUPT')) throw error
      unheld.add(place.oid)
    }
  })
  await mapBounded(foreign, 8, async (oid) => {
    if (!(await beginsToRead(store, oid, signal))) unheld.add(oid)
  })
  await mapBounded([...packs], 16, async ([pack, { end, needed }]) => {
    const info = await store.blobs.head(KEYS.pack(pack), signal)
    if (info && info.size >= end + LEAST_BEHIND_OBJECTS) return
    for (const oid of needed) unheld.add(oid)
  })
  return unheld
}

/** Whether an object that lies in a bucket of its owner's is still there, at the version that was imported. */
async function beginsToRead(store: ObjectStore, oid: Oid, signal?: AbortSignal): Promise<boolean> {
  try {
    for await (const _ of store.stream(oid, { signal })) break
    return true
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING', 'FILE_CHANGED', 'OBJECT_MISSING', 'OBJECT_CORRUPT')) return false
    throw error
  }
}
