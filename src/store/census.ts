import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { placesOf, type StoreContent, type StoredPack } from './content.ts'
import { readRecipe } from './held.ts'
import type { ObjectStore } from './object-store.ts'
import type { IndexedPack, Location } from './pack-index.ts'

/** How a pack stands before a collection. */
export interface PackState {
  stored: StoredPack
  /** undefined: nothing tells what it holds */
  table: IndexedPack | undefined
  isNamed: boolean
  isYoung: boolean
  /** since when it is condemned, by the clock of the place; undefined when it is not */
  condemnedAt: number | undefined
}

export interface Census {
  /** what of the pack must stay and is in no better place: objects, recipes and chunks */
  keeps(place: Location): boolean
  /** per pack: how many entries must stay there, and how many bytes they are stored in */
  kept: Map<Oid, { count: number; bytes: number }>
  /** packs with a recipe that nothing needs: while it is present, its chunks must be, too */
  withDeadRecipes: Set<Oid>
  /** entries that nothing needs, in packs that are old enough; a copy in another pack counts as one */
  dead: { objects: number; bytes: number }
}

/** Finds for every object and chunk that must stay the one pack it is to stay in: rather one that stays anyway than one that is condemned.
 *  @param live objects that must stay; chunks follow from the recipes that stay */
export async function takeCensus(
  store: ObjectStore,
  states: ReadonlyMap<Oid, PackState>,
  live: ReadonlySet<Oid>,
): Promise<Census> {
  const places = function* (): Generator<{ place: Location; state: PackState }> {
    for (const state of states.values()) if (state.table) for (const place of placesOf(state.table)) yield { place, state }
  }
  const recipes: Location[] = []
  const withDeadRecipes = new Set<Oid>()
  for (const { place, state } of places()) {
    if (place.type !== 'recipe') continue
    if (live.has(place.oid) || state.isYoung) recipes.push(place)
    else withDeadRecipes.add(place.pack)
  }
  const chunks = await readChunks(store, recipes)
  const isNeeded = (oid: Oid) => live.has(oid) || chunks === 'all' || chunks.has(oid)

  const homes = new Map<Oid, { pack: Oid; rank: number }>()
  for (const { place, state } of places()) {
    if (!isNeeded(place.oid) || store.isBad(place)) continue
    const rank = rankOf(place, state)
    const best = homes.get(place.oid)
    if (!best || rank < best.rank) homes.set(place.oid, { pack: place.pack, rank })
  }

  const kept: Census['kept'] = new Map()
  const dead = { objects: 0, bytes: 0 }
  // Twice in one pack is kept once.
  const counted = new Set<Oid>()
  const keeps = (place: Location) => homes.get(place.oid)?.pack === place.pack
  for (const { place, state } of places()) {
    if (keeps(place) && !counted.has(place.oid)) {
      counted.add(place.oid)
      const sum = kept.get(place.pack) ?? { count: 0, bytes: 0 }
      kept.set(place.pack, { count: sum.count + 1, bytes: sum.bytes + place.length })
    } else if (!state.isYoung) {
      dead.objects++
      dead.bytes += place.length
    }
  }
  return { keeps, kept, withDeadRecipes, dead }
}

/** The lower, the better a place to stay. */
function rankOf(place: Location, state: PackState): number {
  const condemned = state.condemnedAt !== undefined ? 8 : 0
  const unnamed = state.isNamed ? 0 : 4
  // What was copied by a collection that was interrupted is young: then the old pack need not be copied again.
  const old = state.isYoung ? 0 : 2
  return condemned + unnamed + old + (place.type === 'recipe' ? 1 : 0)
}

/** @returns the chunks of all recipes; `all` when one cannot be read, since nobody knows then which it needs */
async function readChunks(store: ObjectStore, recipes: readonly Location[]): Promise<Set<Oid> | 'all'> {
  const chunks = new Set<Oid>()
  for (const place of recipes) {
    try {
      for (const { oid } of await readRecipe(store, place)) chunks.add(oid)
    } catch (error) {
      if (!hasCode(error, 'OBJECT_CORRUPT', 'BLOB_MISSING')) throw error
      return 'all'
    }
  }
  return chunks
}

/** How each pack stands. @param since when packs were condemned   @param young packs written after this, in ms since 1970, are young */
export function statesOf(
  content: StoreContent,
  unnamed: readonly IndexedPack[],
  { since, young }: { since: ReadonlyMap<Oid, number>; young: number },
): Map<Oid, PackState> {
  const own = new Map(unnamed.map((table) => [table.oid, table]))
  return new Map(
    [...content.packs.values()].map((stored): [Oid, PackState] => {
      const { oid, modified } = stored
      const named = content.table(oid)
      return [
        oid,
        {
          stored,
          table: named ?? own.get(oid),
          isNamed: named !== undefined,
          isYoung: modified > young,
          condemnedAt: since.get(oid),
        },
      ]
    }),
  )
}
