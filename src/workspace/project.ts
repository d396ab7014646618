import type { RepoPath } from '../base/paths.ts'
import type { Progress } from '../base/progress.ts'
import type { Git, GitPlace } from '../git/git.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Purpose } from '../store/open-store.ts'
import type { Config } from './config.ts'
import type { Revision } from './revision.ts'
import type { Target } from './target.ts'

/** What the process hands in; nothing below reads globals. */
export interface Surroundings {
  cwd: string
  env: Record<string, string | undefined>
  progress: Progress
  /** one line for the user, on stderr */
  warn: (line: string) => void
  /** seconds to wait for the lock; the config's when undefined */
  lockTimeout?: number
  /** the command as typed, for the lock file */
  command: string
  signal?: AbortSignal
}

/** A project opened once: its root, its config, and what is opened on first use. */
export interface Project {
  /** absolute folder that holds .mlv/config */
  readonly root: string
  readonly place: GitPlace
  /** the root relative to the work tree's top: '' or 'sub/dir' */
  readonly prefix: string
  readonly config: Config
  readonly surroundings: Surroundings
  /** absolute; this worktree's derived state, may vanish at any time */
  readonly stateDir: string
  /** absolute: .git/mlv, shared by all worktrees */
  readonly homeDir: string
  git(): Promise<Git>
  /** The store on this machine; for writing (the default) it is made when absent. */
  cache(purpose?: Purpose): Promise<ObjectStore>
  /** The named remote or the default one; for reading (the default) an absent store is empty.
   *  @param limitRate bytes per second that pass at most, for all remotes together; the config's when undefined
   *  @throws REMOTE_UNKNOWN, REMOTE_MISSING (none configured) */
  remote(name?: string, purpose?: Purpose, limitRate?: number): Promise<{ name: string; store: ObjectStore }>
  /** the workspace, or the commit a name leads to @throws REVISION_UNKNOWN */
  revision(name: string | undefined): Promise<Revision>
  /** a path as git sees it */
  gitPath(path: RepoPath): string
  /** runs `work` while holding the project's lock @throws LOCK_HELD */
  locked<T>(work: () => Promise<T>): Promise<T>
  /** the data outs that a lock's text names, and when asked also those of stages that git keeps whole; handed in, because the lock is the pipeline's */
  lockOuts?: (text: string, also?: 'git') => Promise<Omit<Target, 'origin'>[]>
  /** Merges the small indexes of the stores that were written to. For after a command's output: nothing depends on it, and
   *  it does not fail as stores do. */
  mergeIndexes(): Promise<void>
  /** gives back handles, flushes state */
  close(): Promise<void>
}
