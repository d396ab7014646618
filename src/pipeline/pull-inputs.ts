import { hasCode } from '../base/errors.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import type { Entry } from '../workspace/entry.ts'
import { fetchData } from '../workspace/sync.ts'
import type { DecisionView } from './decide.ts'
import { type PipelineScene, type PlannedStage, planRepro, type ReproOptions, type ReproPlan } from './plan.ts'

async function isTracked(path: RepoPath, { observer }: DecisionView): Promise<boolean> {
  try {
    return (await observer.tracked(path)) !== undefined
  } catch (error) {
    // It lies in tracked data whose tree is not here either.
    if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED')) return true
    throw error
  }
}

/** What a stage that will run reads and the workspace does not hold: data with a pointer, and outs of stages that will not run. */
async function absentInputs({ stage, decision }: PlannedStage, view: DecisionView): Promise<Map<RepoPath, Entry>> {
  const wanted = new Map<RepoPath, Entry>()
  if (decision.kind !== 'run') return wanted
  for (const { path, entry } of decision.inputs.absent) if (await isTracked(path, view)) wanted.set(path, entry)
  const read = [...stage.deps.map(({ path }) => path), ...stage.params.map(({ file }) => file)]
  for (const [path, entry] of view.expected)
    if (read.some((input) => isWithin(input, path) || isWithin(path, input))) wanted.set(path, entry)
  return wanted
}

/** Fetches into the cache what the stages that will run read, where neither workspace nor cache has it, and nothing else. What no remote has is
 *  made anew, so that more stages may run and read more.
 *  @returns the paths, and the plan that follows   @throws REMOTE_MISSING, REMOTE_UNREACHABLE and the other errors of a fetch */
export async function pullInputs(scene: PipelineScene, options: ReproOptions): Promise<{ fetched: RepoPath[]; plan: ReproPlan }> {
  const asked = new Set<RepoPath>()
  const lost = new Set<RepoPath>()
  const fetched: RepoPath[] = []
  for (;;) {
    const plan = await planRepro(scene, { ...options, asked: true, lost: new Set(lost) })
    const wanted = new Map<RepoPath, Entry>()
    for (const planned of plan.stages)
      for (const [path, entry] of await absentInputs(planned, plan.view))
        if (!asked.has(path) && !(await scene.data.isCached(entry))) wanted.set(path, entry)
    if (wanted.size === 0) return { fetched, plan }
    await fetchData(scene.project, { paths: [...wanted.keys()] })
    for (const [path, entry] of wanted) {
      asked.add(path)
      if (await scene.data.isCached(entry)) fetched.push(path)
      else lost.add(path)
    }
  }
}
