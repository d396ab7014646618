import { MlvError } from '../base/errors.ts'
import { type RepoPath, repoPathFrom } from '../base/paths.ts'
import type { Project } from '../workspace/project.ts'

/** What a user typed, relative to where they are, as paths of the project. @throws PATH_INVALID */
export function typedPaths(project: Project, typed: readonly string[]): RepoPath[] {
  return typed.map((path) => repoPathFrom(path, project.surroundings.cwd, project.root))
}

/** A whole number from an option. @throws USAGE */
export function parseJobs(text: string): number {
  const jobs = Number(text)
  if (Number.isInteger(jobs) && jobs > 0 && jobs <= 256) return jobs
  throw new MlvError('USAGE', `-j takes a number from 1 to 256, not "${text}"`, { hint: 'For example -j 8.' })
}

export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}
