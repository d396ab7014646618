import { MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { noteUnfinished, readUnfinished } from './datum-table.ts'
import { reach } from './graph.ts'
import { hideOuts } from './hide-outs.ts'
import { readInputs, type StageInputs } from './inputs.ts'
import type { LockedStage } from './lock.ts'
import { createLockRecorder } from './lock-file.ts'
import { readOuts } from './outs.ts'
import { createView, type PipelineScene } from './plan.ts'
import { lockedStage, recordOuts } from './run-stage.ts'
import { LOCK_FILE, placeText, type Stage } from './stage.ts'

export interface AcceptOptions {
  /** names; when empty, all whose outs changed */
  stages: string[]
  /** the deps, params, env and command of now count as those that made the outs, too */
  inputs?: boolean
}

export interface AcceptedStage {
  stage: Stage
  /** outs that differ from mlv.lock */
  outs: RepoPath[]
  /** set when what the stage reads is recorded as well */
  inputs: StageInputs | undefined
}

export interface AcceptPlan {
  stages: AcceptedStage[]
  /** data with a pointer that changed by hand */
  edited: RepoPath[]
  scene: PipelineScene
}

/** Finds what there is to accept. Only reads. @throws STAGE_UNKNOWN, PATH_MISSING when an out or a dep is not there */
export async function planAccept(scene: PipelineScene, options: AcceptOptions): Promise<AcceptPlan> {
  const view = createView(scene, {})
  const named = options.stages.length > 0
  const names = named ? reach(scene.graph, options.stages, undefined) : scene.graph.order
  const plan: AcceptPlan = { stages: [], edited: [], scene }
  for (const name of names) {
    const stage = scene.graph.stages.get(name)!
    const locked = scene.lock.stages.get(name)
    const states = await readOuts(stage, locked, view)
    const changed = states.filter(({ state }) => state === 'changed' || state === 'outdated')
    const absent = states.find(({ state }) => state === 'missing')
    const full = options.inputs === true || !locked
    if (changed.length === 0 && !(named && full)) continue
    if (absent && !named) continue
    if (absent)
      throw new MlvError('PATH_MISSING', `Stage "${name}" has no ${absent.out.path} (${placeText(absent.out.at)}) to accept`, {
        hint: `Make it, or run "mlv repro ${name}".`,
      })
    const inputs = full ? await readInputs(stage, locked, { ...view, env: scene.project.surroundings.env }) : undefined
    if (inputs?.problem) throw inputs.problem
    if (inputs) plan.edited.push(...inputs.edited)
    plan.stages.push({ stage, outs: changed.map(({ out }) => out.path), inputs })
  }
  return plan
}

/** Records what the plan found, storing the outs. What the datums of a map stage gave is not what its out holds then: it is noted apart, and the next
 *  run puts the out together from it anew. @returns files to commit   @throws FILE_CHANGED, DISK_FULL, PATH_UNSUPPORTED */
export async function applyAccept(plan: AcceptPlan): Promise<RepoPath[]> {
  const { project, data, lock } = plan.scene
  const view = createView(plan.scene, {})
  const stages = plan.stages.map(({ stage }) => stage)
  const written = new Set<RepoPath>(await hideOuts(stages, plan.scene))
  for (const path of new Set(plan.edited)) await data.add(path)
  const recorder = createLockRecorder(project)
  try {
    for (const { stage, inputs } of plan.stages) {
      const outs = await recordOuts(stage, view)
      const before = lock.stages.get(stage.name)
      // Without what it reads, the old inputs stay: when they have changed since, it still runs.
      const after: LockedStage =
        inputs || !before ? lockedStage(stage, inputs!, { outs, unsure: false }) : { ...before, outs, datums: undefined }
      if (before?.datums && !readUnfinished(project, stage.name))
        noteUnfinished(project, stage.name, { table: before.datums, failed: [] })
      await recorder.record(stage.name, { ...after, extra: before?.extra ?? {} })
      for (const out of outs) if (out.git) written.add(out.path)
    }
  } finally {
    await recorder.finish()
  }
  if (recorder.written) written.add(LOCK_FILE as RepoPath)
  return [...written].sort()
}
