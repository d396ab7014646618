import { mapBounded } from '../base/concurrency.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import type { IndexFile } from './index-set.ts'
import { KEYS } from './layout.ts'
import { formatMergedIndex, MAX_ENTRIES, newSalt, type PackIndex } from './pack-index.ts'
import type { Presence } from './presence.ts'
import { expireRecords, MAX_DELETIONS, retireIndexes } from './superseded.ts'

/** Indexes with fewer entries than this are of the lowest tier; each next tier holds eight times as many. 4,096 entries are 208 KiB. */
const LOWEST_TIER = 4096
/** So many indexes of a tier become one: a store has at most seven per tier, and an entry is written again once per tier. */
const PER_TIER = 8
/** From here on an index is large enough to stay: the fewest entries that eight of the tier below make. */
const LARGE = LOWEST_TIER * PER_TIER ** 2
/** Merges at the end of one command: one per tier, and no more whatever a store lists. */
const MAX_MERGES = 3
/** How long a superseded index stays where the listing does not show the one that repeats it, and how long a record tells which one that is. */
export const GRACE_MS = 24 * 3600 * 1000

function tierOf(count: number): number {
  let tier = 0
  for (let border = LOWEST_TIER; count >= border; border *= PER_TIER) tier++
  return tier
}

/** Chooses the indexes to be merged into one: of the lowest tier that is full, with all below it, as many as fit one index.
 *  @returns none where each tier has room */
export function planMerge<T extends { oid: Oid; count: number }>(indexes: readonly T[]): T[] {
  const small = indexes.filter(({ count }) => count < LARGE).sort((a, b) => a.count - b.count || (a.oid < b.oid ? -1 : 1))
  const filled = new Map<number, number>()
  for (const { count } of small) filled.set(tierOf(count), (filled.get(tierOf(count)) ?? 0) + 1)
  const full = [...filled].filter(([, members]) => members >= PER_TIER).map(([tier]) => tier)
  if (full.length === 0) return []
  const highest = Math.min(...full)
  const chosen: T[] = []
  let room = MAX_ENTRIES
  for (const index of small) {
    if (tierOf(index.count) > highest || index.count > room) break
    chosen.push(index)
    room -= index.count
  }
  return chosen
}

/** Superseded indexes that may go: the one that repeats them was written a grace period ago. The clock is the store's own: now is when its
 *  youngest index was written. */
export function planExpiry(listed: readonly IndexFile[], open: readonly PackIndex[]): IndexFile[] {
  const written = new Map(listed.map(({ oid, modified }) => [oid, modified]))
  const now = listed.reduce((latest, { modified }) => Math.max(latest, modified), 0)
  const expired = new Set<Oid>()
  for (const index of open) {
    if ((written.get(index.oid) ?? now) > now - GRACE_MS) continue
    for (const oid of index.supersedes) expired.add(oid)
  }
  for (const { oid } of open) expired.delete(oid)
  return listed.filter(({ oid }) => expired.has(oid)).slice(0, MAX_DELETIONS)
}

export interface MergeOptions {
  chunks: boolean
  /** readers may have a listing that is older than what was written since: in buckets, and in folders on other machines, but not in a cache */
  records: boolean
  /** lists the indexes again and reads the new ones */
  refresh(): Promise<unknown>
  signal?: AbortSignal
}

/** Merges until each tier has room, then deletes what was merged. A kill at any point leaves indexes that are all true.
 *  @throws what the blobs throw */
export async function mergeSmallIndexes(blobs: Blobs, presence: Presence, options: MergeOptions): Promise<void> {
  const { chunks, records, refresh, signal } = options
  // What a collector is about to delete must not be named anew.
  const candidates = () => presence.indexes(chunks).filter(({ packs }) => !packs.some(presence.isDoomed))
  const hasWork = () =>
    planMerge(candidates()).length > 0 || planExpiry(presence.listed(chunks), presence.indexes(chunks)).length > 0
  if (!hasWork()) return
  await refresh()
  const retired: { by: IndexFile; group: Oid[] }[] = []
  for (let merges = 0; merges < MAX_MERGES; merges++) {
    const group = planMerge(candidates())
    if (group.length === 0) break
    signal?.throwIfAborted()
    const listed = new Set(presence.listed(chunks).map(({ oid }) => oid))
    const supersedes = new Set(
      group.flatMap(({ oid, supersedes: older }) => [oid, ...older.filter((below) => listed.has(below))]),
    )
    // Of two who merge the same at once, one may take its own back when the other has deleted what both had merged.
    const bytes = formatMergedIndex(group, [...supersedes], newSalt())
    const oid = oidOfBytes(bytes)
    const begun = Date.now()
    await blobs.put(KEYS.index(oid, chunks), bytes, { oid, signal })
    presence.adopt(oid, bytes, chunks)
    await refresh()
    // An index is deleted by a collector before its packs: then the merged one may name what is gone.
    const left = new Set(presence.listed(chunks).map((file) => file.oid))
    if (!group.every((index) => left.has(index.oid))) {
      // Unless the machine slept: a grace period later others may have deleted them because the merged one repeats them.
      if (Date.now() - begun < GRACE_MS / 2) await blobs.delete(KEYS.index(oid, chunks))
      await refresh()
      return
    }
    const file = presence.listed(chunks).find((listed) => listed.oid === oid)
    // Where the listing does not show what was written, others may not find it either.
    if (file && !file.unlisted) retired.push({ by: file, group: group.map((index) => index.oid) })
  }
  for (const { by, group } of retired) await retireIndexes(blobs, group, { by: by.oid, chunks, records, signal })
  if (records && retired.length > 0) await expireRecords(blobs, retired[0]!.by.modified - GRACE_MS, signal)
  const expired = planExpiry(presence.listed(chunks), presence.indexes(chunks))
  await mapBounded(expired, PER_TIER, ({ key }) => blobs.delete(key, signal))
}
