import { mapBounded } from '../base/concurrency.ts'
import type { Oid } from '../base/oid.ts'
import type { Project } from '../workspace/project.ts'
import { fetchUsable } from './fetch-outs.ts'
import { readRun, writeRun } from './run-blobs.ts'
import { listRecords, readRecords, scopesOf } from './run-cache.ts'
import type { RunRecord } from './run-record.ts'

/** Records read at once; each is a small request. */
const RECORDS_AT_ONCE = 16

/** Keys of which the cache has no record in any scope that is read. */
async function unknownKeys(project: Project, keys: readonly Oid[], scopes: readonly (string | undefined)[]): Promise<Oid[]> {
  const { signal } = project.surroundings
  const cache = await project.cache('read')
  const known = await mapBounded(keys, RECORDS_AT_ONCE, async (key) => {
    for (const scope of scopes) for await (const _record of readRecords(cache.blobs, key, scope, signal)) return true
    return false
  })
  return keys.filter((_key, index) => !known[index])
}

interface Found {
  record: RunRecord
  /** what its key in a store begins with: its scope and run key */
  prefix: string
}

/** Gets the records of some runs that the cache lacks, with those of their outs that it lacks, so that repro need not ask for them. A listing, a
 *  request for each record, and nothing where all are known.
 *  @returns how many came   @throws what the remote throws */
export async function pullRuns(project: Project, remoteName: string, keys: readonly Oid[]): Promise<number> {
  const { signal } = project.surroundings
  const scopes = scopesOf(project)
  const lacking = await unknownKeys(project, [...new Set(keys)], scopes)
  if (lacking.length === 0) return 0
  const { store: remote } = await project.remote(remoteName, 'read')
  const cache = await project.cache('write')
  const folder = cache.loose?.root
  if (folder === undefined) return 0
  const listed: string[] = []
  for (const scope of scopes) listed.push(...(await listRecords(remote.blobs, lacking, scope, signal)))
  const read = await mapBounded(listed, RECORDS_AT_ONCE, async (name): Promise<Found | undefined> => {
    const record = await readRun(remote.blobs, name, name.split('/').at(-2) as Oid, signal)
    return typeof record === 'string' ? undefined : { record, prefix: name.slice(0, name.lastIndexOf('/') + 1) }
  })
  const found = read.filter((item) => item !== undefined)
  // Most outs are here, since they are what was pulled.
  const usable = await fetchUsable(project, found, remote)
  for (const { prefix, record } of usable) writeRun(folder, prefix, record)
  return usable.length
}
