import { hasCode } from '../base/errors.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { fetchEntries } from '../workspace/fetch-entries.ts'
import type { Project } from '../workspace/project.ts'
import type { RunRecord } from './run-record.ts'

/** Gets all outs of run records into the cache. A record that lies, or names what is broken, gone or purged, is a miss; it says nothing of the remote.
 *  @returns whether all are there   @throws what the store throws */
export async function fetchOuts(project: Project, records: readonly RunRecord[], from: ObjectStore): Promise<boolean> {
  const entries = records.flatMap(({ outs }) => outs.map(({ entry }) => entry))
  try {
    return (await fetchEntries(project, entries, from)).kind === 'whole'
  } catch (error) {
    if (hasCode(error, 'TREE_INVALID', 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'OBJECT_PURGED', 'POINTER_INVALID')) return false
    throw error
  }
}

/** Gets the outs of many records together, and record by record only where some of them cannot be had.
 *  @returns those whose outs are all in the cache   @throws what the store throws */
export async function fetchUsable<T extends { record: RunRecord }>(
  project: Project,
  found: readonly T[],
  from: ObjectStore,
): Promise<readonly T[]> {
  const records = found.map(({ record }) => record)
  if (found.length === 0 || (await fetchOuts(project, records, from))) return found
  const usable: T[] = []
  for (const one of found) if (await fetchOuts(project, [one.record], from)) usable.push(one)
  return usable
}
