import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createTurn } from '../base/concurrency.ts'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { isWithin, quotePath, type RepoPath } from '../base/paths.ts'
import { KEYS } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import { fetchEntries, isWhole } from '../workspace/fetch-entries.ts'
import { openWorkspaceData } from '../workspace/open-data.ts'
import type { Project } from '../workspace/project.ts'
import { checkParents } from '../workspace/tracked.ts'
import { canonicalJson } from './canonical-json.ts'
import type { Executor, TaskPlace } from './executor/executor.ts'
import type { CommandRun } from './executor/shell.ts'
import { createObserver, type Observer } from './observer.ts'
import { findRecord, keepRecord, pushRuns, scopesOf } from './run-cache.ts'
import type { RunRecord } from './run-record.ts'
import { placeAbsent } from './run-stage.ts'
import { carryInputs, whyHere } from './send-task.ts'
import type { Task, TaskInput } from './task.ts'
import type { TaskEnd } from './task-result.ts'

export interface ExecPorts {
  executor: Executor
  /** runs also what has been run before */
  force: boolean
  onOutput?: CommandRun['onOutput']
  /** told before the commands run */
  onStart?: () => void
}

const invalid = (message: string): MlvError =>
  new MlvError('TASK_INVALID', `The task contradicts itself: ${message}`, {
    hint: 'Write it anew with "mlv stage task STAGE".',
  })

/** The record of the task's run whose outs are all in a store. */
async function recordIn(
  store: ObjectStore,
  task: Task,
  project: Project,
  scopes = scopesOf(project),
): Promise<RunRecord | undefined> {
  const wanted = { stage: task, key: task.key, scopes, signal: project.surroundings.signal }
  const found = await findRecord(store.blobs, wanted, async ({ outs }) => {
    for (const { entry } of outs) if (!(await isWhole(entry, store))) return false
    return true
  })
  return found?.record
}

/** Sends the cache's record, with its outs, and looks whether it is there. @throws OBJECT_MISSING, and what the store throws */
async function sendRecord(task: Task, project: Project): Promise<RunRecord> {
  await pushRuns(project, undefined, [task.key])
  const { store } = await project.remote(undefined, 'write')
  const sent = await recordIn(store, task, project)
  if (sent) return sent
  // Another may have sent the same meanwhile: its index came after the last listing here.
  await store.refresh()
  const record = await recordIn(store, task, project)
  if (record) return record
  throw new MlvError('OBJECT_MISSING', `The result of stage "${task.name}" is not whole in ${store.blobs.url}`, {
    hint: 'Run the same command again; what is there already is not sent twice.',
  })
}

/** What has been run before, here or there. */
async function findKnown(task: Task, project: Project, remote: ObjectStore | undefined): Promise<RunRecord | undefined> {
  const there = remote && (await recordIn(remote, task, project))
  if (there) return there
  // Only the own records are sent.
  const own = remote && [project.config.get('run_cache.write')]
  const here = await recordIn(await project.cache('write'), task, project, own)
  return here && remote ? sendRecord(task, project) : here
}

/** A store that cannot be written to is worth knowing of before hours of work. @throws REMOTE_DENIED, FILE_UNWRITABLE, STORE_TOO_NEW */
async function checkWritable(project: Project): Promise<void> {
  const { store } = await project.remote(undefined, 'write')
  await store.blobs.put(KEYS.clock, Buffer.from('\n'), { signal: project.surroundings.signal })
}

/** Without git, all that lies in a folder is what the task gave. */
function wholeFolders(data: WorkspaceData): WorkspaceData {
  return {
    ...data,
    hash: (path, options) => data.hash(path, { ...options, all: true }),
    look: (path, options) => data.look(path, { ...options, all: true }),
  }
}

/** What lies in one input and in another must be the same. @throws TASK_INVALID */
async function checkNested({ inputs }: Task, data: WorkspaceData): Promise<Set<RepoPath>> {
  const around = new Set<RepoPath>()
  for (const { path, entry } of inputs) {
    if (entry.kind !== 'tree' || !inputs.some((other) => other.path !== path && isWithin(other.path, path))) continue
    around.add(path)
    for (const file of await data.list(entry)) {
      const full = `${path}/${file.path}` as RepoPath
      if (!sameEntry(file, await data.hash(full))) throw invalid(`${path} and another input differ in ${full}`)
    }
  }
  return around
}

