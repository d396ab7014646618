import { hasCode } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { parseForeign } from './foreign.ts'
import { KEYS } from './layout.ts'
import type { Location } from './pack-index.ts'
import { parseRecipe } from './recipe.ts'
import { formatRecord, readRecords } from './record.ts'

/** Places whose bytes proved wrong. They count as missing, so that their objects are fetched or added again. */
export interface Damage {
  /** nothing is known to be wrong */
  readonly isNone: boolean
  isBad(place: Location): boolean
  /** whether wrong bytes are known to lie at a place, other than none */
  isCorrupt(place: Location): boolean
  /** whether a pack is known to be gone */
  isGone(pack: Oid): boolean
  /** what is known to be wrong in a pack; 'gone' for all of it */
  knownIn(pack: Oid): ReadonlySet<Oid> | 'gone' | undefined
  /** whether all of this stands in the pack's record */
  isRecorded(pack: Oid, objects: readonly Oid[] | 'gone'): boolean
  /** all that is known to be wrong, as one text */
  describe(): string
  /** reads the records corrupt/<pack> */
  load(): Promise<void>
  /** Notes objects of a pack, for this process. @param objects undefined: the pack is gone */
  note(pack: Oid, objects: Iterable<Oid> | undefined): void
  /** writes what is known of a pack, for later commands */
  record(pack: Oid): Promise<void>
  /** What was noted in this process was no fault of the pack. */
  withdraw(pack: Oid): void
  /** the pack was written again, whole */
  heal(pack: Oid): Promise<void>
}

export function createDamage(blobs: Blobs): Damage {
  const bad = new Map<Oid, Set<Oid> | 'gone'>()
  const recorded = new Map<Oid, ReadonlySet<Oid> | 'gone'>()

  function note(pack: Oid, objects: Iterable<Oid> | undefined): void {
    const known = bad.get(pack)
    if (known === 'gone') return
    bad.set(pack, objects ? new Set([...(known ?? []), ...objects]) : 'gone')
  }

  return {
    get isNone() {
      return bad.size === 0
    },
    isBad(place) {
      if (bad.size === 0) return false
      const known = bad.get(place.pack)
      return known === 'gone' || (known?.has(place.oid) ?? false)
    },
    isCorrupt(place) {
      const known = bad.get(place.pack)
      return known !== undefined && known !== 'gone' && known.has(place.oid)
    },
    isGone: (pack) => bad.get(pack) === 'gone',
    knownIn: (pack) => bad.get(pack),
    isRecorded(pack, objects) {
      const record = recorded.get(pack)
      if (record === undefined || record === 'gone' || objects === 'gone') return record === objects
      return objects.every((oid) => record.has(oid))
    },
    describe: () =>
      [...bad]
        .map(([pack, objects]) => `${pack} ${[...objects].sort().join()}`)
        .sort()
        .join('\n'),
    note,
    async load() {
      for await (const { name: pack, packs, objects } of readRecords(blobs, 'corrupt/')) {
        recorded.set(pack, packs.includes(pack) ? 'gone' : new Set(objects))
        if (!packs.includes(pack)) note(pack, objects)
        // A folder that was not mounted may be back.
        else if (!(await blobs.head(KEYS.pack(pack)))) note(pack, undefined)
      }
    },
    async record(pack) {
      const known = bad.get(pack)
      if (known === undefined) return
      const record = known === 'gone' ? { packs: [pack] } : { objects: [...known].sort() }
      await blobs.put(KEYS.corrupt(pack), Buffer.from(formatRecord(record)))
      recorded.set(pack, known)
    },
    withdraw: (pack) => void bad.delete(pack),
    async heal(pack) {
      bad.delete(pack)
      if (recorded.delete(pack)) await blobs.delete(KEYS.corrupt(pack))
    },
  }
}

/** Reads a pack and checks each of its objects. @returns those whose bytes are wrong; undefined when the pack is gone */
export async function findDamage(blobs: Blobs, pack: Oid, places: Iterable<Location>): Promise<Oid[] | undefined> {
  let bytes: Uint8Array
  try {
    bytes = await blobs.get(KEYS.pack(pack))
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return undefined
    throw error
  }
  return wrongIn(bytes, pack, places)
}

/** Checks each of a pack's objects. An altered recipe or foreign place may still look like one, so none in an altered pack is trusted.
 *  @returns those whose bytes are wrong */
export function wrongIn(bytes: Uint8Array, pack: Oid, places: Iterable<Location>): Oid[] {
  const wrong: Oid[] = []
  const texts: Oid[] = []
  for (const place of places) {
    const stored = bytes.subarray(place.offset, place.offset + place.length)
    const sound = place.type === 'bytes' ? oidOfBytes(stored) === place.oid : isWellFormed(stored, place)
    if (!sound) wrong.push(place.oid)
    else if (place.type !== 'bytes') texts.push(place.oid)
  }
  return texts.length === 0 || oidOfBytes(bytes) === pack ? wrong : [...wrong, ...texts]
}

function isWellFormed(bytes: Uint8Array, place: Location): boolean {
  try {
    const parse = place.type === 'recipe' ? parseRecipe : parseForeign
    parse(bytes, place.oid, place.size)
    return true
  } catch (error) {
    if (hasCode(error, 'OBJECT_CORRUPT')) return false
    throw error
  }
}
