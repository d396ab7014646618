import { hasCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { fetchData } from '../workspace/sync.ts'
import type { DecisionView } from './decide.ts'
import { type PipelineScene, planRepro, type ReproOptions } from './plan.ts'

async function isTracked(path: RepoPath, { observer }: DecisionView): Promise<boolean> {
  try {
    return (await observer.tracked(path)) !== undefined
  } catch (error) {
    // It lies in tracked data whose tree is not here either.
    if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED')) return true
    throw error
  }
}

/** Fetches into the cache what the selected stages read, and outs of unchanged ones, where neither workspace nor cache has them.
 *  @returns the paths   @throws REMOTE_MISSING, REMOTE_UNREACHABLE and the other errors of a fetch */
export async function pullInputs(scene: PipelineScene, options: ReproOptions): Promise<RepoPath[]> {
  const { stages, view } = await planRepro(scene, { ...options, allowMissing: true })
  const wanted = new Map(view.expected)
  for (const { decision } of stages) {
    if (decision.kind !== 'run') continue
    for (const { path, entry } of decision.inputs.absent) if (await isTracked(path, view)) wanted.set(path, entry)
  }
  const paths: RepoPath[] = []
  for (const [path, entry] of wanted) if (!(await scene.data.isCached(entry))) paths.push(path)
  if (paths.length > 0) await fetchData(scene.project, { paths })
  return paths
}
