import type { RepoPath } from '../base/paths.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import type { Project } from '../workspace/project.ts'
import { buildGraph } from './graph.ts'
import { readLock } from './lock-file.ts'
import { readPipeline } from './open-pipeline.ts'
import { planRepro } from './plan.ts'
import { describeReason } from './reason.ts'

/** A stage that "mlv repro" would do something about. */
export type StageStatus =
  /** it would run; `blocked` says what forbids it now */
  | { kind: 'run'; stage: string; reasons: string[]; blocked?: string }
  /** its outs differ from mlv.lock and come from the cache */
  | { kind: 'restore'; stage: string; outs: RepoPath[] }
  /** nothing changed, but the workspace does not hold its outs */
  | { kind: 'absent'; stage: string; outs: RepoPath[]; cached: boolean }

/** The stages of the workspace's mlv.yaml that are not up to date, in order; none without mlv.yaml. Only reads.
 *  @throws PIPELINE_INVALID, YAML_INVALID, LOCK_INVALID, PATH_INVALID, PATH_TRACKED */
export async function pipelineStatus(project: Project, data: WorkspaceData): Promise<StageStatus[]> {
  const pipeline = await readPipeline(project)
  if (!pipeline || pipeline.stages.length === 0) return []
  const scene = { project, data, graph: buildGraph(pipeline), lock: await readLock(project) }
  const plan = await planRepro(scene, { stages: [], allowMissing: true })
  const statuses: StageStatus[] = []
  for (const { stage, decision } of plan.stages) {
    const { name } = stage
    switch (decision.kind) {
      case 'run':
        statuses.push({ kind: 'run', stage: name, reasons: decision.reasons.map(describeReason) })
        break
      case 'blocked':
        statuses.push({
          kind: 'run',
          stage: name,
          reasons: decision.reasons.map(describeReason),
          blocked: decision.error.message,
        })
        break
      case 'restore':
        statuses.push({ kind: 'restore', stage: name, outs: decision.outs.map((out) => out.path) })
        break
      case 'frozen':
        break
      case 'absent':
        statuses.push({ kind: 'absent', stage: name, outs: decision.outs.map((out) => out.path), cached: false })
        break
      case 'unchanged': {
        const absent = stage.outs.map((out) => out.path).filter((path) => plan.view.expected.has(path))
        if (absent.length === 0) break
        const cached = await Promise.all(absent.map((path) => data.isCached(plan.view.expected.get(path)!)))
        statuses.push({ kind: 'absent', stage: name, outs: absent, cached: cached.every(Boolean) })
      }
    }
  }
  return statuses
}
