import { hasCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { CommitChanges, GitRef } from '../git/git.ts'
import { readGitRoots } from '../git/git-roots.ts'
import { shortId } from '../git/short-id.ts'
import type { Project } from './project.ts'
import { isTargetFile, parseTargets, UNREADABLE_TARGETS } from './selection.ts'
import { readTargets, type Target } from './target.ts'

/** What a pointer or lock file of some commits says of one path. */
export interface Version extends Target {
  /** the pointer or lock file, and git's blob id of its text; undefined for that of the workspace */
  text: { file: string; blob: string } | undefined
}

/** Every version of every tracked path that git still has by any name: refs, stashes, reflogs and indexes of all worktrees; and the workspace's own. */
export interface History {
  versions: Version[]
  /** newest first, no parent before its children */
  commits: CommitChanges[]
  refs: GitRef[]
}

/** Reads all pointers and locks of all commits, each text once. Broken ones are told and passed over. @throws GIT_MISSING, GIT_FAILED */
export async function readHistory(project: Project): Promise<History> {
  const git = await project.git()
  const roots = await readGitRoots(git, project.surroundings.env)
  const { refs, stashes, heads, reflog } = roots
  const from = new Set([...refs.map((ref) => ref.commit), ...stashes, ...heads, ...reflog])
  const commits = from.size > 0 ? await git.logChanges([...from]) : []
  const texts = new Map<string, { file: string; blob: string; revision: string }>()
  const below = project.prefix === '' ? '' : `${project.prefix}/`
  for (const commit of commits)
    for (const { path, blob } of commit.changed) {
      const file = path.slice(below.length)
      if (blob === undefined || !path.startsWith(below) || !isTargetFile(file)) continue
      texts.set(`${path}\0${blob}`, { file, blob, revision: shortId(commit.id) })
    }
  for (const { path, blob } of roots.staged) {
    const file = path.slice(below.length)
    if (path.startsWith(below) && isTargetFile(file)) texts.set(`${path}\0${blob}`, { file, blob, revision: 'the index' })
  }
  const versions: Version[] = []
  for (const target of await readTargets(project, await project.revision(undefined)))
    versions.push({ ...target, text: undefined })
  const blobs = await git.readBlobs(new Set([...texts.values()].map(({ blob }) => blob)))
  for (const { file, blob, revision } of texts.values()) {
    const bytes = blobs.get(blob)
    if (!bytes) continue
    try {
      for (const target of await parseTargets(project, file as RepoPath, { text: Buffer.from(bytes).toString('utf8'), revision }))
        versions.push({ ...target, text: { file, blob } })
    } catch (error) {
      if (!hasCode(error, ...UNREADABLE_TARGETS)) throw error
      project.surroundings.warn(`${error.message}; passed over`)
    }
  }
  return { versions, commits, refs }
}

/** The commits, newest first, in which one of these versions stands. */
export function commitsWith(project: Project, { commits }: History, versions: readonly Version[]): string[] {
  const below = project.prefix === '' ? '' : `${project.prefix}/`
  const wanted = new Map<string, Set<string>>()
  for (const { text } of versions) {
    if (!text) continue
    const file = below + text.file
    wanted.set(file, (wanted.get(file) ?? new Set()).add(text.blob))
  }
  /** per commit the files that stand there in a wanted version; shared with its parent where nothing changed */
  const standing = new Map<string, ReadonlySet<string>>()
  const none: ReadonlySet<string> = new Set()
  const found: string[] = []
  for (const commit of [...commits].reverse()) {
    let files = (commit.parents[0] !== undefined && standing.get(commit.parents[0])) || none
    for (const { path, blob } of commit.changed) {
      const blobs = wanted.get(path)
      if (!blobs) continue
      const next = new Set(files)
      if (blob !== undefined && blobs.has(blob)) next.add(path)
      else next.delete(path)
      files = next
    }
    standing.set(commit.id, files)
    if (files.size > 0) found.push(commit.id)
  }
  return found.reverse()
}
