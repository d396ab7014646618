import { existsSync } from 'node:fs'
import { dirname, isAbsolute } from 'node:path'

/** The closed table of error codes, each with the exit status of its family.
 *  2 wrong use · 3 not set up · 4 conflict with the user's work · 5 missing data · 6 corrupt data · 7 remote and network
 *  8 a stage failed · 9 this machine (disk, permissions, locks) · 70 a bug */
const EXIT_STATUS = {
  USAGE: 2,
  PATH_INVALID: 2,
  PATH_MISSING: 2,
  PATH_UNSUPPORTED: 2,
  REVISION_UNKNOWN: 2,
  STAGE_UNKNOWN: 2,
  REMOTE_UNKNOWN: 2,
  CONFIG_INVALID: 2,
  SECRET_REFUSED: 2,
  POINTER_INVALID: 2,
  POINTER_CONFLICT: 2,
  PIPELINE_INVALID: 2,
  LOCK_INVALID: 2,
  TASK_INVALID: 2,
  DVC_INVALID: 2,
  PARAMS_INVALID: 2,
  METRICS_INVALID: 2,
  YAML_INVALID: 2,
  OBJECT_TOO_LARGE: 2,
  GIT_MISSING: 3,
  GIT_SHALLOW: 3,
  GIT_FAILED: 3,
  CLONE_STALE: 3,
  PROJECT_MISSING: 3,
  REMOTE_MISSING: 3,
  PATH_OVERLAP: 4,
  PATH_TRACKED: 4,
  HOOK_FOREIGN: 4,
  BRANCH_IN_USE: 4,
  BRANCH_MOVED: 4,
  WORK_UNSAVED: 4,
  PROJECTS_UNCOUNTED: 4,
  WORKSPACE_OUTDATED: 4,
  FILE_CHANGED: 4,
  OBJECT_MISSING: 5,
  BLOB_MISSING: 5,
  OBJECT_PURGED: 5,
  OBJECT_CORRUPT: 6,
  TREE_INVALID: 6,
  PACK_CORRUPT: 6,
  INDEX_CORRUPT: 6,
  STORE_INVALID: 6,
  STORE_TOO_NEW: 6,
  REMOTE_DENIED: 7,
  REMOTE_FAILED: 7,
  REMOTE_UNREACHABLE: 7,
  MLFLOW_FAILED: 7,
  STAGE_FAILED: 8,
  DISK_FULL: 9,
  FILE_UNREADABLE: 9,
  FILE_UNWRITABLE: 9,
  LOCK_HELD: 9,
  INTERRUPTED: 130,
} as const

export type ErrorCode = keyof typeof EXIT_STATUS

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(EXIT_STATUS, text)
}

export interface ErrorDetails {
  /** What to do next, as a sentence that names a command where there is one. */
  hint?: string
  cause?: unknown
}

/** Every failure a user can meet. The message says what and where, the hint what to do next. */
export class MlvError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'MlvError'
    this.code = code
    this.hint = details.hint
  }
}

/** @returns the exit status of an error's family; 70 for anything that is not ours. */
export function exitStatus(error: unknown): number {
  return error instanceof MlvError ? EXIT_STATUS[error.code] : 70
}

export function hasCode(error: unknown, ...codes: ErrorCode[]): error is MlvError {
  return error instanceof MlvError && codes.includes(error.code)
}

/** @returns the `code` of a Node system error such as `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/** Turns a failed file operation into words: full disk, no permission, a folder for a file. Other errors come back as they are. */
export function fileError(error: unknown, doing: string, path: string): unknown {
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new MlvError('DISK_FULL', `The disk is full: ${doing} ${path}`, {
        hint: 'Free some space, or move the cache with "mlv config set cache.dir DIR --local", then run the command again.',
        cause: error,
      })
    case 'EACCES':
    case 'EPERM':
      return new MlvError(doing.startsWith('read') ? 'FILE_UNREADABLE' : 'FILE_UNWRITABLE', `No permission: ${doing} ${path}`, {
        hint: `Check its owner and mode with "${lookCommand(path)}".`,
        cause: error,
      })
    case 'EROFS':
      return new MlvError('FILE_UNWRITABLE', `Read-only file system: ${doing} ${path}`, {
        hint: 'Mount it writable, or work in another folder.',
        cause: error,
      })
    case 'ENOENT':
      return new MlvError('PATH_MISSING', `No such file or folder: ${path}`, { hint: 'Check the path with "ls".', cause: error })
    case 'EIO':
      return new MlvError('FILE_UNREADABLE', `The disk reports an error: ${doing} ${path}`, {
        hint: 'Check the disk, then run the command again.',
        cause: error,
      })
    case 'EISDIR':
    case 'ENOTDIR':
      return inTheWay(error, doing, path)
    default:
      return error
  }
}

/** A file that cannot be made is its folder's fault, and so is that of one that had no name yet, which is removed once it has failed. */
function lookCommand(path: string): string {
  const isUnnamed = /\/(\.mlv-tmp-[^/]*|tmp\/\d+-[0-9a-f]{8}-[^/]*)$/.test(path)
  if (!isAbsolute(path) || (existsSync(path) && !isUnnamed)) return `ls -l ${path}`
  let folder = dirname(path)
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder)
  return `ls -ld ${folder}`
}

export function inTheWay(cause: unknown, doing: string, path: string): MlvError {
  return new MlvError(
    doing.startsWith('read') ? 'FILE_UNREADABLE' : 'FILE_UNWRITABLE',
    `A file stands where a folder should be, or a folder where a file should be: ${doing} ${path}`,
    { hint: 'Move it away, or name another folder in the configuration.', cause },
  )
}