/** What is read must be what the key says. @throws TASK_INVALID, and what reading params throws */
async function checkKeyed(task: Task, observer: Observer, around: ReadonlySet<RepoPath>): Promise<void> {
  // A notebook that mlv tracks or a stage has made counts as its bytes.
  const isKeyedWhole = ({ path, entry }: TaskInput) =>
    path.endsWith('.ipynb') && task.inputs.some((input) => input.path === path && sameEntry(input.entry, entry))
  for (const dep of task.deps)
    if (!around.has(dep.path) && !isKeyedWhole(dep) && !sameEntry(dep.entry, await observer.dep(dep.path)))
      throw invalid(`${dep.path} is not what its key was made of`)
  for (const { file, key, value } of task.params)
    if (canonicalJson(await observer.param({ file, key, at: '' })) !== canonicalJson(value))
      throw invalid(`${file} has another value for "${key}" than its key was made of`)
}

/** The folder that the commands run in may hold nothing that they read. @throws PATH_INVALID where a link leads elsewhere, FILE_UNWRITABLE, DISK_FULL */
function makeWorkFolder(wdir: RepoPath, { root }: Project): void {
  checkParents(root, wdir)
  try {
    mkdirSync(join(root, wdir), { recursive: true })
  } catch (error) {
    // A file or a link there is told by the run.
    if (systemCode(error) !== 'EEXIST') throw fileError(error, 'writing', wdir)
  }
}

/** Places all inputs. @returns how they are looked at afterwards: a dep that is as it was placed is the task's */
async function placeInputs(task: Task, project: Project, data: WorkspaceData): Promise<TaskPlace['observer']> {
  const observer = createObserver(project, data, new Map())
  await placeAbsent(task, task.inputs, { project, data, observer })
  if (task.wdir !== '') makeWorkFolder(task.wdir, project)
  await checkKeyed(task, observer, await checkNested(task, data))
  const placed = new Map<RepoPath, Entry | undefined>()
  for (const { path } of task.deps) placed.set(path, await observer.dep(path))
  const keyed = new Map(task.deps.map(({ path, entry }) => [path, entry]))
  return {
    forget: observer.forget,
    async dep(path) {
      const now = await observer.dep(path)
      return sameEntry(now, placed.get(path)) ? keyed.get(path) : now
    },
  }
}

/** Runs a task in an empty project that may have a remote: gets its inputs, runs its commands, and leaves its outs and the record of the run in the cache and
 *  on the remote. What has been run before is not run again.
 *  @throws STAGE_FAILED, INTERRUPTED, TASK_INVALID; OBJECT_MISSING, OBJECT_PURGED, OBJECT_CORRUPT for inputs; DISK_FULL, and what the stores throw */
export async function execTask(task: Task, project: Project, ports: ExecPorts): Promise<TaskEnd> {
  const why = whyHere(task)
  if (why !== undefined)
    throw new MlvError('USAGE', `Stage "${task.name}" ${why}, so its result would not come back`, {
      hint: `Run it where its mlv.yaml is, with "mlv repro ${quotePath(task.name)}".`,
    })
  const { signal } = project.surroundings
  const remote = project.config.remotes().length > 0 ? (await project.remote(undefined, 'read')).store : undefined
  if (remote && !(await remote.blobs.head(KEYS.description, signal)))
    throw new MlvError('PATH_MISSING', `There is no store at ${remote.blobs.url}`, {
      hint: 'Check the url; "mlv stage task STAGE --push", where the data is, makes one.',
    })
  const known = ports.force ? undefined : await findKnown(task, project, remote)
  if (known) return { key: task.key, stage: task.name, status: 'restored', outs: known.outs, seconds: 0 }
  if (remote) await checkWritable(project)
  const data = wholeFolders(await openWorkspaceData(project))
  const cache = await project.cache('write')
  const from = remote ?? cache
  await carryInputs(task.inputs, (entries) => fetchEntries(project, entries, from), `in ${from.blobs.url}`)
  signal?.throwIfAborted()
  const observer = await placeInputs(task, project, data)
  ports.onStart?.()
  const place: TaskPlace = {
    ...{ project, data, observer, absent: [], turn: createTurn(), saveAll: true, isScratch: true },
    onOutput: ports.onOutput,
  }
  const { outs, changed, seconds } = await ports.executor.run(task, place)
  if (changed.length > 0)
    throw new MlvError('STAGE_FAILED', `Stage "${task.name}" changed what it reads: ${changed.join(', ')}`, {
      hint: 'Nobody knows of which inputs its outs are, so they are not recorded. Let it work on a copy.',
    })
  await keepRecord(project, { key: task.key, outs: outs.map(({ path, entry }) => ({ path, entry })) })
  const record = remote ? await sendRecord(task, project) : { outs }
  return {
    key: task.key,
    stage: task.name,
    status: 'ran',
    outs: record.outs.map(({ path, entry }) => ({ path, entry })),
    seconds,
  }
}
