import type { RepoPath } from '../base/paths.ts'

/** How an MD5 was computed: DVC 2 left the returns of text files out. */
export type DvcHash = 'md5' | 'md5-dos2unix'

/** One file of a folder, as a `.dir` object or a `files` list names it. */
export interface DvcEntry {
  /** below the folder */
  path: string
  md5: string
}

/** What DVC says of a path: of a .dvc file's out, or a dep or out in dvc.lock. */
export interface DvcData {
  path: RepoPath
  /** 32 hex characters; of a folder, that of its list; undefined where `files` alone tells */
  md5: string | undefined
  hash: DvcHash
  folder: boolean
  /** set for folders whose list stands in the file itself */
  files?: DvcEntry[]
  size?: number
  exec: boolean
  /** `data.dvc:3:5`, for messages */
  at: string
}

/** What of DVC has no counterpart, or is left as it is. */
export interface Leftover {
  /** `dvc.yaml:12:3`, or a file */
  at: string
  /** one sentence */
  what: string
}

/** The name an object has in messages. */
export function objectName(data: Pick<DvcData, 'md5' | 'folder'>): string {
  return `${data.md5 ?? '(no md5)'}${data.folder ? '.dir' : ''}`
}
