import type { MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Project } from '../workspace/project.ts'
import { compareStage } from './compare-stage.ts'
import { isUnchangedAtGlance } from './glance.ts'
import type { StageGraph } from './graph.ts'
import { readInputs, type StageInputs } from './inputs.ts'
import type { Lock, LockedOut, LockedStage } from './lock.ts'
import type { Observer } from './observer.ts'
import { findUnsaved, type OutState, readOuts, unsavedError } from './outs.ts'
import type { Reason } from './reason.ts'
import type { Stage } from './stage.ts'

/** What is to be done with a stage. */
export type Decision =
  | { kind: 'unchanged' }
  | { kind: 'frozen' }
  /** nothing it reads has changed: its outs come from the cache */
  | { kind: 'restore'; outs: LockedOut[] }
  /** nothing it reads has changed: its outs may be had from a remote, and are not made anew unasked */
  | { kind: 'absent'; outs: LockedOut[] }
  | { kind: 'run'; reasons: Reason[]; inputs: StageInputs }
  /** it would run, and may not */
  | { kind: 'blocked'; reasons: Reason[]; error: MlvError }

/** All that a decision looks at. The two collections grow as stages are decided in order. */
export interface DecisionView {
  project: Project
  data: WorkspaceData
  graph: StageGraph
  observer: Observer
  lock: Lock
  force: boolean
  allowMissing: boolean
  /** what stages to run read has been fetched: outs of unchanged stages may stay away, but for these, which no remote has */
  lost?: ReadonlySet<RepoPath>
  /** a remote that has not been asked yet may hold outs that are not here */
  elsewhere: boolean
  /** stages decided to run that have not run yet */
  willRun: Set<string>
  /** outs that count as what the lock says though the workspace does not hold them (yet) */
  expected: Map<RepoPath, Entry>
}

function outProblems(states: OutState[], allowMissing: boolean): OutState[] {
  return states.filter(
    ({ state, out }) => state === 'changed' || state === 'outdated' || (state === 'missing' && !(allowMissing && !out.git)),
  )
}

async function restorable(problems: OutState[], data: WorkspaceData): Promise<LockedOut[] | undefined> {
  const outs: LockedOut[] = []
  for (const { locked } of problems) {
    if (!locked || locked.git || !(await data.isCached(locked.entry))) return undefined
    outs.push(locked)
  }
  return outs
}

/** The outs of a stage that only lacks them here, where another machine has stored them. */
function storedElsewhere(problems: OutState[], view: DecisionView): LockedOut[] | undefined {
  const outs = problems.flatMap(({ state, locked }) => (state !== 'changed' && locked && !locked.git ? [locked] : []))
  return view.elsewhere && outs.length === problems.length ? outs : undefined
}

/** Of outs that are not here: those to place because the cache has them, and whether nobody needs the others. */
async function splitMissing(problems: OutState[], view: DecisionView): Promise<LockedOut[] | undefined> {
  const { lost, data } = view
  if (!lost) return undefined
  const here: LockedOut[] = []
  const away: LockedOut[] = []
  for (const { state, locked, out } of problems) {
    if (state === 'changed' || !locked || locked.git) return undefined
    if (await data.isCached(locked.entry)) here.push(locked)
    else if (lost.has(out.path)) return undefined
    else away.push(locked)
  }
  for (const { path, entry } of away) view.expected.set(path, entry)
  return here
}

function outReason({ out, state }: OutState): Reason {
  return { kind: 'out', path: out.path, change: state === 'changed' || state === 'same' ? 'changed by hand' : state }
}

async function findReasons(
  stage: Stage,
  locked: LockedStage | undefined,
  inputs: StageInputs,
  view: DecisionView,
): Promise<Reason[]> {
  const upstream = view.graph.upstream.get(stage.name)!.filter((name) => view.willRun.has(name))
  const reasons: Reason[] = upstream.map((name) => ({ kind: 'upstream', stage: name }))
  if (!locked) return [{ kind: 'never ran' }, ...reasons]
  reasons.push(...(await compareStage(stage, locked, inputs, view.data)))
  if (reasons.length > 0) return reasons
  if (view.force) return [{ kind: 'forced' }]
  return stage.always ? [{ kind: 'always' }] : []
}

async function decideRun(
  stage: Stage,
  view: DecisionView,
  run: { reasons: Reason[]; inputs: StageInputs; outs: OutState[] },
): Promise<Decision> {
  const { reasons, inputs } = run
  if (inputs.problem) return { kind: 'blocked', reasons, error: inputs.problem }
  // A run leaves `persist` outs where they are.
  const replaced = run.outs.filter(({ out }) => !out.persist)
  const unsaved = view.force ? [] : await findUnsaved(replaced, view.project, view.data)
  if (unsaved.length > 0)
    return { kind: 'blocked', reasons, error: unsavedError(stage, unsaved, view.lock.stages.get(stage.name)) }
  return { kind: 'run', reasons, inputs }
}

/** Decides one stage; those it waits for must be decided, or done, before. Only reads. */
export async function decideStage(stage: Stage, view: DecisionView): Promise<{ decision: Decision; edited: RepoPath[] }> {
  if (stage.frozen) return { decision: { kind: 'frozen' }, edited: [] }
  if (isUnchangedAtGlance(stage, view)) return { decision: { kind: 'unchanged' }, edited: [] }
  const locked = view.lock.stages.get(stage.name)
  const inputs = await readInputs(stage, locked, { ...view, env: view.project.surroundings.env })
  const outs = await readOuts(stage, locked, view)
  const edited: RepoPath[] = []
  for (const path of inputs.edited) {
    const outdated = await view.data.outdated(path)
    if (outdated) inputs.problem ??= outdated
    else edited.push(path)
  }
  const reasons = await findReasons(stage, locked, inputs, view)
  if (reasons.length > 0) return { decision: await decideRun(stage, view, { reasons, inputs, outs }), edited }
  if (inputs.problem) return { decision: { kind: 'blocked', reasons: [], error: inputs.problem }, edited }
  for (const { out, locked: before, state } of outs)
    if (state === 'missing' && before && view.allowMissing && !out.git) view.expected.set(out.path, before.entry)
  const problems = outProblems(outs, view.allowMissing)
  if (problems.length === 0) return { decision: { kind: 'unchanged' }, edited }
  const found = problems.map(outReason)
  const unsaved = await findUnsaved(outs, view.project, view.data)
  const restored = unsaved.length > 0 ? undefined : await restorable(problems, view.data)
  if (restored) return { decision: { kind: 'restore', outs: restored }, edited }
  const placed = await splitMissing(problems, view)
  if (placed) return { decision: placed.length > 0 ? { kind: 'restore', outs: placed } : { kind: 'unchanged' }, edited }
  const absent = storedElsewhere(problems, view)
  if (absent) return { decision: { kind: 'absent', outs: absent }, edited }
  return { decision: await decideRun(stage, view, { reasons: found, inputs, outs }), edited }
}
