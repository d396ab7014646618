import { hasCode } from '../base/errors.ts'
import { isOid } from '../base/oid.ts'
import { compareUtf8, parseRepoPath, type RepoPath } from '../base/paths.ts'
import type { Entry } from '../workspace/entry.ts'
import type { LockedParam, LockedVariable } from './lock.ts'

// What mlv.lock and tasks write alike.

/** A fault inside valid JSON, before its line is known. */
export class Fault extends Error {
  readonly keys: (string | number)[]
  constructor(keys: (string | number)[], problem: string) {
    super(problem)
    this.keys = keys
  }
}

export type Raw = Record<string, unknown>

export function asMap(value: unknown, keys: (string | number)[]): Raw {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Raw
  throw new Fault(keys, 'is no object')
}

// Most paths are plain; the full check of names is for the rest.
const PLAIN_PATH = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(?:\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99})*$/

export function asPath(value: unknown, keys: (string | number)[]): RepoPath {
  if (typeof value !== 'string') throw new Fault(keys, 'has no path')
  if (PLAIN_PATH.test(value)) return value as RepoPath
  let path: RepoPath
  try {
    path = parseRepoPath(value, '')
  } catch (error) {
    if (hasCode(error, 'PATH_INVALID')) throw new Fault(keys, `has ${error.message.slice(': '.length)}`)
    throw error
  }
  if (path !== value) throw new Fault(keys, `has the path "${value}", which should be "${path}"`)
  return path
}

export function asAmount(value: unknown, keys: (string | number)[], what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new Fault(keys, `has no whole number of ${what}`)
}

export function asEntry(raw: Raw, keys: (string | number)[]): Entry {
  const { kind, oid } = raw
  if (typeof oid !== 'string' || !isOid(oid)) throw new Fault(keys, 'has no oid of 64 lower-case hex characters')
  const size = asAmount(raw.size, keys, 'bytes')
  if (kind === 'tree') return { kind, oid, size, files: asAmount(raw.files, keys, 'files') }
  if (kind === 'file' || kind === 'exec' || kind === 'link') return { kind, oid, size }
  throw new Fault(keys, 'has no kind: file, exec, link or tree')
}

export function asList<T>(
  stage: Raw,
  section: string,
  keys: (string | number)[],
  read: (raw: Raw, keys: (string | number)[]) => T,
): T[] {
  const value = stage[section]
  if (value === undefined) return []
  if (!Array.isArray(value)) throw new Fault([...keys, section], 'is no list')
  return value.map((item, index) => {
    const place = [...keys, section, index]
    return read(asMap(item, place), place)
  })
}

export function sorted<T>(items: T[], nameOf: (item: T) => string, keys: (string | number)[]): T[] {
  const names = items.map(nameOf)
  let ordered = true
  for (let i = 1; i < names.length; i++) if (compareUtf8(names[i - 1]!, names[i]!) >= 0) ordered = false
  if (ordered) return items
  if (new Set(names).size < names.length) throw new Fault(keys, 'names a path twice')
  return [...items].sort((a, b) => compareUtf8(nameOf(a), nameOf(b)))
}

export const paramName = ({ file, key }: { file: string; key: string }) => `${file}\0${key}`

export function readParam(raw: Raw, keys: (string | number)[]): LockedParam {
  if (typeof raw.key !== 'string' || raw.value === undefined) throw new Fault(keys, 'has no key and value')
  return { file: asPath(raw.file, keys), key: raw.key, value: raw.value }
}

export function readVariable(raw: Raw, keys: (string | number)[]): LockedVariable {
  if (typeof raw.name !== 'string' || !(raw.value === null || typeof raw.value === 'string'))
    throw new Fault(keys, 'has no name and value')
  return { name: raw.name, value: raw.value }
}
