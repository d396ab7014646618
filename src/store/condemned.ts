import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { Again, repeat } from '../base/repeat.ts'
import type { Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'
import { readRecords, type StoredRecord } from './record.ts'

/** What a collection has condemned: it can still be read, and does not count as present. */
export interface Condemned {
  packs: Set<Oid>
  /** whole objects, with the time of their record by the clock of the place, in ms since 1970 */
  objects: Map<Oid, number>
  /** packs and whole objects that are still there: taking the records back makes them count again */
  waiting: Set<Oid>
  /** of the records, as they were listed */
  names(): Iterable<Oid>
  /** Reads the records as they are now. @throws STORE_INVALID; REMOTE_FAILED while the listing is older than what lies there */
  read(): Promise<void>
}

/** How often the records are listed, with pauses that triple: 2.6 s. */
const LISTINGS = 4
const FIRST_PAUSE_MS = 200

export function createCondemned(blobs: Blobs): Condemned {
  const packs = new Set<Oid>()
  const objects = new Map<Oid, number>()
  const waiting = new Set<Oid>()
  let known = new Map<Oid, StoredRecord>()

  /** @returns undefined when a record is gone that is still listed */
  async function readOnce(): Promise<Map<Oid, StoredRecord> | undefined> {
    const records = new Map<Oid, StoredRecord>()
    let isCurrent = true
    const onGone = () => {
      isCurrent = false
    }
    for await (const record of readRecords(blobs, KEYS.condemned, { known, onGone })) records.set(record.name, record)
    return isCurrent ? records : undefined
  }

  /** What a record named that is gone is not known: it was taken back, or its packs were deleted, which another record then tells. */
  function readCurrent(): Promise<Map<Oid, StoredRecord>> {
    return repeat(
      async (number) => {
        const records = await readOnce()
        if (records || number < LISTINGS) return records ?? new Again()
        throw new MlvError('REMOTE_FAILED', `${blobs.url} lists what is no longer there`, {
          hint: 'A collection has just been there, and its listings lag behind: run the command again later.',
        })
      },
      { first: FIRST_PAUSE_MS },
    )
  }

  return {
    packs,
    objects,
    waiting,
    names: () => known.keys(),
    async read() {
      known = await readCurrent()
      packs.clear()
      objects.clear()
      waiting.clear()
      for (const record of known.values()) {
        for (const oid of record.packs) packs.add(oid)
        for (const oid of record.objects) objects.set(oid, Math.max(record.modified, objects.get(oid) ?? 0))
        if (!record.deleted) for (const oid of [...record.packs, ...record.objects]) waiting.add(oid)
      }
      for (const record of known.values())
        if (record.deleted) for (const oid of [...record.packs, ...record.objects]) waiting.delete(oid)
    },
  }
}
