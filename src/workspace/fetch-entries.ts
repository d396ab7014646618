import type { ObjectStore } from '../store/object-store.ts'
import { applyTransfer, planTransfer } from '../store/transfer.ts'
import type { Entry } from './entry.ts'
import { gatherObjects } from './gather.ts'
import type { Project } from './project.ts'

/** Gets all objects of some entries into the cache. @returns false where the store does not have them all   @throws what the store throws */
export async function fetchEntries(project: Project, entries: readonly Entry[], from: ObjectStore): Promise<boolean> {
  const { signal } = project.surroundings
  const cache = await project.cache('write')
  const roots = entries.map((entry) => ({ entry, part: '' }))
  const { objects, unreadable } = await gatherObjects(roots, [cache, from], { signal })
  if (unreadable.length > 0) return false
  const plan = planTransfer(from, cache, objects.values())
  if (plan.missing.length > 0) return false
  const done = await applyTransfer(plan, from, cache, { concurrency: project.config.get('core.jobs'), signal })
  return done.failed.length === 0
}
