import { join } from 'node:path'
import { nameOf, parentOf, type RepoPath } from '../base/paths.ts'
import { ignoreLines, namesWithoutLine, unignoreLines } from '../git/gitignore.ts'
import type { Project } from './project.ts'
import { checkParents } from './tracked.ts'

/** @throws PATH_INVALID for a folder that a symbolic link leads to: nothing is written out of the project */
function byFolder({ root }: Pick<Project, 'root'>, paths: readonly RepoPath[]): Map<RepoPath, RepoPath[]> {
  const folders = new Map<RepoPath, RepoPath[]>()
  for (const path of paths) {
    const folder = parentOf(path)
    const known = folders.get(folder)
    if (known) known.push(path)
    else {
      checkParents(root, path)
      folders.set(folder, [path])
    }
  }
  return folders
}

function ignoreFile(folder: RepoPath): RepoPath {
  return (folder === '' ? '.gitignore' : `${folder}/.gitignore`) as RepoPath
}

/** Whether the .gitignore beside a path has no line of its own for it. */
export function lacksLine(project: Pick<Project, 'root'>, path: RepoPath): boolean {
  return namesWithoutLine(join(project.root, parentOf(path)), [nameOf(path)]).length > 0
}

/** Gives each path a line of its own in the .gitignore beside it. @returns the .gitignore files written */
export function ignorePaths(project: Pick<Project, 'root'>, paths: readonly RepoPath[]): RepoPath[] {
  const written: RepoPath[] = []
  for (const [folder, inside] of byFolder(project, paths))
    if (ignoreLines(join(project.root, folder), inside.map(nameOf))) written.push(ignoreFile(folder))
  return written
}

/** Hides tracked data from git: a line for each path that git would show, as after a pointer was renamed. Where the user's own pattern
 *  hides it already, nothing is written. @returns the .gitignore files written */
export async function hideFromGit(project: Project, paths: readonly RepoPath[]): Promise<RepoPath[]> {
  const written: RepoPath[] = []
  for (const [folder, inside] of byFolder(project, paths)) {
    const absolute = join(project.root, folder)
    const without = new Set(namesWithoutLine(absolute, inside.map(nameOf)))
    const shown: string[] = []
    for (const path of inside) {
      if (!without.has(nameOf(path))) continue
      const git = await project.git()
      if ((await git.visible(project.gitPath(path))).length > 0) shown.push(nameOf(path))
    }
    if (ignoreLines(absolute, shown)) written.push(ignoreFile(folder))
  }
  return written
}

/** Takes the lines of paths out again. @returns the .gitignore files written */
export function showToGit(project: Project, paths: readonly RepoPath[]): RepoPath[] {
  const written: RepoPath[] = []
  for (const [folder, inside] of byFolder(project, paths))
    if (unignoreLines(join(project.root, folder), inside.map(nameOf))) written.push(ignoreFile(folder))
  return written
}
