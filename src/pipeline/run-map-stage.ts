import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, posix } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import type { Collector, DataFile } from '../workspace/data.ts'
import { type Aside, setAside } from './aside.ts'
import { type DatumTable, noteUnfinished, writeTable } from './datum-table.ts'
import type { Datum } from './datums.ts'
import type { DecisionView } from './decide.ts'
import { shellLine } from './edit.ts'
import type { StageInputs } from './inputs.ts'
import { type DatumPlan, type PlannedDatum, planDatums } from './plan-datums.ts'
import { runCommands } from './run-command.ts'
import { changedDeps, lockedStage, logOutput, placeAbsent, type StagePorts, type StageRun } from './run-stage.ts'
import type { Stage } from './stage.ts'

type MapScene = DecisionView & StagePorts

/** A datum that did not give its part. */
interface Failure {
  planned: PlannedDatum
  error: MlvError
}

/** The paths of a datum's parts of one input, as the command sees them from its folder. */
function pathsOf(datum: Datum, stage: Stage, input?: string): string[] {
  const from = stage.wdir === '' ? '.' : stage.wdir
  return datum.parts.filter((part) => input === undefined || part.input === input).map(({ path }) => posix.relative(from, path))
}

/** Fills `{in}`, `{in.NAME}`, `{out}`, `{datum}` and `{1}`, `{2}`, … in a command line, quoted for the shell; of a batch `{list}`. */
function fillCommand(line: string, stage: Stage, values: { datum?: Datum; out?: string; list?: string }): string {
  const { datum, out, list } = values
  const groups = datum?.parts.flatMap((part) => part.groups) ?? []
  const words = (texts: string[]) => texts.map((text) => shellLine([text, '']).replace(/ ''$/, '')).join(' ')
  return line.replace(/\{(in|out|list|datum|in\.\w+|[1-9])\}/g, (whole, name: string) => {
    if (name === 'list') return list === undefined ? whole : words([list])
    if (!datum || out === undefined) return whole
    if (name === 'out') return words([out])
    if (name === 'datum') return words([datum.name])
    if (/^\d$/.test(name)) return words([groups[Number(name) - 1] ?? ''])
    return words(pathsOf(datum, stage, name === 'in' ? undefined : name.slice(3)))
  })
}

function listLine(datum: Datum, stage: Stage, out: string): string {
  const inputs = [...new Set(datum.parts.map((part) => part.input))]
  return `${JSON.stringify({
    datum: datum.name,
    in: Object.fromEntries(inputs.map((input) => [input, pathsOf(datum, stage, input)])),
    groups: datum.parts.flatMap((part) => part.groups),
    out,
  })}\n`
}

function makeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}

/** Runs the command for some datums and stores what they wrote. @returns their files, in their order   @throws STAGE_FAILED, INTERRUPTED, … */
async function runBatch(
  batch: readonly PlannedDatum[],
  folder: string,
  scene: MapScene & { stage: Stage; aside: Aside; collector: Collector; onOutput: StagePorts['onOutput'] },
): Promise<DataFile[][]> {
  const { stage, project, executor, aside, collector, turn } = scene
  const outs = batch.map((_, at) => join(folder, 'out', String(at)))
  const clear = () => {
    for (const out of outs) makeFolder(out)
  }
  clear()
  const single = stage.batch === undefined ? batch[0]!.datum : undefined
  const list = join(folder, 'list.jsonl')
  writeFileSync(list, batch.map(({ datum }, at) => listLine(datum, stage, outs[at]!)).join(''))
  const given = { datum: single, out: outs[0]!, list }
  await runCommands({ ...stage, cmd: stage.cmd.map((line) => fillCommand(line, stage, given)) }, project, {
    executor,
    aside: { note: aside.note, clear },
    onOutput: scene.onOutput ?? (() => {}),
    env: single
      ? { MLV_IN: pathsOf(single, stage).join('\n'), MLV_OUT: outs[0], MLV_DATUM: single.name, MLV_LIST: list }
      : { MLV_LIST: list },
  })
  const files = await turn(() => collector.collect(join(folder, 'out')))
  const found: DataFile[][] = batch.map(() => [])
  for (const file of files) {
    const cut = file.path.indexOf('/')
    found[Number(file.path.slice(0, cut))]!.push({ ...file, path: file.path.slice(cut + 1) })
  }
  rmSync(folder, { recursive: true, force: true })
  return found
}

