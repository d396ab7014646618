import { hasCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { shortId } from '../git/short-id.ts'
import { resolveCommit } from './open-revision.ts'
import { POINTER_SUFFIX, parsePointer } from './pointer.ts'
import type { Project } from './project.ts'
import { pointerTargets, readTargets, type Target } from './target.ts'

/** Which revisions' data a transfer takes. */
export interface Selection {
  /** tips of all branches */
  allBranches?: boolean
  /** all tags */
  allTags?: boolean
  /** every commit of every branch and tag */
  allCommits?: boolean
  revisions?: string[]
  /** the workspace beside the revisions that are named */
  workspace?: boolean
  /** commits not yet upstream, as push takes them unless told otherwise */
  unpushed?: boolean
  /** commits reachable from `from` and not from `not`, by what they changed */
  range?: { from: string[]; not: string[] }
  /** also what imports took, which may be nowhere, and outs that git keeps */
  sources?: boolean
}

/** Whether others than the workspace's version were asked for. */
export function namesRevisions(selection: Selection): boolean {
  return Boolean(selection.allBranches || selection.allTags || selection.allCommits || selection.revisions?.length)
}

/** A target with the commits' names it was found at, for messages. */
export interface SelectedTarget extends Target {
  revision: string
}

/** What a pointer or lock of an old commit may be; it says nothing about the others. */
export const UNREADABLE_TARGETS = ['POINTER_INVALID', 'POINTER_CONFLICT', 'LOCK_INVALID', 'YAML_INVALID', 'PATH_INVALID'] as const

/** Whether a file of the project may name data: a pointer or a lock. */
export function isTargetFile(path: string): boolean {
  return path.endsWith(POINTER_SUFFIX) || path === 'mlv.lock' || path.endsWith('/mlv.lock')
}

/** Reads the targets of the selected revisions: the workspace when no revision is named, beside unpushed commits, or where it is asked for.
 *  A broken pointer in an old commit is told and passed over. @throws REVISION_UNKNOWN */
export async function selectRevisions(project: Project, selection: Selection): Promise<SelectedTarget[]> {
  const named =
    selection.allBranches ||
    selection.allTags ||
    selection.allCommits ||
    (selection.revisions?.length ?? 0) > 0 ||
    selection.range !== undefined
  const found: SelectedTarget[] = []
  const find = (target: Target, revision: string) => {
    if (selection.sources || !target.derived || (target.origin === 'stage' && !target.git)) found.push({ ...target, revision })
  }
  if (!named || selection.workspace)
    for (const target of await readTargets(project, await project.revision(undefined), true)) find(target, 'workspace')
  if (!named && !selection.unpushed) return found
  const git = await project.git()
  const blobs = new Map<string, { path: string; revision: string }>()
  const keep = (path: string, blob: string | undefined, revision: string) => {
    const inside =
      project.prefix === '' ? path : path.startsWith(`${project.prefix}/`) ? path.slice(project.prefix.length + 1) : undefined
    // One text at two paths means two paths of one object: the object is what counts.
    if (inside !== undefined && blob !== undefined && isTargetFile(inside) && !blobs.has(blob))
      blobs.set(blob, { path: inside, revision })
  }
  const tips: { name: string; commit: string }[] = []
  for (const name of selection.revisions ?? []) tips.push({ name, commit: await resolveCommit(git, name) })
  if (selection.allBranches)
    for (const ref of await git.refs('refs/heads/')) tips.push({ name: ref.name.slice(11), commit: ref.commit })
  if (selection.allTags)
    for (const ref of await git.refs('refs/tags/')) tips.push({ name: ref.name.slice(10), commit: ref.commit })
  for (const { name, commit } of tips) for (const file of await git.list(commit)) keep(file.path, file.blob, name)
  if (selection.allCommits) {
    const refs = [...(await git.refs('refs/heads/')), ...(await git.refs('refs/tags/')), ...(await git.refs('refs/remotes/'))]
    const head = await git.resolve('HEAD')
    const from = [...new Set([...refs.map((ref) => ref.commit), ...(head ? [head] : [])])]
    for (const commit of await git.logChanges(from))
      for (const change of commit.changed) keep(change.path, change.blob, shortId(commit.id))
  } else if (selection.range) {
    const { from, not } = selection.range
    for (const commit of await git.logChanges(from, { not }))
      for (const change of commit.changed) keep(change.path, change.blob, shortId(commit.id))
  } else if (selection.unpushed && !named) {
    const head = await git.resolve('HEAD')
    if (head) {
      const upstream = await git.resolve('@{upstream}')
      const not = upstream ? [upstream] : (await git.refs('refs/remotes/')).map((ref) => ref.commit)
      for (const commit of await git.logChanges([head], { not }))
        for (const change of commit.changed) keep(change.path, change.blob, shortId(commit.id))
    }
  }
  const texts = await git.readBlobs(blobs.keys())
  for (const [blob, { path, revision }] of blobs) {
    const bytes = texts.get(blob)
    if (!bytes) continue
    try {
      for (const target of await parseTargets(
        project,
        path as RepoPath,
        { text: Buffer.from(bytes).toString('utf8'), revision },
        true,
      ))
        find(target, revision)
    } catch (error) {
      if (!hasCode(error, ...UNREADABLE_TARGETS)) throw error
      project.surroundings.warn(`${error.message}; passed over`)
    }
  }
  return found
}

/** What the text of a pointer or lock names. @param derived also what pointers name beside their data   @throws what UNREADABLE_TARGETS lists */
export async function parseTargets(
  project: Project,
  path: RepoPath,
  { text, revision }: { text: string; revision: string },
  derived = false,
): Promise<Target[]> {
  if (!path.endsWith(POINTER_SUFFIX)) {
    const outs = project.lockOuts ? await project.lockOuts(text, derived ? 'git' : undefined) : []
    return outs.map((out) => ({ ...out, origin: 'stage' }))
  }
  return pointerTargets(path, await parsePointer(text, `${revision}:${path}`), derived)
}
