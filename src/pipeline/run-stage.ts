import { mkdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import type { Turn } from '../base/concurrency.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { compareUtf8, quotePath, type RepoPath } from '../base/paths.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import { checkParents } from '../workspace/tracked.ts'
import { type Aside, setAside } from './aside.ts'
import type { DecisionView } from './decide.ts'
import type { CommandRun, Executor } from './executor/executor.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedOut, LockedStage } from './lock.ts'
import { runCommands } from './run-command.ts'
import { runKey } from './run-key.ts'
import { placeText, type Stage, storedOuts } from './stage.ts'
import { logPath, openLog } from './stage-log.ts'

type Scene = Pick<DecisionView, 'project' | 'data' | 'observer'>

/** Brings data that a stage reads and the workspace does not hold from the cache. @throws OBJECT_MISSING */
export async function placeAbsent(stage: Stage, inputs: StageInputs, { data, observer }: Scene): Promise<void> {
  for (const { path, entry } of inputs.absent) {
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
  if (inputs.absent.length > 0) observer.forget()
}

/** Reads and stores what a stage's outs hold now. @param saveAll also those that git keeps   @throws STAGE_FAILED when one is missing; PATH_UNSUPPORTED, DISK_FULL, FILE_CHANGED */
export async function recordOuts(stage: Stage, { data, project }: Scene, saveAll = false): Promise<LockedOut[]> {
  for (const out of stage.outs) checkParents(project.root, out.path)
  const stored = saveAll ? stage.outs : storedOuts(stage)
  const saved = stored.length > 0 ? await data.save(await present(stored, data)) : new Map()
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

async function present(outs: Stage['outs'], data: Scene['data']): Promise<RepoPath[]> {
  const paths: RepoPath[] = []
  for (const { path } of outs) if (await data.hash(path, { all: true })) paths.push(path)
  return paths
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

export async function changedDeps(inputs: StageInputs, { observer }: Scene): Promise<RepoPath[]> {
  observer.forget()
  const changed: RepoPath[] = []
  for (const { path, entry } of inputs.deps) if (!sameEntry(entry, await observer.dep(path))) changed.push(path)
  return changed
}

export interface StageRun {
  locked: LockedStage
  seconds: number
  /** deps that changed while it ran */
  changed: RepoPath[]
  /** map stages: how many datums ran, and how many were known */
  datums?: { ran: number; kept: number }
}

/** How a folder below .git is named to the user, who types it where the command was typed. */
function shownFolder(cwd: string, folder: string): string {
  const inside = relative(cwd, folder)
  return quotePath(inside.startsWith('../../') ? folder : inside)
}

function withFailed(error: unknown, cwd: string, failed: string | undefined, hadOuts: boolean): unknown {
  if (!(error instanceof MlvError)) return error
  const sentences = [error.hint?.trim()]
  if (hadOuts) sentences.push('Its earlier outs are in place.')
  if (failed) sentences.push(`What it had written is in ${shownFolder(cwd, failed)}.`)
  const hint = sentences.filter(Boolean).join(' ')
  return new MlvError(error.code, error.message, { hint: hint || 'Its output above says why.', cause: error.cause })
}

export interface StagePorts {
  executor: Executor
  /** one stage at a time looks at the workspace and the cache; only commands run side by side */
  turn: Turn
  /** commands at once, of a map stage */
  jobs: number
  /** map stages: only datums that failed before */
  retryFailed: boolean
  /** the cache keeps also the outs that git keeps, for the run cache */
  saveAll: boolean
  /** what its commands print, besides going to its log */
  onOutput?: CommandRun['onOutput']
}

/** Runs one stage: sets its earlier outs aside, runs the commands, stores what they made. When anything fails, the earlier outs are back.
 *  @throws STAGE_FAILED, INTERRUPTED, OBJECT_MISSING, LOCK_HELD, PATH_MISSING, PATH_INVALID, DISK_FULL */
export async function runStage(stage: Stage, inputs: StageInputs, scene: Scene & StagePorts): Promise<StageRun> {
  const { project, turn } = scene
  const aside = await turn(() => prepare(stage, inputs, scene))
  try {
    const start = performance.now()
    await runLogged(stage, aside, scene)
    const seconds = (performance.now() - start) / 1000
    return await turn(async () => {
      const changed = await changedDeps(inputs, scene)
      const outs = await recordOuts(stage, scene, scene.saveAll)
      aside.drop()
      return { locked: lockedStage(stage, inputs, { outs, unsure: changed.length > 0 }), seconds, changed }
    })
  } catch (error) {
    return turn(async () => {
      const failed = aside.putBack()
      scene.observer.forget()
      throw withFailed(error, project.surroundings.cwd, failed, aside.hadOuts)
    })
  }
}

async function prepare(stage: Stage, inputs: StageInputs, scene: Scene): Promise<Aside> {
  const { project } = scene
  await placeAbsent(stage, inputs, scene)
  const removed = stage.outs.filter((out) => !out.persist).map((out) => out.path)
  for (const out of stage.outs) checkParents(project.root, out.path)
  const aside = setAside(project, stage.name, removed)
  try {
    for (const folder of new Set(stage.outs.map((out) => dirname(join(project.root, out.path))))) makeFolder(folder)
    return aside
  } catch (error) {
    aside.putBack()
    throw error
  }
}

async function runLogged(stage: Stage, aside: Aside, { project, executor, onOutput }: Scene & StagePorts): Promise<void> {
  const log = logOutput(project, stage.name, onOutput)
  try {
    await runCommands(stage, project, { executor, aside, onOutput: log.onOutput })
  } finally {
    log.close()
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

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}
