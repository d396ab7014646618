import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { RepoPath } from '../base/paths.ts'
import type { Git } from '../git/git.ts'
import type { Project } from './project.ts'

/** Takes paths out of git's index, where git tracked them as its own. */
export interface Untracking {
  /** @returns the files that git tracked */
  untrack(path: RepoPath): Promise<RepoPath[]>
}

/** Answers asked for ahead; each is a process of git's. */
const AHEAD = 4

/** Asks git about some paths at once, which takes it 20 ms, while the caller goes on. An index that changes meanwhile is asked again. */
export function prepareUntracking(project: Project, paths: readonly RepoPath[]): Untracking {
  const asked = new Map(paths.slice(0, AHEAD).map((path) => [path, ask(project, path)]))
  // Whoever fails before does not wait for it.
  for (const answer of asked.values()) answer.catch(() => {})
  return {
    async untrack(path) {
      const git = await project.git()
      const early = await asked.get(path)
      const files = early && early.index === indexOf(git) ? early.files : await git.tracked(project.gitPath(path))
      if (files.length > 0) await git.untrack(files)
      return files as RepoPath[]
    },
  }
}

async function ask(project: Project, path: RepoPath): Promise<{ index: string; files: string[] }> {
  const git = await project.git()
  const index = indexOf(git)
  return { index, files: await git.tracked(project.gitPath(path)) }
}

/** What tells git's index from what it was before. */
function indexOf({ place }: Git): string {
  const stats = statSync(join(place.gitDir, 'index'), { throwIfNoEntry: false, bigint: true })
  return stats ? `${stats.ino} ${stats.size} ${stats.mtimeNs}` : 'none'
}
