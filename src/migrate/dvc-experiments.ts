import { nameOf } from '../base/paths.ts'
import { requireGitProcess } from '../git/git-roots.ts'
import type { Project } from '../workspace/project.ts'
import type { Leftover } from './dvc-out.ts'

/** An experiment of DVC's, and the branch that it can be. */
export interface DvcExperiment {
  /** DVC's ref */
  ref: string
  commit: string
  branch: string
}

/** The experiments that were run and saved; DVC's queue and its own marks are none. */
export async function findExperiments(project: Project): Promise<DvcExperiment[]> {
  const refs = await (await project.git()).refs('refs/exps/')
  return refs
    .filter(({ name }) => /^refs\/exps\/[0-9a-f]{2}\/[0-9a-f]{38}\/./.test(name))
    .map(({ name, commit }) => ({ ref: name, commit, branch: `exp/${nameOf(name)}` }))
}

/** An experiment that stays where it is, and how it becomes a branch. */
export function describeExperiment({ ref, commit, branch }: DvcExperiment): Leftover {
  const command = `git branch ${branch} ${commit.slice(0, 10)}`
  return { at: ref, what: `an experiment; it stays where it is, "${command}" makes it a branch, --experiments all of them` }
}

/** Makes a branch of each experiment. DVC's own refs stay; a branch of that name that is something else stays, too, and is told.
 *  @returns the branches that are there now   @throws GIT_MISSING, GIT_FAILED */
export async function branchExperiments(
  project: Project,
  experiments: readonly DvcExperiment[],
): Promise<{ branches: string[]; leftovers: Leftover[] }> {
  const git = requireGitProcess(project.place, project.surroundings.env)
  const known = new Map((await (await project.git()).refs('refs/heads/')).map(({ name, commit }) => [name, commit]))
  const branches: string[] = []
  const leftovers: Leftover[] = []
  for (const { ref, commit, branch } of experiments) {
    const name = `refs/heads/${branch}`
    const there = known.get(name)
    if (there !== undefined && there !== commit) {
      leftovers.push({
        at: ref,
        what: `there is another branch ${branch} already; "git branch NAME ${commit.slice(0, 10)}" makes one`,
      })
      continue
    }
    if (there === undefined) await git.run(['update-ref', '-m', 'mlv migrate dvc', name, commit, ''])
    known.set(name, commit)
    branches.push(branch)
  }
  return { branches, leftovers }
}
