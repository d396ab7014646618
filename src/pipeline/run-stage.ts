import type { Turn } from '../base/concurrency.ts'
import { MlvError } from '../base/errors.ts'
import { compareUtf8, quotePath, type RepoPath } from '../base/paths.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import { checkParents } from '../workspace/tracked.ts'
import type { Executor, TaskPlace } from './executor/executor.ts'
import type { CommandRun } from './executor/shell.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedOut, LockedStage } from './lock.ts'
import type { RunCache } from './run-cache.ts'
import { runKey } from './run-key.ts'
import type { RunRecord } from './run-record.ts'
import { placeText, type Stage, storedOuts } from './stage.ts'
import { logPath, openLog } from './stage-log.ts'
import { makeTask, type TaskInput } from './task.ts'

type Scene = Pick<TaskPlace, 'project' | 'data' | 'observer'>

/** Brings data that a stage reads and the workspace does not hold from the cache. @throws OBJECT_MISSING */
export async function placeAbsent(
  stage: Pick<Stage, 'name'>,
  absent: readonly TaskInput[],
  { data, observer }: Scene,
): Promise<void> {
  for (const { path, entry } of absent) {
    if (!(await data.isCached(entry)))
      throw new MlvError(
        'OBJECT_MISSING',
        `Stage "${stage.name}" needs ${path}, which is neither in the workspace nor in the cache`,
        {
          hint: `Run "mlv pull ${quotePath(path)}", or "mlv repro --pull".`,
        },
      )
    await data.place(path, entry)
  }
  if (absent.length > 0) observer.forget()
}

/** Reads and stores what a stage's outs hold now. @param saveAll also those that git keeps   @throws STAGE_FAILED when one is missing; PATH_UNSUPPORTED, DISK_FULL, FILE_CHANGED */
export async function recordOuts(
  stage: Pick<Stage, 'name' | 'outs'>,
  { data, project }: Scene,
  saveAll = false,
): Promise<LockedOut[]> {
  for (const out of stage.outs) checkParents(project.root, out.path)
  const stored = saveAll ? stage.outs : storedOuts(stage)
  const saved = stored.length > 0 ? await data.save(stored.map(({ path }) => path)) : new Map()
  const outs: LockedOut[] = []
  const missing: string[] = []
  for (const { path, git, persist, at, role } of stage.outs) {
    const entry = git && !saveAll ? await data.hash(path, { all: true }) : saved.get(path)
    if (role === 'metric' && entry?.kind === 'tree')
      throw new MlvError(
        'STAGE_FAILED',
        `Stage "${stage.name}" wrote a folder as ${path} (${placeText(at)}), where metrics are a file`,
        {
          hint: 'Let it write one file, or name the files in the folder one by one.',
        },
      )
    if (entry) outs.push({ path, entry, git, persist })
    else missing.push(`${path} (${placeText(at)})`)
  }
  if (missing.length > 0)
    throw new MlvError('STAGE_FAILED', `Stage "${stage.name}" did not write ${missing.join(', ')}`, {
      hint: 'Let the command write it, or take it out of mlv.yaml.',
    })
  return outs.sort((a, b) => compareUtf8(a.path, b.path))
}

/** Outs with what their stage says of them. */
export function lockedOuts(stage: Stage, outs: RunRecord['outs']): LockedOut[] {
  return outs.map(({ path, entry }) => {
    const { git, persist } = stage.outs.find((out) => out.path === path)!
    return { path, entry, git, persist }
  })
}

/** The lock's entry for a stage that ran with `inputs` and made `outs`. */
export function lockedStage(
  stage: Stage,
  inputs: Pick<StageInputs, 'deps' | 'params' | 'env'>,
  made: { outs: LockedOut[]; unsure: boolean; datums?: Entry },
): LockedStage {
  const { deps, params, env } = inputs
  const each = stage.each && { each: stage.each }
  const known = { cmd: stage.cmd, wdir: stage.wdir, shell: stage.shell, deps, params, env, outs: made.outs, ...each }
  const datums = made.datums && { datums: made.datums }
  return { ...known, runKey: runKey(known), unsure: made.unsure, ...datums, extra: {} }
}

/** Deps that are not what they were. */
export async function changedDeps(inputs: Pick<StageInputs, 'deps'>, { data, observer }: Scene): Promise<RepoPath[]> {
  observer.forget()
  const changed: RepoPath[] = []
  for (const { path, entry } of inputs.deps)
    if (!data.isAsSeen(path, entry) && !sameEntry(entry, await observer.dep(path))) changed.push(path)
  return changed
}

export interface StageRun {
  locked: LockedStage
  seconds: number
  /** deps that changed while it ran */
  changed: RepoPath[]
  /** map stages: how many datums ran here, how many were known, and of those, how many by tasks that ran elsewhere */
  datums?: { ran: number; kept: number; given: number }
}

export interface StagePorts {
  executor: Executor
  /** one stage at a time looks at the workspace and the cache; only commands run side by side */
  turn: Turn
  /** commands at once, of a map stage */
  jobs: number
  /** map stages: only datums that failed before */
  retryFailed: boolean
  /** map stages: where results are found of datums that tasks were made of */
  runCache?: RunCache
  /** the cache keeps also the outs that git keeps, for the run cache */
  saveAll: boolean
  /** what its commands print, besides going to its log */
  onOutput?: CommandRun['onOutput']
  /** told when its commands have succeeded; throws to fail the stage */
  check?: TaskPlace['check']
}

/** Runs one stage as a task. When anything fails, its earlier outs are back. @throws as Executor does */
export async function runStage(stage: Stage, inputs: StageInputs, scene: Scene & StagePorts): Promise<StageRun> {
  const task = await scene.turn(() => makeTask(stage, inputs, scene.data))
  const { outs, changed, seconds } = await scene.executor.run(task, { ...scene, absent: inputs.absent })
  return {
    locked: lockedStage(stage, inputs, { outs: lockedOuts(stage, outs), unsure: changed.length > 0 }),
    seconds,
    changed,
  }
}

/** Writes what a stage prints to its log on its way to the user. */
export function logOutput(
  project: Scene['project'],
  stage: string,
  onOutput: StagePorts['onOutput'],
): { onOutput: CommandRun['onOutput']; close(): void } {
  const log = openLog(logPath(project, stage))
  return {
    onOutput: (bytes, from) => {
      log.write(bytes)
      return onOutput?.(bytes, from)
    },
    close: log.close,
  }
}

/** Lets what commands print go to the stage's log, too, until they have ended. */
export async function withLog(
  project: Scene['project'],
  stage: string,
  onOutput: StagePorts['onOutput'],
  runAll: (onOutput: CommandRun['onOutput']) => Promise<unknown>,
): Promise<void> {
  const log = logOutput(project, stage, onOutput)
  try {
    await runAll(log.onOutput)
  } finally {
    log.close()
  }
}
