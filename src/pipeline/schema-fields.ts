import { MlvError } from '../base/errors.ts'
import { parseRepoPath, type RepoPath } from '../base/paths.ts'
import type { YamlFile } from '../base/yaml.ts'
import {
  type Composite,
  fillTemplate,
  fillText,
  isMapValue,
  isTemplate,
  type Scope,
  TemplateFault,
  valueText,
} from './interpolate.ts'
import type { Place } from './stage.ts'
import { WrittenNumber } from './written-number.ts'

export type Keys = (string | number)[]

/** A value of mlv.yaml and where it stands. `label` names it in messages: `stage "train": deps`. */
export interface Field {
  file: YamlFile
  keys: Keys
  value: unknown
  label: string
  /** where templates below it look up names; undefined where there are none */
  scope: Scope | undefined
  /** the text of a value that a template gave: it may stand where text is wanted, whatever its type */
  text: string | undefined
  /** whether the value came from a template */
  filled: boolean
}

/** What stands below a key, templates filled in. @throws PIPELINE_INVALID when one cannot be */
export function child(field: Field, key: string | number, label: string, composite: Composite = 'never'): Field {
  const { file, scope } = field
  const value = (field.value as Record<string | number, unknown>)[key]
  const made: Field = { file, keys: [...field.keys, key], value, label, scope, text: undefined, filled: false }
  if (typeof value !== 'string' || !scope || !isTemplate(value)) return made
  const filled = filling(made, () => fillTemplate(value, scope, composite))
  made.filled = true
  if (filled instanceof WrittenNumber) made.value = filled.number
  else made.value = filled
  if (!Array.isArray(filled) && !isMapValue(filled)) made.text = valueText(filled)
  return made
}

/** A key of a mapping, templates filled in. @throws PIPELINE_INVALID when one cannot be */
export function keyText(field: Field, key: string): string {
  return field.scope && isTemplate(key) ? filling(field, () => fillText(key, field.scope!)) : key
}

/** Gives a fault of a template its place. @throws PIPELINE_INVALID */
export function filling<T>(field: Field, fill: () => T): T {
  try {
    return fill()
  } catch (error) {
    if (error instanceof TemplateFault) throw invalid(field, error.message, error.hint)
    throw error
  }
}

/** `mlv.yaml:12:5` without its file. */
function placeIn(where: string): Place {
  const cut = where.lastIndexOf(':', where.lastIndexOf(':') - 1)
  return cut < 0 ? '' : where.slice(cut + 1)
}

export function placeOf(field: Field): Place {
  return placeIn(field.file.at(...field.keys))
}

export function placeOfKey(field: Field): Place {
  return placeIn(field.file.atKey(...field.keys))
}

export function invalid(field: Field, problem: string, hint: string): MlvError {
  return new MlvError('PIPELINE_INVALID', `${field.file.at(...field.keys)}: ${field.label} ${problem}`, { hint })
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  return typeof value === 'string' ? 'text' : `the ${typeof value} ${String(value)}`
}

function wrong(field: Field, expected: string, shown: string): MlvError {
  const isPlain = typeof field.value === 'number' || typeof field.value === 'boolean'
  const hint = isPlain && expected === 'text' ? 'Put it in quotes.' : `Write it like this: ${shown}`
  return invalid(field, `is ${kindOf(field.value)}, not ${expected}`, hint)
}

/** @throws PIPELINE_INVALID */
export function readMapping(field: Field, shown: string): Record<string, unknown> {
  const { value } = field
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw wrong(field, 'a mapping', shown)
}

/** @throws PIPELINE_INVALID */
export function readText(field: Field, shown: string): string {
  const value = field.text ?? field.value
  if (typeof value !== 'string') throw wrong(field, 'text', shown)
  if (value.trim() === '') throw invalid(field, 'is empty', `Write it like this: ${shown}`)
  if (value.includes('\0')) throw invalid(field, 'holds a NUL', 'Take it out.')
  return value
}

/** The items of a list; none when the key is absent or empty. @throws PIPELINE_INVALID */
export function readList(field: Field, shown: string, composite: Composite = 'never'): Field[] {
  if (field.value === undefined || field.value === null) return []
  if (!Array.isArray(field.value)) throw wrong(field, 'a list', shown)
  return field.value.map((_item, index) => child(field, index, `${field.label} item ${index + 1}`, composite))
}

/** @throws PIPELINE_INVALID */
export function readFlag(field: Field): boolean {
  if (field.value === undefined) return false
  if (typeof field.value === 'boolean') return field.value
  throw invalid(field, `is ${kindOf(field.value)}, not true or false`, 'Write true or false.')
}

const UNITS: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1 }

/** Seconds from `90`, `90s`, `30m`, `1h30m` or `2d`. @throws PIPELINE_INVALID */
export function readDuration(field: Field): number | undefined {
  const { value } = field
  if (value === undefined) return undefined
  const text = typeof value === 'number' ? `${value}s` : typeof value === 'string' ? value.replaceAll(' ', '') : ''
  let seconds = 0
  for (const part of text.matchAll(/([0-9.]+)([dhms])/g)) seconds += Number(part[1]) * UNITS[part[2]!]!
  // Timers of Node hold at most 2^31 ms; a longer limit is none.
  if (/^([0-9]+(\.[0-9]+)?[dhms])+$/.test(text) && seconds > 0 && seconds < 2_147_483) return seconds
  throw invalid(field, `is no time between a moment and 24 days: ${JSON.stringify(value)}`, 'Write for example 90s, 30m, 1h30m.')
}

/** @throws PIPELINE_INVALID */
export function readCount(field: Field, most: number): number {
  const { value } = field
  if (value === undefined) return 0
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return value
  throw invalid(field, `is no whole number from 0 to ${most}: ${JSON.stringify(value)}`, 'Write for example 2.')
}

/** A path written relative to the stage's folder, made relative to the project. `..` may lead out of that folder, never out of the project.
 *  @throws PATH_INVALID */
export function resolvePath(field: Field, text: string, wdir: RepoPath): RepoPath {
  const where = `${field.file.at(...field.keys)}: ${field.label}`
  const outside = (problem: string) =>
    new MlvError('PATH_INVALID', `${where}: the path "${text}" ${problem}`, {
      hint: 'Paths are relative to the stage and stay inside the project.',
    })
  if (/^([/\\]|[A-Za-z]:[\\/])/.test(text)) throw outside('is absolute')
  const folder = wdir === '' ? [] : wdir.split('/')
  const rest = text.replace(/\/+$/, '').split('/')
  while (rest[0] === '.' || rest[0] === '..') {
    if (rest.shift() === '..' && folder.pop() === undefined) throw outside('leads out of the project')
  }
  if (rest.includes('..')) throw outside('has ".." inside')
  const path = [...folder, ...rest.filter((segment) => segment !== '' && segment !== '.')].join('/')
  if (path === '') throw outside('is the whole project')
  return parseRepoPath(path, where)
}
