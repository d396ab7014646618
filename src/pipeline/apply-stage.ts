import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Turn } from '../base/concurrency.ts'
import { hasCode, type MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { type Decision, decideStage } from './decide.ts'
import type { Executor } from './executor/executor.ts'
import type { LockedStage } from './lock.ts'
import type { LockRecorder } from './lock-file.ts'
import type { PlannedStage, ReproPlan } from './plan.ts'
import { isReusable, type RunCache } from './run-cache.ts'
import { expectedKey } from './run-key.ts'
import { runMapStage } from './run-map-stage.ts'
import { lockedOuts, lockedStage, runStage } from './run-stage.ts'
import type { Stage } from './stage.ts'
import type { StageEvent } from './stage-event.ts'
import type { DepChecker } from './trace/check-deps.ts'

export interface ApplyPorts {
  executor: Executor
  /** goes on with stages that do not wait for a failed one */
  keepGoing: boolean
  /** stages at once */
  jobs: number
  /** map stages: only datums that failed before */
  retryFailed?: boolean
  /** results of earlier runs, taken instead of running; undefined: every stage runs itself */
  runCache?: RunCache
  /** watches what the commands of stages read and write; these are run, never restored */
  watch?: DepChecker
  /** what a stage's commands print; a promise holds them back */
  onOutput?: (stage: string, bytes: Buffer, from: 'stdout' | 'stderr') => void | Promise<void>
}

/** How far a plan is carried out. */
export interface Progress {
  /** something in the workspace has changed since the plan was made */
  touched: boolean
  failed: { stage: string; error: MlvError }[]
  /** outs of unchanged stages that are not here */
  absent: RepoPath[]
  /** stages that may not run, and the failed one each waits for */
  cut: Map<string, string>
  written: Set<RepoPath>
  /** a stage failed, and no more are started */
  stopped: boolean
}

/** What the stages of a plan share while it is carried out. */
export interface ApplyScene {
  plan: ReproPlan
  ports: ApplyPorts
  recorder: LockRecorder
  progress: Progress
  turn: Turn
  tell: (event: StageEvent) => void
}

async function restore(
  stage: Stage,
  decision: Extract<Decision, { kind: 'restore' }>,
  { plan, tell }: ApplyScene,
): Promise<void> {
  const { view } = plan
  for (const out of decision.outs) {
    await view.data.place(out.path, out.entry)
    view.expected.delete(out.path)
  }
  view.observer.forget()
  tell({ kind: 'restored', stage: stage.name, outs: decision.outs.map((out) => out.path), from: 'lock', reasons: [] })
}

type RunDecision = Extract<Decision, { kind: 'run' }>

/** Takes the result of a run that had the same key. @returns undefined when there is none */
async function reuse(stage: Stage, { inputs }: RunDecision, scene: ApplyScene): Promise<LockedStage | undefined> {
  const { ports, plan } = scene
  if (!ports.runCache || ports.watch || plan.view.force || !isReusable(stage)) return undefined
  const record = await ports.runCache.find(stage, expectedKey(stage, inputs))
  if (!record) return undefined
  const { view } = plan
  for (const { path, entry } of record.outs) {
    try {
      // Whether anything would be lost was looked at when it was decided to run.
      await view.data.place(path, entry, { force: true })
    } catch (error) {
      if (!hasCode(error, 'POINTER_INVALID', 'TREE_INVALID')) throw error
      // Sizes that are not those of its objects: anybody may have written it.
      view.project.surroundings.warn(`a run record of stage "${stage.name}" is wrong and was passed over`)
      view.observer.forget()
      return undefined
    }
  }
  view.observer.forget()
  return lockedStage(stage, inputs, { outs: lockedOuts(stage, record.outs), unsure: false })
}

/** Notes what a stage was run with and what came out. */
async function record(stage: Stage, locked: LockedStage, { plan, recorder, progress }: ApplyScene): Promise<void> {
  const { view } = plan
  const extra = view.lock.stages.get(stage.name)?.extra ?? {}
  view.lock.stages.set(stage.name, { ...locked, extra })
  for (const out of stage.outs) view.expected.delete(out.path)
  await recorder.record(stage.name, { ...locked, extra })
  for (const out of stage.outs) if (out.git) progress.written.add(out.path)
}

async function run(stage: Stage, decision: RunDecision, scene: ApplyScene): Promise<void> {
  const { plan, ports, turn, tell } = scene
  const { view } = plan
  const { reasons } = decision
  const reused = await turn(async () => {
    const found = await reuse(stage, decision, scene)
    if (found) await record(stage, found, scene)
    return found
  })
  if (reused) {
    tell({ kind: 'restored', stage: stage.name, outs: reused.outs.map((out) => out.path), from: 'run cache', reasons })
    return
  }
  tell({ kind: 'started', stage: stage.name, reasons })
  const start = stage.each ? runMapStage : runStage
  const watched = ports.watch?.(stage)
  const { locked, seconds, changed, datums } = await start(stage, decision.inputs, {
    ...view,
    executor: watched?.executor ?? ports.executor,
    turn,
    jobs: ports.jobs,
    retryFailed: ports.retryFailed ?? false,
    ...(ports.runCache && !ports.watch ? { runCache: ports.runCache } : {}),
    saveAll: ports.runCache !== undefined && isReusable(stage),
    onOutput: ports.onOutput && ((bytes, from) => ports.onOutput!(stage.name, bytes, from)),
    check: watched?.check,
  }).finally(() => watched?.close())
  await turn(async () => {
    await record(stage, locked, scene)
    if (ports.runCache && isReusable(stage) && !locked.unsure)
      await ports.runCache.keep({ key: locked.runKey, outs: locked.outs })
  })
  const check = watched?.found()
  const gone = changed.filter((path) => !lstatSync(join(view.project.root, path), { throwIfNoEntry: false }))
  tell({
    ...{ kind: 'ran', stage: stage.name, reasons, seconds, changed },
    ...(gone.length > 0 ? { gone } : {}),
    ...(datums ? { datums } : {}),
    ...(check ? { check } : {}),
  })
}

/** What is to be done with a stage by now. Another mlv, or a command that calls one, may have run it since the plan was made. */
async function decideNow({ stage, decision }: PlannedStage, scene: ApplyScene): Promise<Decision> {
  const { plan, progress, recorder, turn } = scene
  const { view } = plan
  const anew = () => turn(async () => (await decideStage(stage, view)).decision)
  const decided = progress.touched ? await anew() : decision
  if (decided.kind !== 'run' && decided.kind !== 'blocked') return decided
  const news = await recorder.news(stage.name)
  if (!news || isDeepStrictEqual(news, view.lock.stages.get(stage.name))) return decided
  view.lock.stages.set(stage.name, news)
  view.observer.forget()
  return anew()
}

/** Does what a plan says of one stage, whose turn it is, and tells it. When anything ran before it, that is decided anew.
 *  @throws as applyRepro */
export async function applyStage(planned: PlannedStage, scene: ApplyScene): Promise<void> {
  const { progress, turn, tell } = scene
  const { stage } = planned
  const because = progress.cut.get(stage.name)
  if (because !== undefined) {
    tell({ kind: 'skipped', stage: stage.name, because })
    return
  }
  const decision = await decideNow(planned, scene)
  switch (decision.kind) {
    case 'unchanged':
    case 'frozen':
      tell({ kind: decision.kind, stage: stage.name })
      return
    case 'absent': {
      const outs = decision.outs.map((out) => out.path)
      progress.absent.push(...outs)
      tell({ kind: 'absent', stage: stage.name, outs })
      return
    }
    case 'restore':
      progress.touched = true
      return turn(() => restore(stage, decision, scene))
    case 'run':
      progress.touched = true
      return run(stage, decision, scene)
    case 'blocked':
      throw decision.error
  }
}
