import { isAbsolute, relative, sep } from 'node:path'
import { type ErrorCode, hasCode, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'

/** Data that was taken from another repository. */
export interface RepositorySource {
  /** a url or a folder; a relative one starts at the project's root */
  repo: string
  /** below the top of that repository or folder */
  path: string
  /** the branch, tag or commit that `mlv update` follows; HEAD when not given */
  rev?: string
  /** the commit it was taken from */
  commit: string
}

/** Data that was taken from a bucket or a web server. */
export interface UrlSource {
  url: string
  /** of a file: what the server called this version */
  etag?: string
  modified?: string
  /** of a file in a bucket that keeps versions */
  version?: string
  /** of a folder: the SHA-256 of its listing */
  listing?: string
  /** of a folder: the object that says what each of its files was when it was taken */
  files?: string
  /** settings of the bucket, with the keys they have in config files */
  endpoint?: string
  region?: string
  profile?: string
  path_style?: boolean
  /** the bytes stay where they are, and the stores refer to them */
  in_place?: boolean
}

export type Source = RepositorySource | UrlSource

const TEXTS = [
  'repo',
  'path',
  'rev',
  'commit',
  'url',
  'etag',
  'modified',
  'version',
  'listing',
  'files',
  'endpoint',
  'region',
  'profile',
]
const SWITCHES = ['path_style', 'in_place']
/** What changes when the data does. */
const VERSIONS = ['commit', 'etag', 'modified', 'version', 'listing', 'files']

/** Reads a pointer's `source`. @param where the pointer, for messages   @throws POINTER_INVALID */
export function parseSource(value: Record<string, unknown>, where: string): Source {
  const fail = (what: string) =>
    new MlvError('POINTER_INVALID', `${where}: ${what}`, {
      hint: 'Import the data again with --force, or restore the pointer from git.',
    })
  for (const key of TEXTS)
    if (value[key] !== undefined && typeof value[key] !== 'string') throw fail(`source.${key} is not a text`)
  for (const key of SWITCHES)
    if (value[key] !== undefined && typeof value[key] !== 'boolean') throw fail(`source.${key} is not true or false`)
  const isRepository = value.repo !== undefined
  if (isRepository === (value.url !== undefined)) throw fail('source needs either a repo or a url')
  if (!isRepository) return value as unknown as UrlSource
  if (value.path === undefined || value.commit === undefined) throw fail('source lacks its path or commit')
  return value as unknown as RepositorySource
}

/** A source as a pointer keeps it: keys in their order, without those that say nothing. */
export function keptSource(source: Source): Record<string, unknown> {
  const keys = [...TEXTS, ...SWITCHES] as (keyof Source)[]
  return Object.fromEntries(keys.flatMap((key) => (source[key] === undefined ? [] : [[key, source[key]]])))
}

/** Whether two imports follow the same place, at whatever version. */
export function followSame(one: Source, other: Source): boolean {
  const place = (source: Source) => JSON.stringify(Object.entries(keptSource(source)).filter(([key]) => !VERSIONS.includes(key)))
  return place(one) === place(other)
}

/** What a relative folder typed at `cwd` is called from the project's root; others stay as typed. */
export function keptFolder(typed: string, folder: string, root: string): string {
  if (isAbsolute(typed)) return typed
  return relative(root, folder).split(sep).join('/') || '.'
}

/** The error of an update, which names whose source it is; others than those of the given codes stay as they are. */
export function ofSource(path: RepoPath, error: unknown, codes: readonly ErrorCode[]): unknown {
  if (!hasCode(error, ...codes)) return error
  return new MlvError(error.code, `The source of ${path}: ${error.message}`, { hint: error.hint, cause: error })
}
