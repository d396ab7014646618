import { closeSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, systemCode } from '../base/errors.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import { shortId } from '../git/short-id.ts'
import { type Entry, sameEntry } from './entry.ts'
import { commitRevision } from './open-revision.ts'
import { isAsPlaced } from './placed.ts'
import { readHeader } from './stat-table-file.ts'
import { readTargets, type Target } from './target.ts'
import { recordedEntry, type Worktree } from './worktree.ts'

/** Commits whose pointers are looked through for what a leftover once was. */
const MAX_COMMITS = 100

/** Folders and files that mlv recorded or placed in this worktree, by the tables' own headers. */
function recordedPaths(worktree: Worktree): RepoPath[] {
  const folder = join(worktree.project.stateDir, 'stat')
  const paths: RepoPath[] = [...worktree.cache.files().recorded.keys()] as RepoPath[]
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return paths
    throw error
  }
  for (const name of names) {
    if (name === 'files' || name.includes('.')) continue
    const path = headerPath(join(folder, name))
    if (path) paths.push(path)
  }
  return [...new Set(paths)]
}

function headerPath(file: string): RepoPath | undefined {
  const fd = openSync(file, 'r')
  try {
    const start = Buffer.alloc(16)
    readSync(fd, start, 0, 16, 0)
    const header = Buffer.alloc(Math.min(start.readUInt32LE(8), 1 << 20))
    readSync(fd, header, 0, header.length, 16)
    return readHeader(start, header)?.path
  } catch {
    // A broken table names nothing.
    return undefined
  } finally {
    closeSync(fd)
  }
}

/** Paths that hold exactly what mlv placed there for another branch, or the part of it that was pulled, and that nothing tracks any more: after
 *  `git switch` they are in the way, and without their line in .gitignore the next `git add .` would take them. Only what a recent commit's pointer
 *  or lock still names counts, so that its data can be had again. */
export async function findLeftovers(worktree: Worktree, targets: readonly Target[]): Promise<{ path: RepoPath; entry: Entry }[]> {
  const { project } = worktree
  const candidates: { path: RepoPath; entry: Entry }[] = []
  for (const path of recordedPaths(worktree)) {
    if (targets.some((target) => isWithin(target.path, path) || isWithin(path, target.path))) continue
    const entry = recordedEntry(worktree.cache, path)
    if (!entry || !lstatSync(join(project.root, path), { throwIfNoEntry: false })) continue
    if (await isAsPlaced(await worktree.snapshot(path), entry, await project.cache('read'))) candidates.push({ path, entry })
  }
  if (candidates.length === 0) return []
  const git = await project.git()
  const tips = await git.refs('refs/heads/')
  const recent = await Promise.all(['HEAD', 'HEAD@{1}', 'ORIG_HEAD'].map((name) => git.resolve(name)))
  const commits = [...new Set([...recent, ...tips.map((tip) => tip.commit)])]
    .filter((commit) => commit !== undefined)
    .slice(0, MAX_COMMITS)
  const found: typeof candidates = []
  const open = new Set(candidates)
  for (const commit of commits) {
    if (open.size === 0) break
    try {
      for (const target of await readTargets(project, commitRevision(git, project.prefix, commit, shortId(commit))))
        for (const candidate of open)
          if (candidate.path === target.path && sameEntry(candidate.entry, target.entry)) {
            open.delete(candidate)
            found.push(candidate)
          }
    } catch (error) {
      // A broken pointer in some other commit says nothing about this one.
      if (!hasCode(error, 'POINTER_INVALID', 'POINTER_CONFLICT', 'LOCK_INVALID', 'YAML_INVALID', 'PATH_INVALID')) throw error
    }
  }
  return found
}
