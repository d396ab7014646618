import { statSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import { FOREIGN } from '../store/foreign.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { applyTransfer, countObjects, planTransfer, type Transferred, type Wanted } from '../store/transfer.ts'
import { disownDamaged } from '../store/verify.ts'
import { refuseUnknownPart } from './asked-part.ts'
import { gatherObjects, type Root } from './gather.ts'
import type { Project } from './project.ts'
import { registerClone } from './project-record.ts'
import { type SelectedTarget, type Selection, selectRevisions } from './selection.ts'
import { selectTargets } from './target.ts'
import { notTracked } from './tracked.ts'
import { workspaceVersions } from './workspace-versions.ts'

export interface SyncOptions extends Selection {
  paths?: readonly RepoPath[]
  remote?: string
  /** transfers at once */
  jobs?: number
  /** bytes per second to and from remotes at most; the config's when undefined */
  limitRate?: number
  dryRun?: boolean
  /** whether the cache is to keep spare copies of so many bytes, which are about to be copied into the workspace, too */
  spare?: (bytes: number) => boolean
}

export interface SyncResult extends Transferred {
  remote: string
  /** versions of paths whose data could not be had */
  missing: { path: RepoPath; revision: string; oid: Oid; size: number }[]
  /** versions of paths in which something was purged on one side: it is brought back from nowhere */
  purged: { path: RepoPath; revision: string; oid: Oid; size: number }[]
  /** keys of the runs that made what was wanted */
  runs: Oid[]
}

/** A version of a path, and the part of it that is wanted. */
export interface Wants {
  target: SelectedTarget
  part: string
}

/** The versions that paths and revisions name. @returns `asked`: those that each path names
 *  @throws PATH_MISSING for a path that none of them tracks, REVISION_UNKNOWN */
export async function selectWants(project: Project, options: SyncOptions): Promise<{ wants: Wants[]; asked: Wants[][] }> {
  const targets = await selectRevisions(project, options)
  const { paths = [] } = options
  const asked = paths.map((path) => selectTargets(targets, [path]) as Wants[])
  const unknown = paths.find((_path, at) => asked[at]!.length === 0)
  if (unknown !== undefined) throw notTracked(unknown)
  return { wants: selectTargets(targets, paths) as Wants[], asked }
}

/** Names that were mistyped below a tracked folder. @param asked what each path names
 *  @param wherever what lies in the workspace will do, too   @throws PATH_MISSING */
export async function refuseMistyped(project: Project, asked: readonly Wants[][], wherever: boolean): Promise<void> {
  for (const parts of asked) await refuseUnknownPart(project, parts, wherever)
}

/** Groups by the remote that holds each: the one asked for, the pointer's own, or the default. */
export function byRemote(wants: Wants[], asked: string | undefined): Map<string | undefined, Wants[]> {
  const groups = new Map<string | undefined, Wants[]>()
  for (const want of wants) {
    const name = asked ?? want.target.remote
    groups.set(name, [...(groups.get(name) ?? []), want])
  }
  if (groups.size === 0) groups.set(asked, [])
  return groups
}

/** What of the wants is to be gathered. What an import took is sent along where it is at hand, and missed by nobody;
 *  what git keeps travels by git. */
function rootsOf(wants: readonly Wants[], from: ObjectStore): Root[] {
  return wants.flatMap(({ target, part }): Root[] => {
    const { entry, origin, derived, git } = target
    if (git) return []
    if (!derived || origin === 'stage') return [{ entry, part }]
    const size = from.has(entry.oid) ? (from.loose?.size(entry.oid) ?? from.locate(entry.oid)?.size) : undefined
    return size === undefined ? [] : [{ entry: { ...entry, size }, part: '' }]
  })
}

/** Which of the wanted versions lack an object. */
export async function nameMissing(
  wants: Wants[],
  lost: Set<Oid>,
  stores: ObjectStore[],
  signal?: AbortSignal,
): Promise<SyncResult['missing']> {
  const missing: SyncResult['missing'] = []
  if (lost.size === 0) return missing
  const said = new Set<string>()
  for (const { target, part } of wants) {
    const key = `${target.path} ${target.entry.oid}`
    if (said.has(key)) continue
    const { objects, unreadable } = await gatherObjects([{ entry: target.entry, part }], stores, { signal })
    if (!unreadable.some((page) => lost.has(page.oid)) && ![...objects.keys()].some((oid) => lost.has(oid))) continue
    said.add(key)
    missing.push({ path: target.path, revision: target.revision, oid: target.entry.oid, size: target.entry.size })
  }
  return missing
}

async function transfer(
  project: Project,
  wants: Wants[],
  stores: { from: ObjectStore; to: ObjectStore; remote: string; task: string },
  options: SyncOptions,
): Promise<SyncResult> {
  const { signal, progress } = project.surroundings
  const { from, to } = stores
  // Pages that the cache has are not asked of the remote.
  const order = from === to ? [from] : from.loose ? [from, to] : [to, from]
  const { objects, unreadable } = await gatherObjects(rootsOf(wants, from), order, { signal })
  if (!options.dryRun) await disownDamaged(from, to, objects.values())
  let plan = planTransfer(from, to, objects.values())
  // A listing may be older than what it lists.
  if (plan.missing.length > 0) {
    await from.refresh()
    plan = planTransfer(from, to, objects.values())
  }
  const lost = new Set<Oid>([...unreadable.map((page) => page.oid), ...plan.missing.map((item: Wanted) => item.oid)])
  const purged = new Set<Oid>(plan.purged.map((item) => item.oid))
  for (const oid of lost) if (order.some((store) => store.isPurged(oid)) && lost.delete(oid)) purged.add(oid)
  const runs = [...new Set(wants.flatMap(({ target }) => target.run ?? []))]
  const base = {
    remote: stores.remote,
    runs,
    ...{ objects: 0, bytes: 0, written: 0, saved: 0, failed: [] },
    purged: await nameMissing(wants, purged, order, signal),
  }
  if (options.dryRun)
    return {
      ...base,
      objects: countObjects(plan),
      bytes: plan.bytes,
      missing: await nameMissing(wants, lost, order, signal),
    }
  if (countObjects(plan) === 0) return { ...base, missing: await nameMissing(wants, lost, order, signal) }
  const task = progress.start(stores.task, plan.bytes)
  const sum: Transferred = { objects: 0, bytes: 0, written: 0, saved: 0, failed: [] }
  try {
    let next = plan
    do {
      const done = await applyTransfer(next, from, to, {
        concurrency: options.jobs ?? project.config.get('core.jobs'),
        signal,
        versions: () =>
          workspaceVersions(
            project,
            wants.map(({ target }) => target.path),
          ),
        onBytes: (count) => task.advance(count),
        spare: options.spare?.(plan.bytes),
      })
      addUp(sum, done)
      for (const { oid } of done.failed) {
        lost.add(oid)
        objects.delete(oid)
        await setAsideIfCorrupt(stores, done, oid)
      }
      // What a collection has condemned meanwhile must be written again before anything refers to it.
      if (!(await to.recheck())) break
      next = planTransfer(from, to, objects.values())
    } while (countObjects(next) > 0)
    return { ...base, ...sum, missing: await nameMissing(wants, lost, order, signal) }
  } finally {
    task.finish()
  }
}

function addUp(sum: Transferred, next: Transferred): void {
  sum.objects += next.objects
  sum.bytes += next.bytes
  sum.written += next.written
  sum.saved += next.saved
  sum.failed.push(...next.failed)
}

/** A corrupt object in the cache must not hide that it is missing. */
async function setAsideIfCorrupt(stores: { from: ObjectStore }, done: Transferred, oid: Oid): Promise<void> {
  const failed = done.failed.find((item) => item.oid === oid)
  if (failed?.error instanceof MlvError && failed.error.code === 'OBJECT_CORRUPT' && stores.from.loose)
    await stores.from.setAside(oid)
}

/** One result for all remotes. */
function sumUp(results: SyncResult[]): SyncResult {
  const [first, ...rest] = results
  for (const next of rest) {
    addUp(first!, next)
    first!.missing.push(...next.missing)
    first!.purged.push(...next.purged)
    first!.runs.push(...next.runs)
  }
  return first!
}

/** Sends what the remote lacks. @throws REMOTE_MISSING, REMOTE_UNKNOWN, REMOTE_DENIED, REMOTE_UNREACHABLE, REMOTE_FAILED */
export async function push(project: Project, options: SyncOptions = {}): Promise<SyncResult> {
  const { wants, asked } = await selectWants(project, { unpushed: true, sources: true, ...options })
  await refuseMistyped(project, asked, false)
  const from = await project.cache('read')
  const results: SyncResult[] = []
  for (const [name, group] of byRemote(wants, options.remote)) {
    const remote = await project.remote(name, options.dryRun ? 'read' : 'write', options.limitRate)
    // Before it counts on anything there: a collection by another repository must know of this one.
    if (!options.dryRun) await registerOnce(project, remote.store)
    results.push(await transfer(project, group, { from, to: remote.store, remote: remote.name, task: 'pushing' }, options))
  }
  return sumUp(results)
}

/** A record is written again after a day, should somebody have deleted it. */
const REGISTERED_MS = 24 * 3600 * 1000

/** Registers this repository with a store, unless it has done so lately. */
export async function registerOnce(project: Project, store: ObjectStore): Promise<void> {
  const mark = join(project.homeDir, 'state', 'registered', store.description.id)
  const last = statSync(mark, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const age = Date.now() - last
  if (age >= 0 && age < REGISTERED_MS) return
  await registerClone(store, await project.git())
  writeFileAtomic(mark, '', { flush: false })
}

/** Gets into the cache what it lacks. @throws as push */
export async function fetchData(project: Project, options: SyncOptions = {}): Promise<SyncResult> {
  const { wants, asked } = await selectWants(project, { sources: true, ...options })
  const to = await project.cache('write')
  const results: SyncResult[] = []
  const near = options.dryRun ? undefined : await fetchForeign(project, wants, to, options)
  for (const [name, group] of byRemote(wants, options.remote)) {
    // What lies in place needs no remote to say so.
    if (near?.isAll && project.config.remotes().length === 0) continue
    const remote = await project.remote(name, 'read', options.limitRate)
    results.push(await transfer(project, group, { from: remote.store, to, remote: remote.name, task: 'fetching' }, options))
  }
  if (results.length === 0) results.push({ ...near!.done, remote: 'its bucket', runs: [], purged: [], missing: [] })
  else if (near) addUp(results[0]!, near.done)
  // Only now the lists of files are here.
  await refuseMistyped(project, asked, true)
  return sumUp(results)
}

/** Gets what lies in buckets of its own, as far as the cache itself knows where. @returns undefined where it knows of none; `isAll`: nothing else is wanting */
async function fetchForeign(
  project: Project,
  wants: Wants[],
  cache: ObjectStore,
  options: SyncOptions,
): Promise<{ done: Transferred; isAll: boolean } | undefined> {
  if (!cache.description.read_requires.includes(FOREIGN)) return undefined
  const { signal, progress } = project.surroundings
  const { objects, unreadable } = await gatherObjects(rootsOf(wants, cache), [cache], { signal })
  const plan = planTransfer(cache, cache, objects.values())
  if (plan.foreign.length === 0) return undefined
  const task = progress.start('fetching', plan.bytes)
  try {
    const concurrency = options.jobs ?? project.config.get('core.jobs')
    const done = await applyTransfer(plan, cache, cache, { concurrency, signal, onBytes: (count) => task.advance(count) })
    const [first] = done.failed
    if (first) throw first.error
    return { done, isAll: plan.missing.length + unreadable.length === 0 }
  } finally {
    task.finish()
  }
}
