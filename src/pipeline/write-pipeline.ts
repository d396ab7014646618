import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Project } from '../workspace/project.ts'
import { findTracked } from '../workspace/tracked.ts'
import { buildGraph } from './graph.ts'
import { decodePipeline, parseHere, readPipelineFile } from './open-pipeline.ts'
import { checkPointers } from './plan.ts'
import { PIPELINE_FILE, type Pipeline } from './stage.ts'

/** Looks whether the stages fit one another and the pointers. @throws PIPELINE_INVALID, PATH_TRACKED */
export async function checkPipeline(project: Project, pipeline: Pipeline): Promise<void> {
  const tracked = async (path: RepoPath) => {
    const found = await findTracked(project.root, path)
    return found?.path === path ? found.pointer.entry : undefined
  }
  await checkPointers(buildGraph(pipeline), { observer: { tracked } })
}

/** Writes mlv.yaml as `edit` makes it from its text, once the whole result is a valid pipeline.
 *  @param name the stage whose warnings are told
 *  @returns files to commit, none when the text is the same   @throws PIPELINE_INVALID, YAML_INVALID, PATH_INVALID, PATH_TRACKED, what `edit` throws; then nothing is written */
export async function writePipeline(project: Project, edit: (text: string) => string, name?: string): Promise<RepoPath[]> {
  return project.locked(async () => {
    const bytes = readPipelineFile(project)
    const before = bytes ? decodePipeline(bytes) : ''
    const text = edit(before)
    if (bytes && text === before) return []
    const { pipeline } = await parseHere(project, text)
    if (name !== undefined)
      for (const warning of pipeline.warnings) if (warning.includes(`stage "${name}"`)) project.surroundings.warn(warning)
    await checkPipeline(project, pipeline)
    writeFileAtomic(join(project.root, PIPELINE_FILE), text)
    const files = [PIPELINE_FILE as RepoPath]
    if (!project.config.get('core.autostage')) return files
    await (await project.git()).stage(files.map((file) => project.gitPath(file)))
    return files
  })
}
