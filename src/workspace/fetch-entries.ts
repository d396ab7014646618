import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { applyTransfer, countObjects, planTransfer } from '../store/transfer.ts'
import { isPageLost } from '../store/tree.ts'
import { reachableObjects } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import { gatherObjects } from './gather.ts'
import type { Project } from './project.ts'

/** Whether all objects of some entries are where they were wanted, or what one of them lacks. */
export type Carried = { kind: 'whole' } | { kind: 'missing' | 'purged' | 'damaged'; oid: Oid }

async function carryEntries(
  project: Project,
  entries: readonly Entry[],
  { from, to, cache }: { from: ObjectStore; to: ObjectStore; cache: ObjectStore },
): Promise<Carried> {
  const { signal } = project.surroundings
  const roots = entries.map((entry) => ({ entry, part: '' }))
  const lack = (oid: Oid): Carried => {
    if (from.isPurged(oid) || to.isPurged(oid)) return { kind: 'purged', oid }
    return { kind: from.has(oid) ? 'damaged' : 'missing', oid }
  }
  for (;;) {
    const { objects, unreadable } = await gatherObjects(roots, [cache, from, to], { signal })
    if (unreadable.length > 0) return lack(unreadable[0]!.oid)
    const plan = planTransfer(from, to, objects.values())
    const lacking = plan.purged[0] ?? plan.missing[0]
    if (lacking) return lack(lacking.oid)
    const done = await applyTransfer(plan, from, to, { concurrency: project.config.get('core.jobs'), signal })
    const [failed] = done.failed
    if (failed) return { kind: hasCode(failed.error, 'OBJECT_MISSING') ? 'missing' : 'damaged', oid: failed.oid }
    // What a collection has condemned meanwhile must be written again before anything refers to it.
    if (countObjects(plan) === 0 || !(await to.recheck())) return { kind: 'whole' }
  }
}

/** Gets all objects of some entries into the cache. @throws what the store throws */
export async function fetchEntries(project: Project, entries: readonly Entry[], from: ObjectStore): Promise<Carried> {
  const cache = await project.cache('write')
  return carryEntries(project, entries, { from, to: cache, cache })
}

/** Sends all objects of some entries from the cache to a store that lacks them. @throws what the store throws */
export async function sendEntries(project: Project, entries: readonly Entry[], to: ObjectStore): Promise<Carried> {
  const cache = await project.cache('write')
  return carryEntries(project, entries, { from: cache, to, cache })
}

/** Whether a store has every object of an entry. A tree whose pages cannot be read is not there. */
export async function isWhole(entry: Entry, store: ObjectStore): Promise<boolean> {
  if (!store.has(entry.oid)) return false
  if (entry.kind !== 'tree') return true
  try {
    for await (const { oid } of reachableObjects(entry.oid, (page) => store.read(page), new Set()))
      if (!store.has(oid)) return false
    return true
  } catch (error) {
    if (isPageLost(error)) return false
    throw error
  }
}
