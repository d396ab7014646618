import type { Project } from '../workspace/project.ts'
import { readLock } from './lock-file.ts'
import { openPipeline } from './open-pipeline.ts'
import type { PipelineScene } from './plan.ts'

/** Opens what a pipeline needs; `data` is to be closed at the end.
 *  @throws PIPELINE_INVALID, YAML_INVALID, PATH_INVALID, LOCK_INVALID */
export async function openScene(project: Project): Promise<PipelineScene> {
  const graph = await openPipeline(project)
  const lock = await readLock(project)
  const { openWorkspaceData } = await import('../workspace/open-data.ts')
  return { project, graph, lock, data: await openWorkspaceData(project) }
}