function cutBatches(datums: readonly PlannedDatum[], size: number): PlannedDatum[][] {
  const batches: PlannedDatum[][] = []
  for (let at = 0; at < datums.length; at += size) batches.push(datums.slice(at, at + size))
  return batches
}

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
    await placeAbsent(stage, inputs, scene)
    return setAside(project, stage.name, [])
  })
  const work = join(project.homeDir, 'datums', basename(project.stateDir), stage.name)
  try {
    const plan = await turn(() => planDatums(stage, inputs, scene))
    const todo = plan.datums.filter(({ state }) => (scene.retryFailed ? state === 'failed' : state !== 'done'))
    const results: DatumTable = new Map(
      plan.datums.flatMap(({ key }) => (plan.known.has(key) ? [[key, plan.known.get(key)!]] : [])),
    )
    const collector = await turn(() => data.collector())
    const failures = await runAll(todo, results, work, { ...scene, stage, aside, collector })
    const left = plan.datums.filter(({ key }) => !results.has(key))
    return await turn(async () => {
      const table = await writeTable(results, collector)
      if (left.length > 0) {
        await collector.finish()
        noteUnfinished(project, stage.name, { table, failed: failures.map(({ planned }) => planned.key) })
        project.surroundings.signal?.throwIfAborted()
        throw failures.length > 0 ? failedError(stage, failures, plan.datums.length) : notRun(stage, left.length)
      }
      const entry = await collector.tree(joinFiles(stage, plan, results))
      await collector.finish()
      const changed = await changedDeps(inputs, scene)
      const { path, git, persist } = stage.outs[0]!
      await data.place(path, entry, { force: true })
      aside.drop()
      noteUnfinished(project, stage.name, undefined)
      scene.observer.forget()
      const made = { outs: [{ path, entry, git, persist }], unsure: changed.length > 0, datums: table }
      const counts = { ran: todo.length, kept: plan.datums.length - todo.length }
      return { locked: lockedStage(stage, inputs, made), seconds: (performance.now() - start) / 1000, changed, datums: counts }
    })
  } catch (error) {
    aside.drop()
    scene.observer.forget()
    throw error
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function notRun(stage: Stage, count: number): MlvError {
  return new MlvError('STAGE_FAILED', `Stage "${stage.name}": ${count} datums have not run yet`, {
    hint: `Run "mlv repro ${stage.name}".`,
  })
}

/** @returns those that failed; what the others gave is in `results` */
async function runAll(
  todo: readonly PlannedDatum[],
  results: DatumTable,
  work: string,
  scene: MapScene & { stage: Stage; aside: Aside; collector: Collector },
): Promise<Failure[]> {
  const { stage, project } = scene
  const failures: Failure[] = []
  const log = logOutput(project, stage.name, scene.onOutput)
  try {
    await mapBounded(cutBatches(todo, stage.batch ?? 1), scene.jobs, async (batch, at) => {
      if (project.surroundings.signal?.aborted) return
      try {
        const found = await runBatch(batch, join(work, String(at)), { ...scene, onOutput: log.onOutput })
        for (const [index, { key }] of batch.entries()) results.set(key, found[index]!)
      } catch (error) {
        if (hasCode(error, 'INTERRUPTED')) return
        if (!(error instanceof MlvError) || !hasCode(error, 'STAGE_FAILED', 'PATH_INVALID', 'PATH_UNSUPPORTED')) throw error
        for (const planned of batch) failures.push({ planned, error })
      }
    })
  } finally {
    log.close()
  }
  return failures
}
