import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type ErrorCode, MlvError } from '../base/errors.ts'
import { parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import { type Decision, type DecisionView, decideStage } from './decide.ts'
import type { Executor } from './executor/executor.ts'
import { hideOuts } from './hide-outs.ts'
import { createLockRecorder, type LockRecorder } from './lock-file.ts'
import type { PlannedStage, ReproPlan } from './plan.ts'
import type { Reason } from './reason.ts'
import { runStage } from './run-stage.ts'
import { LOCK_FILE, type Stage } from './stage.ts'

/** What happens while a plan is carried out. */
export type StageEvent =
  /** data that changed by hand was recorded in its pointer */
  | { kind: 'added'; path: RepoPath }
  | { kind: 'started'; stage: string; reasons: Reason[] }
  | {
      kind: 'ran'
      stage: string
      reasons: Reason[]
      seconds: number /** deps that changed meanwhile: it will run again */
      changed: RepoPath[]
    }
  | { kind: 'unchanged' | 'frozen'; stage: string }
  | { kind: 'restored'; stage: string; outs: RepoPath[] }
  /** nothing changed, but its outs are not here */
  | { kind: 'absent'; stage: string; outs: RepoPath[] }
  | { kind: 'failed'; stage: string; error: MlvError }
  /** a stage it waits for failed */
  | { kind: 'skipped'; stage: string; because: string }
  /** the last event: files that are to be committed */
  | { kind: 'written'; files: RepoPath[] }

export interface ApplyPorts {
  executor: Executor
  /** goes on with stages that do not wait for a failed one */
  keepGoing: boolean
}

/** The pointer file that stands for a path, or for a folder above it. */
function pointerFile(root: string, path: RepoPath): RepoPath | undefined {
  for (let at = path; at !== ''; at = parentOf(at)) if (existsSync(join(root, `${at}.mlv`))) return `${at}.mlv` as RepoPath
  return undefined
}

async function addEdited(plan: ReproPlan, written: Set<RepoPath>): Promise<StageEvent[]> {
  const { data, project, observer } = plan.view
  const events: StageEvent[] = []
  for (const path of plan.edited) {
    await data.add(path)
    const pointer = pointerFile(project.root, path)
    if (pointer) written.add(pointer)
    events.push({ kind: 'added', path })
  }
  if (plan.edited.length > 0) observer.forget()
  return events
}

interface Progress {
  /** something in the workspace has changed since the plan was made */
  touched: boolean
  failed: { stage: string; error: MlvError }[]
  /** outs of unchanged stages that are not here */
  absent: RepoPath[]
  /** stages that may not run, and the failed one each waits for */
  cut: Map<string, string>
  written: Set<RepoPath>
}

async function* restore(
  stage: Stage,
  decision: Extract<Decision, { kind: 'restore' }>,
  view: DecisionView,
): AsyncGenerator<StageEvent> {
  for (const out of decision.outs) {
    await view.data.place(out.path, out.entry)
    view.expected.delete(out.path)
  }
  view.observer.forget()
  yield { kind: 'restored', stage: stage.name, outs: decision.outs.map((out) => out.path) }
}

async function* run(
  stage: Stage,
  decision: Extract<Decision, { kind: 'run' }>,
  scene: { view: DecisionView; executor: Executor; recorder: LockRecorder; written: Set<RepoPath> },
): AsyncGenerator<StageEvent> {
  const { view, recorder, written } = scene
  const { reasons } = decision
  yield { kind: 'started', stage: stage.name, reasons }
  const { locked, seconds, changed } = await runStage(stage, decision.inputs, { ...view, executor: scene.executor })
  const extra = view.lock.stages.get(stage.name)?.extra ?? {}
  view.lock.stages.set(stage.name, { ...locked, extra })
  for (const out of stage.outs) view.expected.delete(out.path)
  await recorder.record(stage.name, { ...locked, extra })
  for (const out of stage.outs) if (out.git) written.add(out.path)
  yield { kind: 'ran', stage: stage.name, reasons, seconds, changed }
}

function cutDownstream(failed: string, plan: ReproPlan, progress: Progress): void {
  const pending = [failed]
  while (pending.length > 0)
    for (const next of plan.view.graph.downstream.get(pending.pop()!)!) {
      if (progress.cut.has(next)) continue
      progress.cut.set(next, failed)
      pending.push(next)
    }
}

async function* applyStage(
  planned: PlannedStage,
  plan: ReproPlan,
  scene: { ports: ApplyPorts; recorder: LockRecorder; progress: Progress },
): AsyncGenerator<StageEvent> {
  const { view } = plan
  const { stage } = planned
  const { progress, recorder } = scene
  const because = progress.cut.get(stage.name)
  if (because !== undefined) {
    yield { kind: 'skipped', stage: stage.name, because }
    return
  }
  const decision = progress.touched ? (await decideStage(stage, view)).decision : planned.decision
  switch (decision.kind) {
    case 'unchanged':
    case 'frozen':
      yield { kind: decision.kind, stage: stage.name }
      return
    case 'absent': {
      const outs = decision.outs.map((out) => out.path)
      progress.absent.push(...outs)
      yield { kind: 'absent', stage: stage.name, outs }
      return
    }
    case 'restore':
      progress.touched = true
      yield* restore(stage, decision, view)
      return
    case 'run':
      progress.touched = true
      yield* run(stage, decision, { view, executor: scene.ports.executor, recorder, written: progress.written })
      return
    case 'blocked':
      throw decision.error
  }
}

/** Told at the end, when all that could run has. */
function notHere(outs: RepoPath[]): MlvError {
  const names = outs.slice(0, 3).map(quotePath).join(', ') + (outs.length > 3 ? ` and ${outs.length - 3} more` : '')
  return new MlvError(
    'OBJECT_MISSING',
    `Nothing changed for ${names}, but the data is neither in the workspace nor in the cache`,
    {
      hint: 'Get it with "mlv pull" or "mlv repro --pull", make it anew with "mlv repro --force", or do without it: --allow-missing.',
    },
  )
}

const STOPPING: ErrorCode[] = ['INTERRUPTED', 'DISK_FULL']

/** Throws what forbids a stage to run before anything has run; deps that a stage makes first are looked at again when it has. */
function refuseBlocked(plan: ReproPlan): void {
  for (const { decision } of plan.stages) if (decision.kind === 'blocked') throw decision.error
}

function summary(failed: Progress['failed']): MlvError {
  const [first] = failed
  if (failed.length === 1) return first!.error
  const names = failed.map(({ stage }) => stage).join(', ')
  return new MlvError('STAGE_FAILED', `${failed.length} stages failed: ${names}`, { hint: 'See the message of each above.' })
}

/** Carries out a plan, stage by stage. What ran is in mlv.lock when it ends, however it ends; a stage is decided anew when one before it has run.
 *  @throws STAGE_FAILED, INTERRUPTED, WORK_UNSAVED, PATH_MISSING, OBJECT_MISSING, PATH_TRACKED, LOCK_HELD */
export async function* applyRepro(plan: ReproPlan, ports: ApplyPorts): AsyncGenerator<StageEvent> {
  const { view } = plan
  const { project } = view
  if (!ports.keepGoing) refuseBlocked(plan)
  const recorder = createLockRecorder(project)
  const progress: Progress = { touched: plan.edited.length > 0, failed: [], absent: [], cut: new Map(), written: new Set() }
  view.willRun.clear()
  let failure: { error: unknown } | undefined
  try {
    yield* await addEdited(plan, progress.written)
    const running = plan.stages.filter(({ decision }) => decision.kind === 'run').map(({ stage }) => stage)
    for (const file of await hideOuts(running, view)) progress.written.add(file)
    yield* applyStages(plan, { ports, recorder, progress })
  } catch (error) {
    failure = { error }
  } finally {
    await recorder.finish(plan.whole ? new Set(view.graph.stages.keys()) : undefined)
  }
  if (recorder.written) progress.written.add(LOCK_FILE as RepoPath)
  yield { kind: 'written', files: [...progress.written].sort() }
  if (failure) throw failure.error
  if (progress.failed.length > 0) throw summary(progress.failed)
  if (progress.absent.length > 0) throw notHere(progress.absent)
}

async function* applyStages(plan: ReproPlan, scene: Parameters<typeof applyStage>[2]): AsyncGenerator<StageEvent> {
  const { ports, progress } = scene
  for (const planned of plan.stages) {
    plan.view.project.surroundings.signal?.throwIfAborted()
    try {
      yield* applyStage(planned, plan, scene)
    } catch (error) {
      if (!ports.keepGoing || !(error instanceof MlvError) || STOPPING.includes(error.code)) throw error
      progress.failed.push({ stage: planned.stage.name, error })
      cutDownstream(planned.stage.name, plan, progress)
      yield { kind: 'failed', stage: planned.stage.name, error }
    }
  }
}
