import type { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ChangeCounts, Entry } from './entry.ts'
import type { StatRow } from './stat-table.ts'

/** A file or link, by its path below what was asked for; '' for a single file. */
export interface DataFile {
  path: string
  kind: 'file' | 'exec' | 'link'
  oid: Oid
  /** bytes */
  size: number
}

/** What one look at a path has seen. */
export interface Look {
  entry(): Promise<Entry>
  /** its files, each with its oid, by path */
  files(): Promise<DataFile[]>
  /** tracked data below a folder that is gone, or not all here though nobody removed it: it counts as what is said here, which is what its pointers say */
  away?: ReadonlyMap<RepoPath, Entry>
  /** tracked data below a folder that is otherwise not what its pointer says */
  edited?: readonly RepoPath[]
}

/** What counts in a folder: see `hash`. */
export interface LookOptions {
  all?: boolean
  also?: readonly RepoPath[]
}

export interface EarlierTree {
  entry: Entry
  /** the files that are new or other ones than there; none of it is gone */
  changes: readonly DataFile[]
}

/** Files of a folder that were collected elsewhere and moved there, by their paths below it: they need not be read again. */
export type MovedFiles = ReadonlyMap<string, StatRow>

/** Takes files from anywhere into the cache, and puts trees together. */
export interface Collector {
  /** Hashes and stores all below a folder (absolute). @throws PATH_UNSUPPORTED, PATH_INVALID, FILE_CHANGED, DISK_FULL */
  collect(folder: string): Promise<DataFile[]>
  /** The tree of files that are stored. @param before an earlier tree, and how these files differ from it: the rest is not made anew */
  tree(files: readonly DataFile[], before?: EarlierTree): Promise<Entry>
  put(bytes: Buffer): Promise<Oid>
  /** Renames a collected file. @throws system errors */
  move(from: string, to: string): void
  /** What is known of collected files where they have been moved to. @param files absolute paths, by what they are below a folder */
  moved(files: ReadonlyMap<string, string>): MovedFiles
  /** Nothing counts as stored before. */
  finish(): Promise<void>
}

/** The workspace's data as pipelines need it. Hashing goes through the stat cache: an unchanged file is never read.
 *  Errors: FILE_UNREADABLE, FILE_CHANGED, PATH_UNSUPPORTED, PATH_INVALID, WORK_UNSAVED, OBJECT_MISSING, DISK_FULL. */
export interface WorkspaceData {
  /** What lies at `path` now, or undefined when nothing does. A folder skips what git ignores (but not what mlv tracks, nor the paths `also`)
   *  unless `all`; .mlvignore always counts. */
  hash(path: RepoPath, options?: LookOptions): Promise<Entry | undefined>
  /** The entry of a file that is known and unchanged by its size, time and inode; undefined says nothing. Reads no file. */
  glance(path: RepoPath): Entry | undefined
  /** What hash looks at, with its files; undefined where nothing lies. */
  look(path: RepoPath, options?: LookOptions): Promise<Look | undefined>
  /** Whether all at `path` is as the last look left it, which found `entry` there: by times alone, in half the time of another look. False says
   *  nothing. */
  isAsSeen(path: RepoPath, entry: Entry): boolean
  /** The files that hash counts, each with its oid; none where nothing lies. */
  files(path: RepoPath, options?: LookOptions): Promise<DataFile[]>
  /** Does not stop for an interrupt. */
  collector(): Promise<Collector>
  /** Nothing else does from now on: what has been made when somebody asked for an end is looked at and kept. */
  settle(): void
  /** The files of a tree in the cache. @throws OBJECT_MISSING, OBJECT_CORRUPT, TREE_INVALID */
  list(tree: Entry): Promise<DataFile[]>
  /** An object of the cache. @throws OBJECT_MISSING, OBJECT_CORRUPT */
  read(oid: Oid): Promise<Buffer>
  /** Like hash with `all`, and every object is in the cache when it returns. One call for many paths costs one flush. Where nothing lies there is no entry. */
  save(paths: RepoPath[]): Promise<Map<RepoPath, Entry>>
  /** Like hash of each path, and every object is in the cache when it returns; they count as no more recorded than before. */
  keep(items: readonly { path: RepoPath; all?: boolean; also?: readonly RepoPath[] }[]): Promise<Map<RepoPath, Entry>>
  /** Makes `path` hold `entry` (from the cache); undefined deletes it. Refuses to lose what no cache has, unless `force`.
   *  @param options `from`: what a look has just found there; only what differs is looked at again   `moved`: files that have been moved there since
   *  @throws WORK_UNSAVED, OBJECT_MISSING */
  place(path: RepoPath, entry: Entry | undefined, options?: { force?: boolean; from?: Entry; moved?: MovedFiles }): Promise<void>
  /** Whether the cache holds every object of it. */
  isCached(entry: Entry): Promise<boolean>
  /** Files that differ; reads tree pages only. undefined when a page is in no cache */
  compare(before: Entry, after: Entry): Promise<ChangeCounts | undefined>
  /** The entry of a tracked path's pointer, for paths that a pointer stands for (also below one: data/train of data.mlv). */
  tracked(path: RepoPath): Promise<Entry | undefined>
  /** What the pointer says of tracked data, or of a part of it, that is not all here, where all that is missing was never here. */
  away(path: RepoPath): Promise<Entry | undefined>
  /** What keeps `add` from recording a path: its pointer has moved on since the path was placed. */
  outdated(path: RepoPath): Promise<MlvError | undefined>
  /** What mlv recorded or placed last at a path that has no pointer of its own. */
  recorded(path: RepoPath): Entry | undefined
  /** Records the data of a pointer that changed by hand, like `mlv add`. */
  add(path: RepoPath): Promise<void>
  /** Puts lines into the .gitignore beside each path. @returns the .gitignore files written */
  ignore(paths: RepoPath[]): Promise<RepoPath[]>
  /** Takes those lines out again. @returns the .gitignore files written */
  unignore(paths: RepoPath[]): Promise<RepoPath[]>
  /** Flushes derived state (stat cache rows) to disk; call at the end. */
  close(): Promise<void>
}
