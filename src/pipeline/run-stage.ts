import { mkdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileError, MlvError } from '../base/errors.ts'
import { compareUtf8, quotePath, type RepoPath } from '../base/paths.ts'
import { sameEntry } from '../workspace/entry.ts'
import { checkParents } from '../workspace/tracked.ts'
import { setAside } from './aside.ts'
import type { DecisionView } from './decide.ts'
import type { Executor } from './executor/executor.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedOut, LockedStage } from './lock.ts'
import { runCommands } from './run-command.ts'
import { runKey } from './run-key.ts'
import { placeText, type Stage, storedOuts } from './stage.ts'

type Scene = Pick<DecisionView, 'project' | 'data' | 'observer'>

/** Brings data that a stage reads and the workspace does not hold from the cache. @throws OBJECT_MISSING */
async function placeAbsent(stage: Stage, inputs: StageInputs, { data, observer }: Scene): Promise<void> {
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

/** Reads and stores what a stage's outs hold now. @throws STAGE_FAILED when one is missing; PATH_UNSUPPORTED, DISK_FULL, FILE_CHANGED */
export async function recordOuts(stage: Stage, { data, project }: Scene): Promise<LockedOut[]> {
  for (const out of stage.outs) checkParents(project.root, out.path)
  const saved = stage.outs.some((out) => !out.git) ? await data.save(await present(stage, data)) : new Map()
  const outs: LockedOut[] = []
  const missing: string[] = []
  for (const { path, git, persist, at, role } of stage.outs) {
    const entry = git ? await data.hash(path, { all: true }) : saved.get(path)
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

async function present(stage: Stage, data: Scene['data']): Promise<RepoPath[]> {
  const paths: RepoPath[] = []
  for (const { path } of storedOuts(stage)) if (await data.hash(path, { all: true })) paths.push(path)
  return paths
}

/** The lock's entry for a stage that ran with `inputs` and made `outs`. */
export function lockedStage(
  stage: Stage,
  inputs: Pick<StageInputs, 'deps' | 'params' | 'env'>,
  made: { outs: LockedOut[]; unsure: boolean },
): LockedStage {
  const { deps, params, env } = inputs
  const known = { cmd: stage.cmd, wdir: stage.wdir, deps, params, env, outs: made.outs }
  return { ...known, runKey: runKey(known), unsure: made.unsure, extra: {} }
}

async function changedDeps(inputs: StageInputs, { observer }: Scene): Promise<RepoPath[]> {
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

/** Runs one stage: sets its earlier outs aside, runs the commands, stores what they made. When anything fails, the earlier outs are back.
 *  @throws STAGE_FAILED, INTERRUPTED, OBJECT_MISSING, LOCK_HELD, PATH_MISSING, PATH_INVALID, DISK_FULL */
export async function runStage(stage: Stage, inputs: StageInputs, scene: Scene & { executor: Executor }): Promise<StageRun> {
  const { project } = scene
  await placeAbsent(stage, inputs, scene)
  const removed = stage.outs.filter((out) => !out.persist).map((out) => out.path)
  for (const out of stage.outs) checkParents(project.root, out.path)
  const aside = setAside(project, stage.name, removed)
  try {
    for (const folder of new Set(stage.outs.map((out) => dirname(join(project.root, out.path))))) makeFolder(folder)
    const start = performance.now()
    await runCommands(stage, project, { executor: scene.executor, aside })
    const seconds = (performance.now() - start) / 1000
    const changed = await changedDeps(inputs, scene)
    const outs = await recordOuts(stage, scene)
    aside.drop()
    return { locked: lockedStage(stage, inputs, { outs, unsure: changed.length > 0 }), seconds, changed }
  } catch (error) {
    const failed = aside.putBack()
    scene.observer.forget()
    throw withFailed(error, project.surroundings.cwd, failed, aside.hadOuts)
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}
