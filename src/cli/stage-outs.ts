import { MlvError } from '../base/errors.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import type { Project } from '../workspace/project.ts'

/** What a stage writes is recorded by the stage. @throws PATH_TRACKED */
export async function refuseStageOuts(project: Project, paths: readonly RepoPath[]): Promise<void> {
  const { readPipeline } = await import('../pipeline/open-pipeline.ts')
  const pipeline = await readPipeline(project)
  if (!pipeline) return
  for (const stage of pipeline.stages)
    for (const out of stage.outs) {
      const clash = paths.find((path) => isWithin(path, out.path) || isWithin(out.path, path))
      if (clash)
        throw new MlvError('PATH_TRACKED', `${clash} is written by the stage "${stage.name}" of mlv.yaml (${out.path})`, {
          hint: `Run "mlv repro ${stage.name}", or record a change made by hand with "mlv accept ${stage.name}".`,
        })
    }
}
