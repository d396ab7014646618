import { mapBounded } from '../base/concurrency.ts'
import { hasCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import type { GarbagePlan } from '../workspace/garbage.ts'
import { gatherObjects } from '../workspace/gather.ts'
import { type ReadRun, readRun } from './run-blobs.ts'
import type { RunRecord } from './run-record.ts'

/** What was read at a key; a record never changes. */
export type KnownRuns = Map<string, ReadRun>

/** Records read, or trees looked through, at once. */
const READS = 16

/** Finds run records that nobody can use any more, of all scopes: those with an out that is neither here, or is about to be deleted, nor needed by
 *  any reference, and those that do not hash to their names. Younger ones than the grace period stay. Only reads.
 *  @param known records read before, to which those read now are added   @returns their keys */
export async function findStaleRuns(plan: GarbagePlan, known: KnownRuns, signal?: AbortSignal): Promise<string[]> {
  const { store, needed, collect, grace } = plan
  const keys: string[] = []
  for await (const { key, modified } of store.blobs.list('runs/', signal))
    if (collect.now - modified >= grace && keyOf(key) !== undefined) keys.push(key)
  if (keys.length === 0) return []
  // After the listing: a pusher sends the outs before their record.
  await store.refresh()
  const removed = new Set([...collect.remove.packs, ...collect.remove.objects])
  const isHere = (oid: Oid) =>
    store.inspection.placesOf(oid).some((place) => !removed.has(place.pack) && !store.isBad(place)) ||
    ((store.loose?.has(oid) ?? false) && !removed.has(oid))

  async function isWhole({ entry }: RunRecord['outs'][number]): Promise<boolean> {
    if (needed.has(entry.oid)) return true
    if (!isHere(entry.oid)) return false
    if (entry.kind !== 'tree') return true
    const { objects, unreadable } = await gatherObjects([{ entry, part: '' }], [store], { signal, onInvalid: () => {} })
    return unreadable.length === 0 && [...objects.keys()].every((oid) => needed.has(oid) || isHere(oid))
  }

  const stale: string[] = []
  await mapBounded(keys, READS, async (key) => {
    signal?.throwIfAborted()
    const record = known.get(key) ?? (await readRun(store.blobs, key, keyOf(key)!, signal))
    known.set(key, record)
    // A record of a newer format is not ours to delete.
    if (record === 'gone' || record === 'unknown') return
    if (record === 'broken') return void stale.push(key)
    for (const out of record.outs) if (!(await isWhole(out))) return void stale.push(key)
  })
  return stale.sort()
}

/** Deletes what findStaleRuns finds once a plan was carried out. Records of a scope that one may not write to stay. @returns how many were deleted */
export async function deleteStaleRuns(plan: GarbagePlan, known: KnownRuns, signal?: AbortSignal): Promise<number> {
  let deleted = 0
  await mapBounded(await findStaleRuns(plan, known, signal), READS, async (key) => {
    try {
      await plan.store.blobs.delete(key, signal)
      deleted++
    } catch (error) {
      if (!hasCode(error, 'REMOTE_DENIED', 'FILE_UNWRITABLE')) throw error
    }
  })
  return deleted
}

/** The run key in a blob's key; undefined for what is no record. */
function keyOf(key: string): Oid | undefined {
  const [, fan, run, name] = /^runs\/(?:[A-Za-z0-9_-]+\/)?([0-9a-f]{2})\/([^/]+)\/([^/]+)$/.exec(key) ?? []
  return run !== undefined && isOid(run) && isOid(name!) && run.startsWith(fan!) ? run : undefined
}
