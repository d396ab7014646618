import { MlvError } from '../base/errors.ts'
import { quotePath, type RepoPath } from '../base/paths.ts'
import type { PipelineScene } from './plan.ts'
import { placeText, type Stage, storedOuts } from './stage.ts'

/** Takes outs that the store keeps out of git's sight, before anything is written, so that a folder dep never counts them; and shows it those that
 *  the store kept and git is to keep now.
 *  @returns the .gitignore files written   @throws PATH_TRACKED when git tracks one */
export async function hideOuts(stages: Stage[], scene: Pick<PipelineScene, 'project' | 'data' | 'lock'>): Promise<RepoPath[]> {
  const { project, data, lock } = scene
  const paths: RepoPath[] = []
  for (const stage of stages)
    for (const out of storedOuts(stage)) {
      paths.push(out.path)
      // An out that was stored before has been looked at then.
      if (lock.stages.get(stage.name)?.outs.some((before) => before.path === out.path && !before.git)) continue
      const tracked = await (await project.git()).tracked(project.gitPath(out.path))
      if (tracked.length > 0)
        throw new MlvError('PATH_TRACKED', `${placeText(out.at)}: git tracks "${out.path}", an out that mlv is to store`, {
          hint: `Run "git rm -r --cached ${quotePath(out.path)}", or let git keep it: {${out.path}: {git: true}}.`,
        })
    }
  const hidden = new Set([...lock.stages.values()].flatMap(({ outs }) => outs.flatMap(({ path, git }) => (git ? [] : [path]))))
  const shown = stages.flatMap(({ outs }) => outs.flatMap(({ path, git }) => (git && hidden.has(path) ? [path] : [])))
  return [...(await data.ignore(paths)), ...(await data.unignore(shown))]
}
