import type { Command } from 'commander'
import { MlvError } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import { parseRate } from '../base/rate.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Project } from '../workspace/project.ts'
import type { SyncOptions, SyncResult } from '../workspace/sync.ts'
import type { Output } from './output.ts'
import { collect, parseJobs, typedPaths } from './typed-paths.ts'

export interface SyncFlags {
  remote?: string
  jobs?: number
  limitRate?: number
  allBranches?: boolean
  allTags?: boolean
  allCommits?: boolean
  rev?: string[]
  dryRun?: boolean
}

/** The arguments and options that push, pull and fetch share. */
export function addSyncOptions(command: Command): void {
  command
    .argument('[paths...]', 'only these')
    .option('-r, --remote <name>', 'another remote than the default one')
    .option('-j, --jobs <count>', 'transfers at once', parseJobs)
    .option('--limit-rate <rate>', 'bytes per second at most, such as 500K or 10M', parseLimit)
    .option('-a, --all-branches', 'the tips of all branches')
    .option('-T, --all-tags', 'all tags')
    .option('--all-commits', 'every commit of every branch and tag')
    .option('--rev <revision>', 'this revision; may be given more than once', collect)
    .option('--dry-run', 'say what would be done')
}

/** @throws USAGE */
function parseLimit(text: string): number {
  const rate = parseRate(text)
  if (rate !== undefined) return rate
  throw new MlvError('USAGE', `--limit-rate takes bytes per second from 4K, not "${text}"`, {
    hint: 'For example --limit-rate 500K, 10M or 1.5G.',
  })
}

export function syncOptions(project: Project, typed: readonly string[], flags: SyncFlags): SyncOptions {
  return {
    paths: typedPaths(project, typed),
    remote: flags.remote,
    jobs: flags.jobs,
    limitRate: flags.limitRate,
    allBranches: flags.allBranches,
    allTags: flags.allTags,
    allCommits: flags.allCommits,
    revisions: flags.rev,
    dryRun: flags.dryRun,
  }
}

/** What a collection has condemned can be taken back until it is deleted. */
async function hintOfCondemned(project: Project, { remote, missing }: SyncResult): Promise<string | undefined> {
  const holds = (store: ObjectStore) => missing.some(({ oid }) => store.isCondemned(oid))
  const say = (place: string, option: string) =>
    `${place} still holds what "mlv gc" has condemned: take that back with "mlv gc${option} --undo".`
  if (holds(await project.cache('read'))) return say('The cache', '')
  if (!project.config.remotes().includes(remote)) return undefined
  return holds((await project.remote(remote, 'read')).store) ? say(`The remote ${remote}`, ` --remote ${remote}`) : undefined
}

/** What a transfer could not have is an error at its end, after all else is done. @throws OBJECT_MISSING */
export async function failOnMissing(project: Project, result: SyncResult, where: string, usual: string): Promise<void> {
  if (result.missing.length === 0) return
  const hint = (await hintOfCondemned(project, result)) ?? usual
  const first = result.missing[0]!
  const more = result.missing.length > 1 ? ` (and ${result.missing.length - 1} more)` : ''
  throw new MlvError(
    'OBJECT_MISSING',
    `${first.path}${first.revision === 'workspace' ? '' : ` of ${first.revision}`}${more} is not whole ${where}`,
    { hint },
  )
}

/** Of the workspace's own version, what was purged is an error at the end; of others it is only said, since no push may fail for them.
 *  @throws OBJECT_PURGED */
export function tellPurged({ purged }: SyncResult, output: Output, { fatal }: { fatal: boolean }): void {
  const name = ({ path, revision }: SyncResult['purged'][number]) => (revision === 'workspace' ? path : `${path} of ${revision}`)
  const here = fatal ? purged.find(({ revision }) => revision === 'workspace') : undefined
  const first = here ?? purged[0]
  if (!first) return
  const message = `${name(first)}${purged.length > 1 ? ` (and ${purged.length - 1} more)` : ''} holds data that was purged`
  if (!here) {
    output.warn(`${message}, and stays without it`)
    return
  }
  throw new MlvError('OBJECT_PURGED', message, {
    hint: `All else was fetched. Stop tracking what is gone with "mlv remove ${quotePath(first.path)}", or a path below it, and commit. If this clone still has it, delete it here, too, with "mlv purge".`,
  })
}

/** Sends the records of the runs that made what was sent, so that others need not run the same again. @returns how many the remote lacked */
export async function carryRuns(project: Project, { remote, runs }: SyncResult): Promise<number> {
  if (runs.length === 0) return 0
  const { pushRuns } = await import('../pipeline/run-cache.ts')
  return pushRuns(project, remote, runs)
}

/** Gets the records of the runs that made what was fetched, so that repro need not ask for them. What cannot be had is only told.
 *  @returns how many the cache lacked */
export async function bringRuns(project: Project, { remote, runs }: SyncResult): Promise<number> {
  if (runs.length === 0 || project.config.remotes().length === 0) return 0
  const { pullRuns } = await import('../pipeline/pull-runs.ts')
  try {
    return await pullRuns(project, remote, runs)
  } catch (error) {
    if (!(error instanceof MlvError) || error.code === 'INTERRUPTED') throw error
    project.surroundings.warn(`run records were not fetched: ${error.message}`)
    return 0
  }
}

export function answerOf(result: SyncResult): Record<string, unknown> {
  const { remote, objects, bytes, written, saved, missing, purged } = result
  return {
    remote,
    objects,
    bytes,
    written,
    saved,
    missing,
    purged,
    failed: result.failed.map(({ oid, error }) => ({ oid, message: error.message })),
  }
}

/** What a remote could not give, at the end of what fetches. To a push, an object whose list of chunks is there counts as present, though the chunks, or
 *  their index, are lost.
 *  @param advice how to push it   @throws OBJECT_MISSING, OBJECT_PURGED */
export async function failOnUnfetched(project: Project, result: SyncResult, output: Output, advice: string): Promise<void> {
  const { remote } = result
  const mend = `should that say that everything is there, "mlv fsck -r ${remote} --repair" mends it`
  await failOnMissing(project, result, `on ${remote}`, `Push it from a clone that has it, ${advice}; ${mend}.`)
  tellPurged(result, output, { fatal: true })
}
