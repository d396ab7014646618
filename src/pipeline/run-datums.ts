import { lstatSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError } from '../base/errors.ts'
import type { Aside } from './aside.ts'
import type { Datum } from './datums.ts'
import type { DecisionView } from './decide.ts'
import { shellLine } from './edit.ts'
import type { PlannedDatum } from './plan-datums.ts'
import { runCommands } from './run-command.ts'
import { logOutput, type StagePorts } from './run-stage.ts'
import type { Stage } from './stage.ts'

export type MapScene = DecisionView & StagePorts

/** A datum that has run, and its folder below the stage's. */
export interface Done {
  planned: PlannedDatum
  folder: string
}

/** A datum that did not give its part. */
export interface Failure {
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

/** Makes an empty folder. */
export function makeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}

/** Notes of the commands that run side by side, which all must have ended before the stage may run again. */
function noteGroups(aside: Aside): (batch: number, group?: number) => void {
  const groups = new Map<number, number>()
  return (batch, group) => {
    if (group === undefined) groups.delete(batch)
    else groups.set(batch, group)
    if (group !== undefined) aside.note(...groups.values())
  }
}

/** Without this all that a command put in place of its folder would be lost unseen. @throws STAGE_FAILED */
function checkFolder(stage: Stage, { datum }: PlannedDatum, out: string): void {
  const stats = lstatSync(out, { throwIfNoEntry: false })
  if (!stats || stats.isDirectory()) return
  throw new MlvError('STAGE_FAILED', `Stage "${stage.name}" put something else in place of the folder {out} of ${datum.name}`, {
    hint: 'Let the command write files into {out}.',
  })
}

/** Runs the command for some datums; each has a folder of its own for what it writes. @throws STAGE_FAILED, INTERRUPTED, PATH_MISSING */
async function runBatch(
  batch: readonly PlannedDatum[],
  folder: string,
  scene: MapScene & { stage: Stage; note: (group: number) => void; onOutput: StagePorts['onOutput'] },
): Promise<void> {
  const { stage, project, shell, note } = scene
  const outs = batch.map((_, at) => join(folder, String(at)))
  const clear = () => {
    for (const out of outs) makeFolder(out)
  }
  clear()
  const single = stage.batch === undefined ? batch[0]!.datum : undefined
  const list = `${folder}.jsonl`
  writeFileSync(list, batch.map(({ datum }, at) => listLine(datum, stage, outs[at]!)).join(''))
  const given = { datum: single, out: outs[0]!, list }
  await runCommands({ ...stage, cmd: stage.cmd.map((line) => fillCommand(line, stage, given)) }, project, {
    shell,
    aside: { note, clear },
    onOutput: scene.onOutput ?? (() => {}),
    env: single
      ? { MLV_IN: pathsOf(single, stage).join('\n'), MLV_OUT: outs[0], MLV_DATUM: single.name, MLV_LIST: list }
      : { MLV_LIST: list },
  })
  rmSync(list, { force: true })
  for (const [at, planned] of batch.entries()) checkFolder(stage, planned, outs[at]!)
}

function cutBatches(datums: readonly PlannedDatum[], size: number): PlannedDatum[][] {
  const batches: PlannedDatum[][] = []
  for (let at = 0; at < datums.length; at += size) batches.push(datums.slice(at, at + size))
  return batches
}

/** Runs the command for all that is to be done, some at once; one that fails keeps no other from running. */
export async function runDatums(
  todo: readonly PlannedDatum[],
  work: string,
  scene: MapScene & { stage: Stage; aside: Aside },
): Promise<{ done: Done[]; failures: Failure[] }> {
  const { stage, project } = scene
  const done: Done[] = []
  const failures: Failure[] = []
  makeFolder(work)
  const log = logOutput(project, stage.name, scene.onOutput)
  const note = noteGroups(scene.aside)
  try {
    await mapBounded(cutBatches(todo, stage.batch ?? 1), scene.jobs, async (batch, at) => {
      if (project.surroundings.signal?.aborted) return
      try {
        await runBatch(batch, join(work, String(at)), { ...scene, note: (group) => note(at, group), onOutput: log.onOutput })
        for (const [index, planned] of batch.entries()) done.push({ planned, folder: `${at}/${index}` })
      } catch (error) {
        if (hasCode(error, 'INTERRUPTED')) return
        if (!(error instanceof MlvError) || error.code !== 'STAGE_FAILED') throw error
        for (const planned of batch) failures.push({ planned, error })
      } finally {
        note(at)
      }
    })
  } finally {
    log.close()
  }
  return { done, failures }
}
