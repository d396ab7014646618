import { randomBytes } from 'node:crypto'
import { lstatSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { hasCode, MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { foldersAround, quotePath, type RepoPath } from '../base/paths.ts'
import type { Collector } from '../workspace/data.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import { TICK_MS } from '../workspace/stat-table.ts'
import { checkParents } from '../workspace/tracked.ts'
import { setAside } from './aside.ts'
import { type DatumTable, noteUnfinished, readRow, type Unfinished, writeTable } from './datum-table.ts'
import type { DecisionView } from './decide.ts'
import type { StageInputs } from './inputs.ts'
import { changesSince, createMapOut, type MapOut } from './map-out.ts'
import { createMapResults, type DoneBatch, type Failure } from './map-results.ts'
import { forgetTasks, takeTaskResults } from './map-task-results.ts'
import { noDatumsText } from './no-datums.ts'
import { placeOut } from './place-map-out.ts'
import { type DatumPlan, type PlannedDatum, planDatums } from './plan-datums.ts'
import { makeFolder } from './run-datums.ts'
import { changedDeps, lockedStage, placeAbsent, type StagePorts, type StageRun } from './run-stage.ts'
import type { Stage } from './stage.ts'

type MapScene = DecisionView & StagePorts

/** The folder that lies at the out, where that is what mlv.lock says. */
async function unchangedOut({ name, outs: [out] }: Stage, { lock, observer }: MapScene): Promise<Entry | undefined> {
  const before = lock.stages.get(name)?.outs.find(({ path }) => path === out!.path)?.entry
  return before?.kind === 'tree' && sameEntry(before, await observer.out(out!.path)) ? before : undefined
}

/** Whether names have come to any of the out's folders, or gone, since `base` was made: by its times, which the same clock has set. */
function hasNewNames(out: string, { results, since }: { results: DatumTable; since: number }): boolean {
  const folders = foldersAround([...results.values()].flatMap((files) => files.map(({ path }) => path)))
  return [...folders].some((below) => {
    const stats = lstatSync(join(out, below), { throwIfNoEntry: false })
    return stats !== undefined && stats.mtimeMs >= since - TICK_MS
  })
}

function failedError(stage: Stage, failures: Failure[], count: number): MlvError {
  const names = failures
    .slice(0, 3)
    .map(({ planned }) => quotePath(planned.datum.name))
    .join(', ')
  const more = failures.length > 3 ? ` and ${failures.length - 3} more` : ''
  return new MlvError('STAGE_FAILED', `Stage "${stage.name}": ${failures.length} of ${count} datums failed: ${names}${more}`, {
    hint: `${failures[0]!.error.message}. What the others gave is kept: "mlv repro --retry-failed ${stage.name}" runs these again, "mlv datum list ${stage.name}" lists all.`,
  })
}

/** Runs a map stage: its command for each datum that has not run before, the results of all joined into its one out. Earlier outs stay in place until
 *  all have succeeded, and what succeeded is kept when others fail.
 *  @throws STAGE_FAILED, INTERRUPTED, OBJECT_MISSING, LOCK_HELD, PIPELINE_INVALID, DISK_FULL */
export async function runMapStage(stage: Stage, inputs: StageInputs, scene: MapScene): Promise<StageRun> {
  const { runCache, ...alone } = scene
  try {
    return await runOnce(stage, inputs, scene)
  } catch (error) {
    if (!runCache || !hasCode(error, 'TREE_INVALID')) throw error
    // Sizes that are not those of its objects: anybody may have written it.
    scene.project.surroundings.warn(`a run record of a task of stage "${stage.name}" is wrong; all its tasks are passed over`)
    return runOnce(stage, inputs, alone)
  }
}

async function runOnce(stage: Stage, inputs: StageInputs, scene: MapScene): Promise<StageRun> {
  const { project, data, turn } = scene
  const start = performance.now()
  const aside = await turn(async () => {
    await placeAbsent(stage, inputs.absent, scene)
    for (const out of stage.outs) checkParents(project.root, out.path)
    return setAside(project, stage.name, [])
  })
  const base = join(project.homeDir, 'datums', basename(project.stateDir), stage.name)
  // A name of its own: what an earlier run left running writes to a folder that is gone.
  const work = join(base, randomBytes(4).toString('hex'))
  try {
    makeFolder(base)
    const since = lstatSync(base).mtimeMs
    const found = await turn(() => unchangedOut(stage, scene))
    const plan = await turn(() => planDatums(stage, inputs, scene))
    if (plan.datums.length === 0) project.surroundings.warn(noDatumsText(stage))
    const again = scene.force && !scene.retryFailed
    const wanted = plan.datums.filter(({ state }) => again || (scene.retryFailed ? state === 'failed' : state !== 'done'))
    const results: DatumTable = again ? new Map() : await turn(() => takeGiven(stage, wanted, scene))
    const given = new Set(results.keys())
    const todo = wanted.filter(({ key }) => !given.has(key))
    const out = createMapOut(stage)
    const takeKnown = again ? () => [] : once(() => readKnown(plan, results, out))
    const collector = await turn(() => data.collector())
    const failures: Failure[] = []
    const made = createMapResults(join(work, 'ready'), { collector, results, failures })
    const { executor, jobs, onOutput } = scene
    const ran = new Set(todo.map(({ key }) => key))
    const run: Run = { stage, inputs, scene, plan, out, results, ran, fresh: new Set([...given, ...ran]), collector, failures }
    const noteAtTimes = atTimes(() => noteSoFar(run))
    const take = (batch: DoneBatch) =>
      turn(async () => {
        const isEmpty = await made.take(batch)
        await noteAtTimes()
        return isEmpty
      })
    const place = { project, stage, aside, jobs, onOutput, failures, take }
    await executor.runDatums(todo, { ...place, work, meanwhile: takeKnown })
    const broken = takeKnown()
    for (const { key } of broken) for (const keys of [run.ran, run.fresh]) keys.add(key)
    if (broken.length > 0 && !scene.retryFailed)
      await executor.runDatums(broken, { ...place, work: `${work}+`, meanwhile: () => {} })
    if (project.surroundings.signal?.aborted) data.settle()
    return await turn(async () => {
      if (failures.length === 0) scene.check?.()
      const { changed, table, entry } = await joinResults(run)
      await collector.finish()
      if (!entry) return throwLeft(run, table)
      const { path, git, persist } = stage.outs[0]!
      const from = found && !hasNewNames(join(project.root, path), { results, since }) ? found : undefined
      await placeOut({ path, entry, from, made, collector }, scene)
      aside.drop()
      noteUnfinished(project, stage.name, undefined)
      forgetTasks(project, stage.name)
      scene.observer.forget()
      const outcome = { outs: [{ path, entry, git, persist }], unsure: changed.length > 0, datums: table }
      const byTasks = [...given].filter((key) => !ran.has(key)).length
      const counts = { ran: ran.size, kept: plan.datums.length - ran.size, given: byTasks }
      return { locked: lockedStage(stage, inputs, outcome), seconds: (performance.now() - start) / 1000, changed, datums: counts }
    })
  } catch (error) {
    aside.drop()
    scene.observer.forget()
    throw error
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
}

/** What has run is noted after as many ms, so that what ends this process at once, as a lack of memory does, costs no more than these. */
const NOTE_EVERY_MS = 10_000
/** And no more often than that noting takes so small a part of the time. */
const NOTE_SHARE = 0.02

/** Work to be done now and then: asked after each batch, whether or not it is time. */
function atTimes(work: () => Promise<void>): () => Promise<void> {
  let next = performance.now() + NOTE_EVERY_MS
  return async () => {
    const start = performance.now()
    if (start < next) return
    await work()
    const end = performance.now()
    next = end + Math.max(NOTE_EVERY_MS, (end - start) / NOTE_SHARE)
  }
}

/** A run of a map stage. */
interface Run {
  stage: Stage
  inputs: StageInputs
  scene: MapScene
  plan: DatumPlan
  out: MapOut
  results: DatumTable
  /** datums that run here */
  ran: Set<Oid>
  /** datums whose results were not known before */
  fresh: Set<Oid>
  collector: Collector
  failures: Failure[]
}

const leftOf = ({ plan, results }: Run) => plan.datums.filter(({ key }) => !results.has(key))

function failedOf(failures: readonly Failure[]): Pick<Unfinished, 'failed' | 'names'> {
  return { failed: failures.map(({ planned }) => planned.key), names: failures.map(({ planned }) => planned.datum.name) }
}

/** Stores and notes what has run, while others still run. */
async function noteSoFar(run: Run): Promise<void> {
  const { stage, inputs, scene, plan, fresh, collector, failures } = run
  const sure = await sureResults(run, await changedDeps(inputs, scene))
  const table = await writeTable(sure, collector, { stored: plan.recorded, fresh })
  await collector.finish()
  noteUnfinished(scene.project, stage.name, { table, ...failedOf(failures) })
}

/** Puts the table and, where nothing is left to run, the tree of the out together. @throws STAGE_FAILED when two datums wrote one path */
async function joinResults(run: Run): Promise<{ changed: RepoPath[]; table: Entry; entry: Entry | undefined }> {
  const { stage, inputs, scene, plan, out, results, fresh, collector } = run
  const storeTable = (rows: DatumTable) => writeTable(rows, collector, { stored: plan.recorded, fresh })
  const join = async () => {
    if (leftOf(run).length > 0) return undefined
    await setImmediate()
    for (const { datum, key } of plan.datums) if (fresh.has(key)) out.add(datum, results.get(key)!)
    const files = out.files()
    const before = scene.lock.stages.get(stage.name)?.outs[0]?.entry
    const earlier = before && plan.recorded && changesSince(before, plan.recorded, { results, fresh, count: files.length })
    return { entry: await collector.tree(files, earlier), table: await storeTable(results) }
  }
  // While git lists files there is time for it.
  const [changed, joined] = await Promise.all([changedDeps(inputs, scene), join()])
  const sure = await sureResults(run, changed)
  const table = joined && sure === results ? joined.table : await storeTable(sure)
  return { changed, table, entry: joined?.entry }
}

/** @throws STAGE_FAILED naming the datums that failed, INTERRUPTED */
function throwLeft(run: Run, table: Entry): never {
  const { stage, scene, plan, failures } = run
  noteUnfinished(scene.project, stage.name, { table, ...failedOf(failures) })
  scene.project.surroundings.signal?.throwIfAborted()
  throw failures.length > 0 ? failedError(stage, failures, plan.datums.length) : notRun(stage, leftOf(run).length)
}

/** What datums gave in tasks that have been run somewhere. */
async function takeGiven(stage: Stage, wanted: readonly PlannedDatum[], scene: MapScene): Promise<DatumTable> {
  const { runCache } = scene
  if (!runCache) return new Map()
  return takeTaskResults(stage, new Set(wanted.map(({ key }) => key)), { ...scene, runCache })
}

/** Takes over what datums gave before. @returns those of which nobody can read it */
function readKnown(plan: DatumPlan, results: DatumTable, out: MapOut): PlannedDatum[] {
  const broken: PlannedDatum[] = []
  for (const planned of plan.datums) {
    const text = plan.known.get(planned.key)
    const files = text === undefined ? undefined : readRow(text)
    if (files) {
      results.set(planned.key, files)
      out.add(planned.datum, files)
    } else if (text !== undefined) broken.push(planned)
  }
  return broken
}

function once<T>(work: () => T): () => T {
  let done: { value: T } | undefined
  return () => {
    done ??= { value: work() }
    return done.value
  }
}

/** Results that may be taken again: not those of datums that changed while they ran, of which nobody knows what they were made from. */
async function sureResults({ stage, inputs, ran, results, scene }: Run, changed: readonly RepoPath[]): Promise<DatumTable> {
  if (changed.length === 0) return results
  const cut = new Set<RepoPath>(stage.each!.inputs.map(({ path }) => path))
  const now = changed.every((path) => cut.has(path)) ? (await planDatums(stage, inputs, scene)).datums : []
  const same = new Set(now.map(({ key }) => key))
  return new Map([...results].filter(([key]) => !ran.has(key) || same.has(key)))
}

function notRun(stage: Stage, count: number): MlvError {
  return new MlvError(
    'STAGE_FAILED',
    `Stage "${stage.name}": ${count === 1 ? '1 datum has' : `${count} datums have`} not run yet`,
    {
      hint: `Run "mlv repro ${stage.name}".`,
    },
  )
}
