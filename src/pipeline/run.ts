import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createTurn, told } from '../base/concurrency.ts'
import { type ErrorCode, MlvError } from '../base/errors.ts'
import { quotePath, type RepoPath, upwards } from '../base/paths.ts'
import { type ApplyPorts, type ApplyScene, applyStage, type Progress } from './apply-stage.ts'
import { hideOuts } from './hide-outs.ts'
import { createLockRecorder } from './lock-file.ts'
import type { PlannedStage, ReproPlan } from './plan.ts'
import { machineLimits, needOf } from './resources.ts'
import { schedule } from './schedule.ts'
import { LOCK_FILE } from './stage.ts'
import type { StageEvent } from './stage-event.ts'

/** The pointer file that stands for a path, or for a folder above it. */
function pointerFile(root: string, path: RepoPath): RepoPath | undefined {
  for (const at of upwards(path)) if (existsSync(join(root, `${at}.mlv`))) return `${at}.mlv` as RepoPath
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

function cutDownstream(failed: string, plan: ReproPlan, progress: Progress): void {
  const pending = [failed]
  while (pending.length > 0)
    for (const next of plan.view.graph.downstream.get(pending.pop()!)!) {
      if (progress.cut.has(next)) continue
      progress.cut.set(next, failed)
      pending.push(next)
    }
}

/** Told at the end, when all that could run has. */
function notHere(outs: RepoPath[]): MlvError {
  const names = outs.slice(0, 3).map(quotePath).join(', ') + (outs.length > 3 ? ` and ${outs.length - 3} more` : '')
  return new MlvError(
    'OBJECT_MISSING',
    `Nothing changed for ${names}, but the data is neither in the workspace nor in the cache`,
    {
      hint: 'Get it with "mlv pull", make it anew with "mlv repro --force", or do without it: --pull fetches what is read, --allow-missing nothing.',
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

/** Carries out a plan, each stage once all it waits for are done. What ran is in mlv.lock when it ends, however it ends; a stage is decided anew when
 *  one before it has run.
 *  @throws STAGE_FAILED, INTERRUPTED, WORK_UNSAVED, PATH_MISSING, OBJECT_MISSING, PATH_TRACKED, LOCK_HELD, PIPELINE_INVALID */
export async function* applyRepro(plan: ReproPlan, ports: ApplyPorts): AsyncGenerator<StageEvent> {
  const { view } = plan
  const { project } = view
  if (!ports.keepGoing) refuseBlocked(plan)
  const works = plan.stages.map((planned) => ({
    planned,
    name: planned.stage.name,
    after: view.graph.upstream.get(planned.stage.name)!,
    need: needOf(planned.stage),
  }))
  const recorder = createLockRecorder(project)
  const progress: Progress = {
    touched: plan.edited.length > 0,
    failed: [],
    absent: [],
    cut: new Map(),
    written: new Set(),
    stopped: false,
  }
  view.willRun.clear()
  let failure: { error: unknown } | undefined
  try {
    yield* await addEdited(plan, progress.written)
    const running = plan.stages.filter(({ decision }) => decision.kind === 'run').map(({ stage }) => stage)
    for (const file of await hideOuts(running, view)) progress.written.add(file)
    const limits = machineLimits(ports.jobs, project.surroundings.env)
    yield* told<StageEvent>((tell) => {
      const scene: ApplyScene = { plan, ports, recorder, progress, turn: createTurn(), tell }
      return schedule(works, limits, ({ planned }) => tryStage(planned, scene))
    })
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

async function tryStage(planned: PlannedStage, scene: ApplyScene): Promise<void> {
  const { plan, ports, progress, tell } = scene
  plan.view.project.surroundings.signal?.throwIfAborted()
  try {
    await applyStage(planned, scene)
  } catch (error) {
    if (!ports.keepGoing || !(error instanceof MlvError) || STOPPING.includes(error.code)) {
      // The first is thrown at the end; of others that ran beside it nobody else would hear.
      if (progress.stopped && error instanceof MlvError && !STOPPING.includes(error.code))
        tell({ kind: 'failed', stage: planned.stage.name, error })
      progress.stopped = true
      throw error
    }
    progress.failed.push({ stage: planned.stage.name, error })
    cutDownstream(planned.stage.name, plan, progress)
    tell({ kind: 'failed', stage: planned.stage.name, error })
  }
}
