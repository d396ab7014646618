import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError } from '../base/errors.ts'
import { groupRuns } from '../base/process-group.ts'
import type { Aside } from './aside.ts'
import { fillCommand, listLine, pathsOf } from './datum-command.ts'
import type { DatumsPlace } from './executor/executor.ts'
import type { Shell } from './executor/shell.ts'
import type { DoneBatch } from './map-results.ts'
import { movePath } from './move-path.ts'
import type { PlannedDatum } from './plan-datums.ts'
import { runCommands } from './run-command.ts'
import { logOutput } from './run-stage.ts'
import type { Stage } from './stage.ts'
import { checkBatchFolder, checkWorkFolder } from './stray-files.ts'

/** Makes an empty folder. */
export function makeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}

/** Makes a folder where nothing lies, in one that is there. */
function makeNewFolder(folder: string): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}

/** Notes of the commands that run side by side, and of what earlier ones left running: all must have ended before the stage may run again. */
function noteGroups(aside: Aside): (batch: number, ...groups: number[]) => void {
  const noted = new Map<number, number[]>()
  return (batch, ...groups) => {
    const left = groups.length > 0 ? groups : (noted.get(batch) ?? []).filter(groupRuns)
    if (left.length > 0) noted.set(batch, left)
    else noted.delete(batch)
    if (groups.length > 0) aside.note(...[...noted.values()].flat())
  }
}

interface Batch {
  datums: readonly PlannedDatum[]
  folder: string
  /** a folder for each datum */
  outs: string[]
  /** names the file with a line for each */
  list: string
}

type BatchPlace = Pick<DatumsPlace, 'stage' | 'project' | 'onOutput'> & { shell: Shell; note: (...groups: number[]) => void }

/** Makes what the command of a batch needs. @param spare another batch's folders, as many and empty: a folder takes as long to make as a file to store */
function prepareBatch(
  datums: readonly PlannedDatum[],
  folder: string,
  { stage, spare }: { stage: Stage; spare?: string },
): Batch {
  const batch = { datums, folder, outs: datums.map((_, at) => join(folder, String(at))), list: `${folder}.jsonl` }
  if (spare !== undefined) movePath(spare, folder)
  else for (const path of [folder, ...batch.outs]) makeNewFolder(path)
  writeFileSync(batch.list, datums.map(({ datum }, at) => listLine(datum, stage, batch.outs[at]!)).join(''))
  return batch
}

/** Runs the command for some datums; each has a folder of its own for what it writes.
 *  @returns whether it left processes running   @throws STAGE_FAILED, INTERRUPTED, PATH_MISSING */
async function runBatch({ datums, folder, outs, list }: Batch, place: BatchPlace): Promise<boolean> {
  const { stage, project, shell, note } = place
  const single = stage.batch === undefined ? datums[0]!.datum : undefined
  const given = { datum: single, out: outs[0]!, list }
  const clear = () => {
    for (const out of outs) makeFolder(out)
  }
  const left = await runCommands({ ...stage, cmd: stage.cmd.map((line) => fillCommand(line, stage, given)) }, project, {
    shell,
    aside: { note, clear },
    onOutput: place.onOutput ?? (() => {}),
    env: single
      ? { MLV_IN: pathsOf(single, stage).join('\n'), MLV_OUT: outs[0], MLV_DATUM: single.name, MLV_LIST: list }
      : { MLV_LIST: list },
  })
  rmSync(list, { force: true })
  checkBatchFolder(stage, folder, datums)
  return left
}

/** Datums in the order of their batches. */
export function cutBatches(datums: readonly PlannedDatum[], size: number): PlannedDatum[][] {
  const batches: PlannedDatum[][] = []
  for (let at = 0; at < datums.length; at += size) batches.push(datums.slice(at, at + size))
  return batches
}

/** Runs the command for all that is to be done, as Executor's runDatums promises. While commands run, the folders of the next are made, and what has
 *  ended is taken in. */
export async function runDatums(todo: readonly PlannedDatum[], place: DatumsPlace & { shell: Shell }): Promise<void> {
  const { stage, project, work, failures, jobs } = place
  makeFolder(work)
  const log = logOutput(project, stage.name, place.onOutput)
  const note = noteGroups(place.aside)
  const batches = cutBatches(todo, stage.batch ?? 1)
  const prepared = new Map<number, Batch>()
  const spares: string[] = []
  const isFull = (datums: readonly PlannedDatum[]) => datums.length === batches[0]!.length
  const prepare = (at: number) => {
    const datums = batches[at]
    if (!datums || prepared.has(at)) return
    const spare = isFull(datums) ? spares.pop() : undefined
    prepared.set(at, prepareBatch(datums, join(work, String(at)), { stage, spare }))
  }
  let taking: Promise<void> = Promise.resolve()
  let broken: { error: unknown } | undefined
  const takeLater = (batch: DoneBatch, left: boolean) => {
    taking = taking
      // The next command starts first.
      .then(() => setImmediate())
      .then(async () => {
        if (broken || !(await place.take(batch))) return
        // What was left running may still write to its folder.
        if (!left && isFull(batch.datums)) spares.push(batch.folder)
      })
      .catch((error) => {
        broken ??= { error }
      })
  }
  try {
    await mapBounded(batches, jobs, async (datums, at) => {
      if (project.surroundings.signal?.aborted || broken) return
      try {
        prepare(at)
        const batch = prepared.get(at)!
        prepared.delete(at)
        const running = runBatch(batch, { ...place, note: (...groups) => note(at, ...groups), onOutput: log.onOutput })
        const ahead = attempt(() => {
          if (at === 0) place.meanwhile()
          prepare(at + Math.max(1, jobs))
        })
        const left = await running
        if (ahead) throw ahead.error
        takeLater(batch, left)
      } catch (error) {
        if (hasCode(error, 'INTERRUPTED')) return
        if (!(error instanceof MlvError) || error.code !== 'STAGE_FAILED') throw error
        for (const planned of datums) failures.push({ planned, error })
      } finally {
        note(at)
      }
    })
  } finally {
    log.close()
    await taking
  }
  if (broken) throw (broken as { error: unknown }).error
  if (failures.length === 0) checkWorkFolder(stage, work)
}

/** What went wrong, for later: a command that runs is waited for first. */
function attempt(work: () => void): { error: unknown } | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return { error }
  }
}
