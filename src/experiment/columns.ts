import { MlvError } from '../base/errors.ts'
import { PIPELINE_FILE } from '../measure/declared.ts'
import { sameValue, type Value } from '../measure/values.ts'
import type { ExperimentRow } from './history.ts'

/** One param or metric that rows may have. */
export interface Column {
  kind: 'metric' | 'param'
  file: string
  key: string
  /** how people name it: the key, or `file:key` where several files have the key */
  label: string
}

export interface ColumnChoice {
  /** also columns that are equal in all rows */
  all?: boolean
  /** globs over labels; matching columns are shown in any case */
  keep?: string[]
  /** globs over labels; matching columns are hidden */
  drop?: string[]
}

/** @returns the value of a column in a row, or undefined where it has none */
export function cellValue(row: ExperimentRow, column: Column): Value | undefined {
  return (column.kind === 'metric' ? row.metrics : row.params).get(column.file)?.get(column.key)
}

/** Whether the column's file, or the mlv.yaml that names it, could not be read at that row: its value is unknown, not absent. */
export function isBroken(row: ExperimentRow, column: Column): boolean {
  return row.problems.some(({ file }) => file === column.file || file === PIPELINE_FILE)
}

/** All columns of the rows, metrics first, in the order they are met. */
export function listColumns(rows: ExperimentRow[]): Column[] {
  const found = [...collectKeys('metric', rows), ...collectKeys('param', rows)]
  const uses = new Map<string, number>()
  for (const { keys } of found) for (const key of keys) uses.set(key, (uses.get(key) ?? 0) + 1)
  return found.flatMap(({ kind, file, keys }) =>
    [...keys].map((key): Column => ({ kind, file, key, label: labelOf(file, key, uses.get(key)! > 1) })),
  )
}

/** The keys each file has in any row. */
function collectKeys(kind: Column['kind'], rows: ExperimentRow[]): { kind: Column['kind']; file: string; keys: Set<string> }[] {
  const files = new Map<string, Set<string>>()
  // Rows share the values of an unchanged file: each version is looked at once.
  const seen = new Set<unknown>()
  for (const row of rows) {
    for (const [file, values] of kind === 'metric' ? row.metrics : row.params) {
      if (seen.has(values)) continue
      seen.add(values)
      const keys = files.get(file) ?? new Set()
      files.set(file, keys)
      for (const key of values.keys()) keys.add(key)
    }
  }
  return [...files].map(([file, keys]) => ({ kind, file, keys }))
}

function labelOf(file: string, key: string, ambiguous: boolean): string {
  return key === '' ? file : ambiguous ? `${file}:${key}` : key
}

/** Whether two rows that know the column have different values, or one has none. */
function differs(rows: ExperimentRow[], column: Column): boolean {
  let first: { value: Value | undefined } | undefined
  for (const row of rows) {
    const value = cellValue(row, column)
    if (value === undefined && isBroken(row, column)) continue
    if (first && !sameValue(first.value, value)) return true
    first ??= { value }
  }
  return false
}

/** A glob in which `*` stands for any characters and `?` for one. */
function matcher(globs: string[]): (column: Column) => boolean {
  const patterns = globs.map(
    (glob) =>
      new RegExp(
        `^${glob
          .replace(/[.+^${}()|[\]\\]/g, '\\$&')
          .replaceAll('*', '.*')
          .replaceAll('?', '.')}$`,
        's',
      ),
  )
  return (column) =>
    patterns.some(
      (pattern) => pattern.test(column.label) || pattern.test(column.key) || pattern.test(`${column.file}:${column.key}`),
    )
}

/** Chooses what is worth a column: what differs between the rows; all where there are under two rows, or nothing differs. */
export function chooseColumns(rows: ExperimentRow[], choice: ColumnChoice): Column[] {
  const columns = listColumns(rows)
  const isKept = matcher(choice.keep ?? [])
  const isDropped = matcher(choice.drop ?? [])
  const telling = new Set(choice.all || rows.length < 2 ? columns : columns.filter((column) => differs(rows, column)))
  return columns.filter((column) => isKept(column) || (!isDropped(column) && (telling.size === 0 || telling.has(column))))
}

function compareValues(a: Value, b: Value): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'number') return -1
  if (typeof b === 'number') return 1
  const [x, y] = [String(a), String(b)]
  return x < y ? -1 : x > y ? 1 : 0
}

function findColumn(columns: Column[], name: string): Column | undefined {
  return columns.find(({ label }) => label === name) ?? columns.find(({ key, file }) => key === name || `${file}:${key}` === name)
}

/** Sorts by a column named as `KEY`, `KEY-asc` or `KEY-desc`, or by `time`; rows without a number or text there come last either way.
 *  @throws USAGE for a column no row has */
export function sortRows(rows: ExperimentRow[], by: string): ExperimentRow[] {
  const columns = listColumns(rows)
  const plain = by.replace(/-(?:asc|desc)$/, '')
  const exact = findColumn(columns, by)
  const column = exact ?? findColumn(columns, plain)
  if (!column && plain !== 'time')
    throw new MlvError('USAGE', `No row has "${plain}" to sort by`, {
      hint:
        columns.length > 0
          ? `There are: ${columns
              .slice(0, 12)
              .map(({ label }) => label)
              .join(', ')}${columns.length > 12 ? ', …' : ''}.`
          : 'There are no params and no metrics.',
    })
  const direction = !exact && by.endsWith('-desc') ? -1 : 1
  const keyed = rows.map((row) => ({ row, value: column ? cellValue(row, column) : row.commit?.author.time }))
  const isMissing = (value: Value | undefined) => value === undefined || value === null || Number.isNaN(value)
  return keyed
    .sort((a, b) => {
      if (isMissing(a.value) || isMissing(b.value)) return Number(isMissing(a.value)) - Number(isMissing(b.value))
      return direction * compareValues(a.value!, b.value!)
    })
    .map(({ row }) => row)
}
