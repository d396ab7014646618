import { randomBytes } from 'node:crypto'
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { quotePath, type RepoPath } from '../base/paths.ts'
import type { Collector, DataFile, EarlierTree } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import { checkParents } from '../workspace/tracked.ts'
import { setAside } from './aside.ts'
import { type DatumTable, noteUnfinished, writeTable } from './datum-table.ts'
import type { Datum } from './datums.ts'
import type { StageInputs } from './inputs.ts'
import { createMapResults, type Failure, type MapResults } from './map-results.ts'
import { exists } from './move-path.ts'
import { type DatumPlan, planDatums } from './plan-datums.ts'
import { type MapScene, makeFolder, runDatums } from './run-datums.ts'
import { changedDeps, lockedStage, placeAbsent, type StageRun } from './run-stage.ts'
import type { Stage } from './stage.ts'

/** All files of the out, each once. @throws STAGE_FAILED when two datums wrote one path, or one wrote below what another wrote as a file */
function joinFiles(stage: Stage, plan: DatumPlan, results: DatumTable): DataFile[] {
  const files = new Map<string, DataFile>()
  const makers = new Map<string, Datum>()
  const refuse = (path: string, one: Datum, other: Datum): never => {
    throw new MlvError('STAGE_FAILED', `Stage "${stage.name}": ${one.name} and ${other.name} both write ${path}`, {
      hint: 'Let each datum write names of its own, for instance after its input.',
    })
  }
  for (const { datum, key } of plan.datums)
    for (const file of results.get(key)!) {
      const other = makers.get(file.path)
      if (other) refuse(file.path, other, datum)
      makers.set(file.path, datum)
      files.set(file.path, file)
    }
  for (const [path, datum] of makers)
    for (let at = posix.dirname(path); at !== '.'; at = posix.dirname(at)) {
      const other = makers.get(at)
      if (other) refuse(at, other, datum)
    }
  return [...files.values()]
}

/** The out as the last run left it. */
function earlierTree(stage: Stage, { known, recorded }: DatumPlan, { lock }: MapScene): EarlierTree | undefined {
  const entry = lock.stages.get(stage.name)?.outs[0]?.entry
  if (!entry || !recorded) return undefined
  const files = new Map<string, DataFile>()
  for (const rows of known.values()) for (const file of rows) files.set(file.path, file)
  return { entry, files }
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
    const plan = await turn(() => planDatums(stage, inputs, scene))
    const again = scene.force && !scene.retryFailed
    const todo = plan.datums.filter(({ state }) => again || (scene.retryFailed ? state === 'failed' : state !== 'done'))
    const results: DatumTable = new Map(
      plan.datums.flatMap(({ key }) => (!again && plan.known.has(key) ? [[key, plan.known.get(key)!]] : [])),
    )
    const collector = await turn(() => data.collector())
    const failures: Failure[] = []
    const made = createMapResults(join(work, 'ready'), { collector, results, failures })
    await runDatums(todo, work, { ...scene, stage, aside, failures, take: (batch) => turn(() => made.take(batch)) })
    return await turn(async () => {
      if (failures.length === 0) scene.check?.()
      const left = plan.datums.filter(({ key }) => !results.has(key))
      const changed = await changedDeps(inputs, scene)
      const table = await writeTable(await sureResults(stage, inputs, { changed, plan, results, scene }), collector)
      if (left.length > 0) {
        await collector.finish()
        noteUnfinished(project, stage.name, { table, failed: failures.map(({ planned }) => planned.key) })
        project.surroundings.signal?.throwIfAborted()
        throw failures.length > 0 ? failedError(stage, failures, plan.datums.length) : notRun(stage, left.length)
      }
      const entry = await collector.tree(joinFiles(stage, plan, results), earlierTree(stage, plan, scene))
      await collector.finish()
      const { path, git, persist } = stage.outs[0]!
      await placeOut({ path, entry, made, collector }, scene)
      aside.drop()
      noteUnfinished(project, stage.name, undefined)
      scene.observer.forget()
      const outcome = { outs: [{ path, entry, git, persist }], unsure: changed.length > 0, datums: table }
      const counts = { ran: todo.length, kept: plan.datums.length - todo.length }
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

/** Results that may be taken again: not those of datums that changed while they ran, of which nobody knows what they were made from. */
async function sureResults(
  stage: Stage,
  inputs: StageInputs,
  made: { changed: readonly RepoPath[]; plan: DatumPlan; results: DatumTable; scene: MapScene },
): Promise<DatumTable> {
  const { changed, plan, results, scene } = made
  if (changed.length === 0) return results
  const cut = new Set<RepoPath>(stage.each!.inputs.map(({ path }) => path))
  const now = changed.every((path) => cut.has(path)) ? (await planDatums(stage, inputs, scene)).datums : []
  const same = new Set(now.map(({ key }) => key))
  return new Map([...results].filter(([key]) => plan.known.has(key) || same.has(key)))
}

function notRun(stage: Stage, count: number): MlvError {
  return new MlvError('STAGE_FAILED', `Stage "${stage.name}": ${count} datums have not run yet`, {
    hint: `Run "mlv repro ${stage.name}".`,
  })
}

interface Placing {
  path: RepoPath
  entry: Entry
  made: MapResults
  collector: Collector
}

/** Makes the out hold `entry`. Files that datums have just written are moved there, which costs a tenth of writing them again from the cache. */
async function placeOut({ path, entry, made, collector }: Placing, { project, data }: MapScene): Promise<void> {
  const folder = join(project.root, path)
  try {
    if (made.ready && !exists(folder)) {
      checkParents(project.root, path)
      mkdirSync(dirname(folder), { recursive: true })
      renameSync(made.ready, folder)
    } else moveEach(path, made.places, project.root)
    collector.moved(path, new Map(Array.from(made.places, ([below, { from }]) => [below, from])))
  } catch (error) {
    // Something else lies there, or another disk: all comes from the cache.
    if (!['EXDEV', 'EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY'].includes(systemCode(error) ?? ''))
      throw fileError(error, 'writing', folder)
  }
  await data.place(path, entry, { force: true })
}

function moveEach(path: RepoPath, places: MapResults['places'], root: string): void {
  const made = new Set<string>()
  for (const [below, { at }] of places) {
    const to = join(root, path, below)
    const parent = dirname(to)
    if (!made.has(parent)) {
      checkParents(root, `${path}/${below}` as RepoPath)
      mkdirSync(parent, { recursive: true })
    }
    made.add(parent)
    renameSync(at, to)
  }
}
