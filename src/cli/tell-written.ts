import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { quotePath, type RepoPath } from '../base/paths.ts'
import type { Project } from '../workspace/project.ts'
import type { Output } from './output.ts'

/** Ends a command that wrote files which belong into git: stages them with core.autostage, else prints the line that does. */
export async function tellWritten(project: Project, output: Output, files: readonly RepoPath[]): Promise<void> {
  const known = await knownToGit(project, files)
  if (known.length === 0) return
  const names = known.map((file) => quotePath(relative(project.surroundings.cwd, join(project.root, file)))).join(' ')
  if (project.config.get('core.autostage')) {
    await (await project.git()).stage(known.map((file) => project.gitPath(file)))
    output.say(`staged ${names}`)
  } else output.say(`to commit: git add ${names}`)
}

/** Leaves out files that are gone and that git never tracked: there is nothing to commit, and `git add` would fail on them. */
async function knownToGit(project: Project, files: readonly RepoPath[]): Promise<RepoPath[]> {
  const known: RepoPath[] = []
  for (const file of files)
    if (existsSync(join(project.root, file)) || (await (await project.git()).tracked(project.gitPath(file))).length > 0)
      known.push(file)
  return known
}
