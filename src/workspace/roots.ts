import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { CommitChanges, Git, GitPlace } from '../git/git.ts'
import { type GitRoots, readGitRoots } from '../git/git-roots.ts'
import { findGit } from '../git/place.ts'
import { shortId } from '../git/short-id.ts'
import type { Entry } from './entry.ts'
import { POINTER_SUFFIX, parsePointer } from './pointer.ts'
import type { Project } from './project.ts'
import { pointerTargets } from './target.ts'

/** What is to stay besides what is staged, stashed or in a work tree. */
export interface KeepRule {
  /** the tips of branches, those of git's remotes included */
  branches: boolean
  /** the commits of tags */
  tags: boolean
  /** commits made after this, in ms since 1970 */
  since: number | undefined
}

/** A version of a path's data that a clone refers to. */
export interface DataRoot {
  path: string
  entry: Entry
  /** the commit it was found at, or where else */
  where: string
}

export interface CloneRoots {
  kept: DataRoot[]
  /** oids in texts that are broken, e.g. by merge markers: what they stand for is unknown, so they count as everything they may be */
  guessed: Set<Oid>
  /** data of the work trees as they are now, part of `kept` */
  workspace: DataRoot[]
  /** versions that only commits refer to which are not kept, newest first */
  dropped: (DataRoot & { commit: { id: string; subject: string } })[]
  isShallow: boolean
}

export interface CloneSource {
  git: Git
  env: Record<string, string | undefined>
  lockOuts: Project['lockOuts']
  /** opens git for another work tree of the clone */
  openGit(place: GitPlace): Promise<Git>
  /** commits that git's remotes have, as far as this clone has them */
  remoteCommits: readonly string[]
}

/** What a pointer or lock may be when it cannot be read as one. */
const BROKEN = ['POINTER_INVALID', 'POINTER_CONFLICT', 'LOCK_INVALID', 'YAML_INVALID', 'PATH_INVALID'] as const
const PATHSPECS = [':(top,glob)**/*.mlv', ':(top,glob)**/mlv.lock']
/** Texts read at once: locks of long pipelines take megabytes each. */
const BATCH = 64

function isRootFile(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return (name.endsWith(POINTER_SUFFIX) && name !== POINTER_SUFFIX) || name === 'mlv.lock'
}

/** Reads every pointer and lock that a clone reaches, in all its projects and work trees.
 *  @param keep undefined: of all history   @throws GIT_MISSING, GIT_FAILED, FILE_UNREADABLE */
export async function readCloneRoots(source: CloneSource, keep: KeepRule | undefined): Promise<CloneRoots> {
  const { git } = source
  const roots = await readGitRoots(git, source.env)
  const result: CloneRoots = { kept: [], guessed: new Set(), workspace: [], dropped: [], isShallow: await git.isShallow() }
  const keptBlobs = new Map<string, { path: string; where: string }>()
  const keepBlob = (path: string, blob: string | undefined, where: string) => {
    if (blob !== undefined && isRootFile(path) && !keptBlobs.has(blob)) keptBlobs.set(blob, { path, where })
  }
  const keepTree = async (commit: string, where: string) => {
    for (const { path, blob } of await git.list(commit)) keepBlob(path, blob, where)
  }
  for (const { path, blob } of roots.staged) keepBlob(path, blob, 'staged')
  for (const stash of roots.stashes) await keepStash(git, stash, keepTree)
  const tips = [
    ...new Set([...roots.refs.map(({ commit }) => commit), ...roots.heads, ...roots.stashes, ...source.remoteCommits]),
  ]
  const history = await git.logChanges(tips, { paths: PATHSPECS })
  if (keep) await keepNarrowly(history, { roots, keep, keepBlob, keepTree })
  else for (const commit of history) for (const { path, blob } of commit.changed) keepBlob(path, blob, nameOfCommit(commit))
  await readTexts(git, keptBlobs, source.lockOuts, (root) => result.kept.push(root), result.guessed)

  for (const worktree of roots.worktrees)
    for await (const { path, text } of readWorktree(source, worktree))
      result.workspace.push(
        ...(await readRoots(path, text, { where: worktree, lockOuts: source.lockOuts, guessed: result.guessed })),
      )
  result.kept.push(...result.workspace)

  const forgotten = await git.logChanges(roots.reflog, { not: tips, paths: PATHSPECS })
  await readDropped(git, [...forgotten, ...(keep ? history : [])], keptBlobs, source, result)
  return result
}

function nameOfCommit({ id, subject }: { id: string; subject: string }): string {
  return `${shortId(id)} ${subject}`
}

