import { MlvError } from '../base/errors.ts'
import { type RepoPath, upwards } from '../base/paths.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import type { Project } from '../workspace/project.ts'
import { type Decision, type DecisionView, decideStage } from './decide.ts'
import { reach, type StageGraph } from './graph.ts'
import type { Lock } from './lock.ts'
import { createObserver, type Observer } from './observer.ts'
import { placeText, type Stage } from './stage.ts'

export interface ReproOptions {
  /** names; all when empty */
  stages: string[]
  force?: boolean
  /** only the named ones */
  singleStage?: boolean
  /** the named ones and all that come after, instead of before */
  downstream?: boolean
  /** data that is not in the workspace counts as what lock and pointer say */
  allowMissing?: boolean
  /** the remotes have been asked for what is not here: what still is not is made anew */
  asked?: boolean
  /** outs that no remote has; all others may stay away where nobody reads them */
  lost?: ReadonlySet<RepoPath>
}

export interface PlannedStage {
  stage: Stage
  decision: Decision
}

export interface ReproPlan {
  /** in the order they run */
  stages: PlannedStage[]
  /** data with a pointer that changed by hand: recorded before anything runs */
  edited: RepoPath[]
  /** whether all stages of mlv.yaml were looked at */
  whole: boolean
  view: DecisionView
}

/** Where a pipeline is looked at: the workspace, its stages and their lock. */
export interface PipelineScene {
  project: Project
  data: WorkspaceData
  graph: StageGraph
  lock: Lock
}

/** @throws STAGE_UNKNOWN, USAGE */
export function selectStages(graph: StageGraph, options: ReproOptions): string[] {
  const { stages, singleStage, downstream } = options
  if (stages.length > 0) return reach(graph, stages, singleStage ? undefined : downstream ? graph.downstream : graph.upstream)
  if (!singleStage && !downstream) return graph.order
  throw new MlvError('USAGE', `${singleStage ? '--single-stage' : '--downstream'} needs the name of a stage`, {
    hint: 'For example: mlv repro --single-stage train. "mlv stage list" names them.',
  })
}

type PointerView = Pick<Observer, 'tracked'> & Partial<Pick<Observer, 'mayBeTracked'>>

/** @throws PATH_TRACKED when a pointer stands for an out, too */
export async function checkPointers(graph: StageGraph, view: { observer: PointerView }): Promise<void> {
  const { observer } = view
  for (const [path, { stage, out }] of graph.makers) {
    if (observer.mayBeTracked && !observer.mayBeTracked(path)) continue
    for (const at of upwards(path)) {
      if ((await observer.tracked(at)) === undefined) continue
      throw new MlvError(
        'PATH_TRACKED',
        `${placeText(out.at)}: "${path}" is an out of stage "${stage.name}" and ${at === path ? '' : `lies in "${at}", which is `}tracked by a pointer`,
        {
          hint:
            at === path
              ? `Let the stage own it with "mlv remove ${path}", or take it out of mlv.yaml.`
              : 'Let the stage write it elsewhere: a folder is written by hand or by stages, not by both.',
        },
      )
    }
  }
}

export function createView(
  scene: PipelineScene,
  options: Pick<ReproOptions, 'force' | 'allowMissing' | 'asked' | 'lost'>,
): DecisionView {
  return {
    ...scene,
    observer: createObserver(scene.project, scene.data, scene.graph.makers),
    force: options.force ?? false,
    allowMissing: options.allowMissing ?? false,
    lost: options.lost,
    elsewhere: !options.force && !options.asked && scene.project.config.remotes().length > 0,
    willRun: new Set(),
    expected: new Map(),
  }
}

/** Remembers what a decision means for the stages that follow. */
function look(view: DecisionView, stage: Stage, decision: Decision): void {
  switch (decision.kind) {
    case 'run':
    case 'blocked':
      view.willRun.add(stage.name)
      return
    case 'restore':
    case 'absent':
      for (const out of decision.outs) view.expected.set(out.path, out.entry)
      return
    case 'unchanged':
    case 'frozen':
  }
}

/** Decides for each stage whether it runs, and why. Only reads.
 *  @throws STAGE_UNKNOWN, PATH_TRACKED, FILE_UNREADABLE; what forbids a stage to run is in its decision */
export async function planRepro(scene: PipelineScene, options: ReproOptions): Promise<ReproPlan> {
  const names = selectStages(scene.graph, options)
  const view = createView(scene, options)
  await checkPointers(scene.graph, view)
  const stages: PlannedStage[] = []
  const edited = new Set<RepoPath>()
  for (const name of names) {
    const stage = scene.graph.stages.get(name)!
    const decided = await decideStage(stage, view)
    for (const path of decided.edited) edited.add(path)
    look(view, stage, decided.decision)
    stages.push({ stage, decision: decided.decision })
  }
  return { stages, edited: [...edited], whole: names.length === scene.graph.order.length, view }
}

/** Whether carrying the plan out would change nothing at all: every stage is unchanged or frozen. */
export function isSettled(plan: ReproPlan): boolean {
  return plan.edited.length === 0 && plan.stages.every(({ decision: { kind } }) => kind === 'unchanged' || kind === 'frozen')
}

/** Whether the plan would run a command, or lacks outs that it could not get without being told how. */
export function wouldRun(plan: ReproPlan): boolean {
  return plan.stages.some(({ decision }) => ['run', 'blocked', 'absent'].includes(decision.kind))
}
