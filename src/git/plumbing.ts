import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import type { GitPlace } from './git.ts'

/** Commits whose parents a shallow clone left out; empty in a whole one. */
export function readShallow(place: GitPlace): Set<string> {
  const path = join(place.commonDir, 'shallow')
  try {
    return new Set(readFileSync(path, 'utf8').split('\n').filter(Boolean))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return new Set()
    throw fileError(error, 'reading', path)
  }
}

export function shallowError(a: string, b: string): MlvError {
  return new MlvError('GIT_SHALLOW', `This clone is shallow: its history ends before a merge base of ${a} and ${b}`, {
    hint: 'Run "git fetch --unshallow", or set "fetch-depth: 0" for actions/checkout in CI.',
  })
}

/** What the text of a HEAD file says: a branch's short name, undefined when detached, 'elsewhere' where refs are not kept in files. */
export function headBranch(text: string): string | undefined | 'elsewhere' {
  const target = /^ref: (.+?)\s*$/.exec(text)?.[1]
  if (target === undefined) return undefined
  if (target === 'refs/heads/.invalid') return 'elsewhere'
  return target.replace(/^refs\/heads\//, '')
}

/** @throws GIT_FAILED for a text that is no name of a git setting, and could be read as an option */
export function checkKey(key: string): string {
  if (/^[A-Za-z][A-Za-z0-9-]*\.(?:[^\n\0]*\.)?[A-Za-z][A-Za-z0-9-]*$/.test(key)) return key
  throw new MlvError('GIT_FAILED', `"${key}" is no name of a git setting`, { hint: 'Names look like remote.origin.url.' })
}
