import { hasCode, MlvError } from '../base/errors.ts'
import { type RepoPath, repoPathFrom } from '../base/paths.ts'
import { lockOuts } from '../pipeline/lock-outs.ts'
import type { Project } from '../workspace/project.ts'
import type { Revision } from '../workspace/revision.ts'
import type { Context } from './context.ts'
import { openNamed } from './revision-arguments.ts'

/** Data to look at: in this project, or in another repository. */
export interface DataPlace {
  project: Project
  revision: Revision
  /** relative to the project's root */
  path: RepoPath
  /** the other repository, as typed */
  repo: string | undefined
  close(): Promise<void>
}

/** The project around the current folder, or undefined outside any. */
export async function projectIfAny(context: Context): Promise<Project | undefined> {
  try {
    return await context.project()
  } catch (error) {
    if (hasCode(error, 'PROJECT_MISSING', 'GIT_MISSING')) return undefined
    throw error
  }
}

/** Opens another repository for a command. */
export async function openOther(
  context: Context,
  request: { repo: string; path: string; revision: string | undefined },
): Promise<DataPlace> {
  const { openRepository } = await import('../workspace/open-repository.ts')
  const { surroundings } = context
  const workTree = (await projectIfAny(context))?.place.workTree
  const repository = await openRepository({ ...request, from: surroundings.cwd, workTree, lockOuts }, surroundings)
  const { project, revision, path, close } = repository
  return { project, revision, path, repo: request.repo, close }
}

/** Reads `[REPO] [PATH]`: a url or another repository's folder comes first, else the words are paths of this project.
 *  @throws USAGE, and what opening throws */
export async function openData(context: Context, words: readonly string[], revision: string | undefined): Promise<DataPlace> {
  const [first, second] = words
  if (first !== undefined) {
    const { isRepository } = await import('../workspace/open-repository.ts')
    const workTree = (await projectIfAny(context))?.place.workTree
    if (isRepository(first, context.surroundings.cwd, workTree))
      return openOther(context, { repo: first, path: second ?? '', revision })
  }
  if (second !== undefined)
    throw new MlvError('USAGE', `"${first}" is not another git repository`, {
      hint: 'Give a url or the folder of another repository first, then the path in it; a path of this project stands alone.',
    })
  const project = await context.project()
  const path = repoPathFrom(first ?? '.', project.surroundings.cwd, project.root)
  return { project, revision: await openNamed(project, revision), path, repo: undefined, close: async () => {} }
}