/** A stash is a merge of what was staged and what lay in the work tree, and perhaps of what git did not know. */
async function keepStash(git: Git, stash: string, keepTree: (commit: string, where: string) => Promise<void>): Promise<void> {
  const commit = (await git.commits([stash])).get(stash)
  for (const id of [stash, ...(commit?.parents.slice(1) ?? [])]) await keepTree(id, 'stash')
}

async function keepNarrowly(
  history: CommitChanges[],
  how: {
    roots: GitRoots
    keep: KeepRule
    keepBlob: (path: string, blob: string | undefined, where: string) => void
    keepTree: (commit: string, where: string) => Promise<void>
  },
): Promise<void> {
  const { keep, keepBlob, keepTree } = how
  for (const { name, commit } of how.roots.refs) {
    const isBranch = name.startsWith('refs/heads/') || name.startsWith('refs/remotes/')
    if ((keep.branches && isBranch) || (keep.tags && name.startsWith('refs/tags/'))) await keepTree(commit, name)
  }
  const { since } = keep
  if (since === undefined) return
  const young = new Set(history.filter(({ committer }) => committer.time >= since).map(({ id }) => id))
  for (const commit of history) {
    if (!young.has(commit.id)) continue
    for (const { path, blob } of commit.changed) keepBlob(path, blob, nameOfCommit(commit))
    // What it did not change it has from its parent; a parent that is kept tells that itself.
    if (commit.parents.length > 0 && !young.has(commit.parents[0]!)) await keepTree(commit.id, nameOfCommit(commit))
  }
}

async function readTexts(
  git: Git,
  blobs: ReadonlyMap<string, { path: string; where: string }>,
  lockOuts: Project['lockOuts'],
  each: (root: DataRoot) => void,
  guessed: Set<Oid>,
): Promise<void> {
  const ids = [...blobs.keys()]
  for (let at = 0; at < ids.length; at += BATCH) {
    const texts = await git.readBlobs(ids.slice(at, at + BATCH))
    for (const [blob, bytes] of texts) {
      const { path, where } = blobs.get(blob)!
      for (const root of await readRoots(path, Buffer.from(bytes).toString('utf8'), { where, lockOuts, guessed })) each(root)
    }
  }
}

async function readRoots(
  path: string,
  text: string,
  how: { where: string; lockOuts: Project['lockOuts']; guessed: Set<Oid> },
): Promise<DataRoot[]> {
  try {
    if (path.endsWith(POINTER_SUFFIX))
      return pointerTargets(path as RepoPath, await parsePointer(text, path), true).map((target) => ({
        ...target,
        where: how.where,
      }))
    return ((await how.lockOuts?.(text)) ?? []).map((out) => ({ ...out, where: how.where }))
  } catch (error) {
    if (!hasCode(error, ...BROKEN)) throw error
    for (const word of text.match(/[0-9a-f]{64}/g) ?? []) if (isOid(word)) how.guessed.add(word)
    return []
  }
}

/** Pointers and locks of one work tree as they are on the disk, staged or not. */
async function* readWorktree(source: CloneSource, worktree: string): AsyncGenerator<{ path: string; text: string }> {
  const place = findGit(worktree)
  if (!place) return
  const git = place.workTree === source.git.place.workTree ? source.git : await source.openGit(place)
  try {
    for (const path of await git.visible('')) {
      if (!isRootFile(path)) continue
      const full = join(place.workTree, path)
      try {
        if (lstatSync(full).isFile()) yield { path, text: readFileSync(full, 'utf8') }
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw fileError(error, 'reading', full)
      }
    }
  } finally {
    if (git !== source.git) git.close()
  }
}

async function readDropped(
  git: Git,
  commits: CommitChanges[],
  kept: ReadonlyMap<string, unknown>,
  source: CloneSource,
  result: CloneRoots,
): Promise<void> {
  const blobs = new Map<string, { path: string; where: string }>()
  const by = new Map<string, CommitChanges>()
  for (const commit of commits)
    for (const { path, blob } of commit.changed) {
      if (blob === undefined || !isRootFile(path) || kept.has(blob) || blobs.has(blob)) continue
      blobs.set(blob, { path, where: commit.id })
      by.set(commit.id, commit)
    }
  const nothing = new Set<Oid>()
  const drop = (root: DataRoot) => {
    const { id, subject } = by.get(root.where)!
    result.dropped.push({ ...root, commit: { id, subject } })
  }
  await readTexts(git, blobs, source.lockOuts, drop, nothing)
}
