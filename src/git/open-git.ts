import { openBinaryGit } from './binary.ts'
import type { Git, GitPlace } from './git.ts'
import { type Environment, findGitProgram } from './git-process.ts'

/** Opens git for one work tree: the git on `env.PATH`, which starts in about 4 ms, or isomorphic-git where there is none. */
export async function openGit(place: GitPlace, env: Environment): Promise<Git> {
  const program = findGitProgram(env)
  if (program !== undefined) return openBinaryGit(program, place, env)
  const { openIsomorphicGit } = await import('./isomorphic.ts')
  return openIsomorphicGit(place)
}
