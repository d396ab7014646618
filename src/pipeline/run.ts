import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createTurn, type Turn, told } from '../base/concurrency.ts'
import { type ErrorCode, hasCode, MlvError } from '../base/errors.ts'
import { parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import { type Decision, decideStage } from './decide.ts'
import type { Executor } from './executor/executor.ts'
import type { Shell } from './executor/shell.ts'
import { hideOuts } from './hide-outs.ts'
import type { LockedStage } from './lock.ts'
import { createLockRecorder, type LockRecorder } from './lock-file.ts'
import type { PlannedStage, ReproPlan } from './plan.ts'
import type { Reason } from './reason.ts'
import { machineLimits, needOf } from './resources.ts'
import { isReusable, type RunCache } from './run-cache.ts'
import { expectedKey } from './run-key.ts'
import { runMapStage } from './run-map-stage.ts'
import { lockedOuts, lockedStage, runStage } from './run-stage.ts'
import { schedule } from './schedule.ts'
import { LOCK_FILE, type Stage } from './stage.ts'
import type { DepChecker, StageCheck } from './trace/check-deps.ts'

/** What happens while a plan is carried out. */
export type StageEvent =
  /** data that changed by hand was recorded in its pointer */
  | { kind: 'added'; path: RepoPath }
  | { kind: 'started'; stage: string; reasons: Reason[] }
  | {
      kind: 'ran'
      stage: string
      /** map stages */
      datums?: { ran: number; kept: number }
      reasons: Reason[]
      seconds: number /** deps that changed meanwhile: it will run again */
      changed: RepoPath[]
      /** what it did without declaring it, where that was looked at */
      check?: StageCheck
    }
  | { kind: 'unchanged' | 'frozen'; stage: string }
  /** `from`: its outs came back as mlv.lock has them, or as a run with the same key made them */
  | { kind: 'restored'; stage: string; outs: RepoPath[]; from: 'lock' | 'run cache'; reasons: Reason[] }
  /** nothing changed, but its outs are not here */
  | { kind: 'absent'; stage: string; outs: RepoPath[] }
  | { kind: 'failed'; stage: string; error: MlvError }
  /** a stage it waits for failed */
  | { kind: 'skipped'; stage: string; because: string }
  /** the last event: files that are to be committed */
  | { kind: 'written'; files: RepoPath[] }

export interface ApplyPorts {
  executor: Executor
  /** runs the commands of map stages, which are no tasks */
  shell: Shell
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
  /** a stage failed, and no more are started */
  stopped: boolean
}

type Tell = (event: StageEvent) => void

interface Scene {
  plan: ReproPlan
  ports: ApplyPorts
  recorder: LockRecorder
  progress: Progress
  turn: Turn
  tell: Tell
}

async function restore(stage: Stage, decision: Extract<Decision, { kind: 'restore' }>, { plan, tell }: Scene): Promise<void> {
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
async function reuse(stage: Stage, { inputs }: RunDecision, scene: Scene): Promise<LockedStage | undefined> {
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
async function record(stage: Stage, locked: LockedStage, { plan, recorder, progress }: Scene): Promise<void> {
  const { view } = plan
  const extra = view.lock.stages.get(stage.name)?.extra ?? {}
  view.lock.stages.set(stage.name, { ...locked, extra })
  for (const out of stage.outs) view.expected.delete(out.path)
  await recorder.record(stage.name, { ...locked, extra })
  for (const out of stage.outs) if (out.git) progress.written.add(out.path)
}

async function run(stage: Stage, decision: RunDecision, scene: Scene): Promise<void> {
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
  const watched = ports.watch?.(stage, ports.shell)
  const { locked, seconds, changed, datums } = await start(stage, decision.inputs, {
    ...view,
    executor: watched?.executor ?? ports.executor,
    shell: watched?.shell ?? ports.shell,
    turn,
    jobs: ports.jobs,
    retryFailed: ports.retryFailed ?? false,
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
  tell({ kind: 'ran', stage: stage.name, reasons, seconds, changed, ...(datums ? { datums } : {}), ...(check ? { check } : {}) })
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

async function applyStage(planned: PlannedStage, scene: Scene): Promise<void> {
  const { plan, progress, turn, tell } = scene
  const { stage } = planned
  const because = progress.cut.get(stage.name)
  if (because !== undefined) {
    tell({ kind: 'skipped', stage: stage.name, because })
    return
  }
  const decision = progress.touched ? await turn(async () => (await decideStage(stage, plan.view)).decision) : planned.decision
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
      const scene: Scene = { plan, ports, recorder, progress, turn: createTurn(), tell }
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

async function tryStage(planned: PlannedStage, scene: Scene): Promise<void> {
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
