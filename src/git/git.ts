/** Where a work tree's git data lies. */
export interface GitPlace {
  /** top of the work tree, absolute */
  workTree: string
  /** this worktree's own git folder */
  gitDir: string
  /** the folder all worktrees share: refs, objects, `mlv/` */
  commonDir: string
}

export interface Commit {
  id: string
  parents: string[]
  author: { name: string; email: string /** ms since 1970 */; time: number }
  committer: { name: string; email: string; time: number }
  /** first line of the message */
  subject: string
}

/** A commit with the paths it changed against its first parent (all its files for a root commit). */
export interface CommitChanges extends Commit {
  changed: { path: string /** git's blob id after the commit; undefined when deleted */; blob: string | undefined }[]
}

export interface GitRef {
  /** full name: refs/heads/main, refs/tags/v1, refs/remotes/origin/main */
  name: string
  /** the commit it leads to, tags peeled */
  commit: string
}

export interface GitFile {
  path: string
  blob: string
  /** 100644, 100755, 120000, 160000 */
  mode: string
}

/** All that mlv asks of git. Paths are relative to the work tree's top, POSIX. Commits are full hex ids.
 *  Errors: GIT_FAILED, GIT_SHALLOW, REVISION_UNKNOWN. */
export interface Git {
  readonly place: GitPlace
  /** @returns the commit a name leads to (branch, tag, HEAD~2, @{upstream}, short id), or undefined */
  resolve(revision: string): Promise<string | undefined>
  /** @throws GIT_SHALLOW with the hint `fetch-depth: 0` when history is cut before a merge base is found; undefined when there is none */
  mergeBase(a: string, b: string): Promise<string | undefined>
  /** bytes of a file at a commit; undefined when there is none */
  read(commit: string, path: string): Promise<Uint8Array | undefined>
  /** bytes of many blobs, by git's blob ids, in one process; a missing one is left out */
  readBlobs(blobs: Iterable<string>): Promise<Map<string, Uint8Array>>
  /** git's blob ids of many files at commits, in one process; answers stand in the order of the requests, undefined where there is no file */
  blobsAt(requests: { commit: string; path: string }[]): Promise<(string | undefined)[]>
  /** many commits by their full ids, in one process; a missing one is left out */
  commits(ids: Iterable<string>): Promise<Map<string, Commit>>
  /** files of a commit below `folder` ('' for all) */
  list(commit: string, folder?: string): Promise<GitFile[]>
  /** commits reachable from `from` and not from `not`, newest first (topological) */
  log(from: string[], options?: { not?: string[]; limit?: number; firstParent?: boolean }): Promise<Commit[]>
  /** like log, each with what it changed; `paths` are git pathspecs that limit which changes (not which commits) are listed */
  logChanges(from: string[], options?: { not?: string[]; limit?: number; paths?: string[] }): Promise<CommitChanges[]>
  refs(prefix?: string): Promise<GitRef[]>
  /** short name of the branch HEAD is on, or undefined when detached */
  branch(): Promise<string | undefined>
  isShallow(): Promise<boolean>
  /** a value of git's configuration, e.g. remote.origin.url */
  config(key: string): Promise<string | undefined>
  /** paths of the index at or below `path` */
  tracked(path: string): Promise<string[]>
  /** files of the work tree that git tracks, or would if asked (untracked and not ignored), at or below `path` */
  visible(path: string): Promise<string[]>
  /** takes paths out of the index and leaves the files */
  untrack(paths: string[]): Promise<void>
  /** git add */
  stage(paths: string[]): Promise<void>
  close(): void
}
