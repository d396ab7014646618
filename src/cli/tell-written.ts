import { join, relative } from 'node:path'
import { quotePath, type RepoPath } from '../base/paths.ts'
import type { Project } from '../workspace/project.ts'
import type { Output } from './output.ts'

/** Ends a command that wrote files which belong into git: stages them with core.autostage, else prints the line that does. */
export async function tellWritten(project: Project, output: Output, files: readonly RepoPath[]): Promise<void> {
  if (files.length === 0) return
  const names = files.map((file) => quotePath(relative(project.surroundings.cwd, join(project.root, file)))).join(' ')
  if (project.config.get('core.autostage')) {
    await (await project.git()).stage(files.map((file) => project.gitPath(file)))
    output.say(`staged ${names}`)
  } else output.say(`to commit: git add ${names}`)
}
