/** What a program sees of mlv. Nothing here names a type of mlv's inside, so that the inside can change. */

export interface OpenOptions {
  /** in place of process.env */
  env?: Record<string, string | undefined>
  /** told what the command line would print as a warning; ignored when not given */
  onWarning?: (line: string) => void
  /** seconds to wait for another mlv; the project's setting when not given */
  lockTimeout?: number
}

/** One tracked path, or one file or folder in it. */
export interface ListedPath {
  /** relative to the project's root */
  path: string
  /** `folder`: one of git's, that holds tracked paths */
  kind: 'file' | 'exec' | 'link' | 'tree' | 'folder'
  /** bytes */
  size: number
  /** files below, of a tree or folder */
  files?: number
  /** SHA-256 of the bytes, or of the tree's root page */
  oid?: string
}

export interface ChangedFile {
  path: string
  kind: 'added' | 'deleted' | 'modified' | 'renamed' | 'absent'
}

export interface PathStatus {
  path: string
  /** a pointer stands for it, or it is a stage's out */
  origin: 'pointer' | 'stage'
  /** as `mlv status` calls it: unchanged, modified, outdated, diverged, absent, deleted */
  state: string
  /** files that differ; undefined when no list of them is in the cache */
  changes: ChangedFile[] | undefined
  /** the version that the pointer names is not, or not whole, in the cache */
  uncached: boolean
}

export interface AddOptions {
  /** record what is here even where the pointer has moved on */
  force?: boolean
  desc?: string
  labels?: string[]
}

export interface AddResult {
  added: { path: string; oid: string; size: number; changed: boolean }[]
  /** files to commit */
  written: string[]
}

export interface TransferOptions {
  /** only these */
  paths?: string[]
  /** another remote than the default one */
  remote?: string
  /** these instead of the workspace (and, of a push, the commits not yet upstream) */
  revisions?: string[]
  allBranches?: boolean
  allTags?: boolean
  allCommits?: boolean
  /** transfers at once */
  jobs?: number
}

export interface TransferResult {
  remote: string
  objects: number
  bytes: number
  /** versions that neither side has whole. Nothing is thrown for them: the rest has been transferred. */
  missing: { path: string; revision: string; oid: string; size: number }[]
  /** versions of which something was deleted on purpose: it comes back from nowhere */
  purged: { path: string; revision: string; oid: string; size: number }[]
}

/** A value of a params or metrics file. */
export type Value = string | number | boolean | null | Value[]

/** Values by file, then by dotted key. */
export type Values = Record<string, Record<string, Value>>

/** A project opened by a program. Paths are relative to its root. Each call sees what is on disk when it is made. */
export interface Project {
  /** absolute */
  readonly root: string
  status(paths?: string[]): Promise<PathStatus[]>
  add(paths: string[], options?: AddOptions): Promise<AddResult>
  push(options?: TransferOptions): Promise<TransferResult>
  /** gets into the cache what it lacks */
  fetch(options?: TransferOptions): Promise<TransferResult>
  /** fetches, and puts files into the workspace */
  pull(options?: TransferOptions & { force?: boolean }): Promise<TransferResult>
  /** What is tracked at a path of a revision (the workspace when none is named), level by level or every file below. */
  list(path?: string, options?: { revision?: string; recursive?: boolean }): Promise<ListedPath[]>
  /** A file of a revision, whether mlv or git keeps it; from the cache, else from the remote. */
  read(path: string, options?: { revision?: string }): Promise<Uint8Array>
  /** The same in pieces, for files of any size. The last piece is followed by an error when the whole is not what it should be. */
  stream(path: string, options?: { revision?: string }): AsyncGenerator<Uint8Array>
  /** Metrics of a revision, the workspace when none is named. */
  metrics(revision?: string): Promise<Values>
  params(revision?: string): Promise<Values>
  close(): Promise<void>
}

/** Finds the project around a folder, the current one when none is given. Failures are MlvErrors with a code and a hint. */
export type OpenProject = (folder?: string, options?: OpenOptions) => Promise<Project>
