import type { Oid } from '../base/oid.ts'
import { isOid } from '../base/oid.ts'
import { type Census, type PackState, statesOf, takeCensus } from './census.ts'
import { readContent, readUnnamed } from './content.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import { readRecords, type StoredRecord } from './record.ts'
import type { PackToCopy } from './rewrite-pack.ts'
import { readStoreTime } from './store-time.ts'

/** Packs and whole objects, with the bytes they take. */
export interface Doomed {
  packs: Oid[]
  objects: Oid[]
  bytes: number
}

/** What a collection would do, from what a store and its records say now. */
export interface CollectPlan {
  /** by the clock of the place, in ms since 1970 */
  now: number
  /** what nothing needs and is older than the grace period: objects, recipes, chunks and needless copies */
  dead: { objects: number; bytes: number }
  /** first pass: what becomes condemned; of `rewrite`, what is still needed is copied first: `kept` of the packs' bytes, and `bytes` are not */
  condemn: Doomed
  rewrite: { packs: PackToCopy[]; keeps: Census['keeps']; bytes: number; kept: number }
  /** second pass: what was condemned a grace period ago and is still not needed */
  remove: Doomed
  /** condemned and not yet due; `from`: when the first of it will be, by the clock of the place */
  waiting: Doomed & { from: number | undefined }
  /** what was condemned and is needed, or was written again: it counts as present again */
  spare: { packs: Oid[]; objects: Oid[] }
  records: StoredRecord[]
  /** records of deletions that everybody has seen by now */
  expired: StoredRecord[]
  /** bytes of packs and whole objects that stay, before anything is rewritten */
  staying: number
  /** those of them that nothing needs and that are younger than the grace period */
  young: number
}

export interface CollectOptions {
  /** ms for which what nothing needs stays, and again between the two passes */
  grace: number
  signal?: AbortSignal
}

/** A record of a deletion stays at least so long, for those who opened the store before. */
const DELETED_STAYS_MS = 24 * 3600 * 1000

/** Part of a pack that must be needed for it to stay as it is. */
const MOSTLY = 0.5

/** Decides what a collection deletes and what it condemns. Reads all indexes and records; writes nothing but the time mark.
 *  @param live every object, tree pages included, that must stay   @throws INDEX_CORRUPT, STORE_INVALID, and what the blobs throw */
export async function planCollect(store: ObjectStore, live: ReadonlySet<Oid>, options: CollectOptions): Promise<CollectPlan> {
  const { blobs } = store
  await store.refresh()
  const content = await readContent(blobs, options.signal)
  const unnamed = await readUnnamed(blobs, content)
  const now = await readStoreTime(blobs, content)
  const records: StoredRecord[] = []
  for await (const record of readRecords(blobs, KEYS.condemned)) records.push(record)
  // Without the announcement nobody has looked at them: their time begins once they are announced.
  const isAnnounced = store.description.records.includes('condemned')
  const isDue = (since: number) => isAnnounced && now - since >= options.grace
  const young = now - options.grace
  const since = { packs: timesOf(records, 'packs', Math.min), objects: timesOf(records, 'objects', Math.min) }
  const latest = timesOf(records, 'objects', Math.max)
  const states = statesOf(content, unnamed.tables, { since: since.packs, young })
  const census = await takeCensus(store, states, live)
  const none = (): Doomed => ({ packs: [], objects: [], bytes: 0 })
  const plan: CollectPlan = {
    now,
    dead: census.dead,
    condemn: none(),
    rewrite: { packs: [], keeps: census.keeps, bytes: 0, kept: 0 },
    remove: none(),
    waiting: { ...none(), from: undefined },
    spare: { packs: [], objects: [] },
    records,
    expired: records.filter(({ deleted, modified }) => deleted && now - modified >= Math.max(options.grace, DELETED_STAYS_MS)),
    staying: 0,
    young: 0,
  }

  function wait(where: Doomed, kind: 'packs' | 'objects', item: { oid: Oid; size: number; since: number }): void {
    where[kind].push(item.oid)
    where.bytes += item.size
    if (where !== plan.waiting) return
    plan.waiting.from = Math.min(plan.waiting.from ?? Number.POSITIVE_INFINITY, item.since + options.grace)
  }

  for (const state of states.values()) {
    const { oid, size, modified } = state.stored
    const fate = fateOf(state, census)
    if (state.condemnedAt !== undefined) {
      const isNeeded = census.kept.has(oid) || modified > state.condemnedAt
      if (isNeeded) plan.spare.packs.push(oid)
      else wait(isDue(state.condemnedAt) ? plan.remove : plan.waiting, 'packs', { oid, size, since: state.condemnedAt })
    } else if (fate === 'dead') wait(plan.condemn, 'packs', { oid, size, since: now })
    else if (fate === 'mostly dead') {
      plan.rewrite.packs.push({ ...state.table!, chunks: content.holdsChunks(oid) })
      const { bytes } = census.kept.get(oid)!
      plan.rewrite.bytes += size - bytes
      plan.rewrite.kept += bytes
    } else {
      plan.staying += size
      if (state.isYoung && !census.kept.has(oid)) plan.young += size
    }
  }

  for (const { oid, size, changed } of await listWhole(store)) {
    const condemned = since.objects.get(oid)
    if (live.has(oid)) {
      if (condemned !== undefined) plan.spare.objects.push(oid)
      plan.staying += size
    } else if (condemned !== undefined) {
      // Stored again since: whoever did so counts on it.
      if (changed > latest.get(oid)!) plan.spare.objects.push(oid)
      else wait(isDue(condemned) ? plan.remove : plan.waiting, 'objects', { oid, size, since: condemned })
    } else if (changed > young) {
      plan.staying += size
      plan.young += size
    } else {
      wait(plan.condemn, 'objects', { oid, size, since: now })
      plan.dead.objects++
      plan.dead.bytes += size
    }
  }
  return plan
}

function fateOf(state: PackState, census: Census): 'stays' | 'dead' | 'mostly dead' {
  if (state.isYoung) return 'stays'
  const kept = census.kept.get(state.stored.oid)
  if (!kept) return 'dead'
  // Where an index was lost, what is needed is not copied by guess: the index can be made again.
  if (!state.isNamed) return 'stays'
  const isMostlyDead = kept.bytes < state.stored.size * MOSTLY && kept.count < (state.table?.count ?? 0)
  return isMostlyDead || census.withDeadRecipes.has(state.stored.oid) ? 'mostly dead' : 'stays'
}

/** When packs or objects were condemned: of two records that name one, the time that `choose` takes. */
function timesOf(
  records: readonly StoredRecord[],
  kind: 'packs' | 'objects',
  choose: (a: number, b: number) => number,
): Map<Oid, number> {
  const times = new Map<Oid, number>()
  for (const record of records)
    for (const oid of record[kind]) times.set(oid, choose(record.modified, times.get(oid) ?? record.modified))
  return times
}

/** Whole objects of a cache. */
async function listWhole(store: ObjectStore): Promise<{ oid: Oid; size: number; changed: number }[]> {
  const { loose } = store
  if (!loose) return []
  const found: { oid: Oid; size: number; changed: number }[] = []
  for await (const { key, size } of store.blobs.list('objects/')) {
    const oid = key.slice(key.lastIndexOf('/') + 1)
    if (!isOid(oid) || key !== KEYS.object(oid)) continue
    const changed = loose.changedAt(oid)
    if (changed !== undefined) found.push({ oid, size, changed })
  }
  return found
}
