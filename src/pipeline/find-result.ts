import { MlvError } from '../base/errors.ts'
import { oidOfBytes } from '../base/oid.ts'
import { KEYS } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { fetchEntries, isWhole } from '../workspace/fetch-entries.ts'
import type { Project } from '../workspace/project.ts'
import { writeRun } from './run-blobs.ts'
import { scopesOf } from './run-cache.ts'
import { formatRunRecord } from './run-record.ts'
import type { TaskReport } from './task-result.ts'

/** What a report says of a run that gave something. */
export type DoneReport = Extract<TaskReport, { status: 'ran' | 'restored' }>

/** Where the result of a task is. */
export interface FoundResult {
  /** the remote's name; undefined: the cache has it */
  remote: string | undefined
  /** of its run record */
  scope: string | undefined
}

/** The scope in which a store has the very record that a report tells of, with all objects of its outs. */
async function scopeIn(
  store: ObjectStore,
  { key, outs }: DoneReport,
  project: Project,
): Promise<{ scope: string | undefined } | undefined> {
  const { signal } = project.surroundings
  const oid = oidOfBytes(formatRunRecord({ key, outs }))
  for (const scope of scopesOf(project)) {
    if (!(await store.blobs.head(KEYS.runs(key, scope) + oid, signal))) continue
    for (const { entry } of outs) if (!(await isWhole(entry, store))) return undefined
    return { scope }
  }
  return undefined
}

/** Finds what a report tells of in the cache, else on a remote. Only reads.
 *  @throws OBJECT_MISSING when it is in neither, REMOTE_UNKNOWN, and what the remote throws */
export async function findResult(project: Project, report: DoneReport, remoteName?: string): Promise<FoundResult> {
  const here = await scopeIn(await project.cache('read'), report, project)
  if (here) return { remote: undefined, scope: here.scope }
  const hasRemote = remoteName !== undefined || project.config.remotes().length > 0
  const { name, store } = hasRemote ? await project.remote(remoteName) : { name: undefined, store: undefined }
  const there = store && (await scopeIn(store, report, project))
  if (there) return { remote: name, scope: there.scope }
  throw new MlvError(
    'OBJECT_MISSING',
    `The result of stage "${report.stage}" that the report tells of is not in the cache${name === undefined ? '' : ` and not whole on ${name}`}`,
    { hint: 'Name the remote that got it with -r, or run the task again with "mlv exec".' },
  )
}

/** Gets a found result into the cache, where "mlv repro" takes it. @throws OBJECT_MISSING when it went meanwhile, and what the remote throws */
export async function fetchResult(project: Project, report: DoneReport, { remote, scope }: FoundResult): Promise<void> {
  if (remote === undefined) return
  const { key, outs } = report
  const { store } = await project.remote(remote)
  const carried = await fetchEntries(
    project,
    outs.map(({ entry }) => entry),
    store,
  )
  if (carried.kind !== 'whole')
    throw new MlvError('OBJECT_MISSING', `The result of stage "${report.stage}" is not whole on ${remote} (${carried.oid})`, {
      hint: 'Run the task again with "mlv exec --force".',
    })
  const folder = (await project.cache('write')).loose?.root
  if (folder !== undefined) writeRun(folder, KEYS.runs(key, scope), { key, outs })
}
