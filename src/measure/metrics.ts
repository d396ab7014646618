import { parseJsonText } from './json-text.ts'
import { extensionOf, isRow, parseDelimited, parseJsonLines, type Row } from './rows.ts'
import { parseTomlValue } from './toml-values.ts'
import { decodeText, type FlatValues, flatten, type Value } from './values.ts'
import { parseYamlValue } from './yaml-values.ts'

export type Select = 'last' | 'first' | 'min' | 'max'

/** What mlv.yaml says about one metric. */
export interface MetricRule {
  goal?: 'max' | 'min'
  /** a change of at most this much counts as none */
  tolerance?: number
  /** below it the metric is flagged */
  min?: number
  /** above it the metric is flagged */
  max?: number
  /** which row of a history stands for the metric; the last by default */
  select?: Select
}

/** Rules of one file by dotted key. */
export type MetricRules = ReadonlyMap<string, MetricRule>

const CODE = 'METRICS_INVALID'

/** Whether `next` takes the place of `chosen`. A NaN is chosen by min and max only where there is no number. */
function isChosen(chosen: Value, next: Value, select: Select): boolean {
  if (select === 'last') return true
  if (select === 'first' || typeof next !== 'number' || Number.isNaN(next)) return false
  if (typeof chosen !== 'number' || Number.isNaN(chosen)) return true
  return select === 'min' ? next < chosen : next > chosen
}

/** Folds a history into one value per column; null and missing cells do not count. */
function foldRows(rows: Iterable<Row>, rules: MetricRules): FlatValues {
  const chosen: FlatValues = new Map()
  for (const row of rows) {
    for (const [key, value] of flatten(row)) {
      if (value === null || value === '') continue
      const held = chosen.get(key)
      if (held === undefined || isChosen(held, value, rules.get(key)?.select ?? 'last')) chosen.set(key, value)
    }
  }
  return chosen
}

/** A list of numbers under a key with `select` is a history of its own: one number stands for it. */
function selectFromLists(flat: FlatValues, rules: MetricRules): FlatValues {
  for (const [key, value] of flat) {
    const select = rules.get(key)?.select
    if (!select || !Array.isArray(value)) continue
    const folded = foldRows(
      value.map((item) => ({ item })),
      new Map([['item', { select }]]),
    ).get('item')
    if (folded !== undefined) flat.set(key, folded)
  }
  return flat
}

function flattenTree(value: Value, rules: MetricRules): FlatValues {
  if (Array.isArray(value) && value.length > 0 && value.every(isRow)) return foldRows(value, rules)
  return selectFromLists(flatten(value), rules)
}

/** Reads a metrics file by its ending: JSON (also with Python's NaN), YAML, TOML, or a history as CSV, TSV, JSON Lines or a JSON list of maps.
 *  Of a history the last non-empty value per column counts, or what `select` of its rule says. Other endings are read as YAML.
 *  @throws METRICS_INVALID with line and, where known, column */
export function readMetrics(bytes: Uint8Array, path: string, rules: MetricRules = new Map()): FlatValues {
  const text = decodeText(bytes, path, CODE)
  switch (extensionOf(path)) {
    case 'csv':
    case 'tsv':
      return foldRows(parseDelimited(text, path, CODE), rules)
    case 'jsonl':
    case 'ndjson':
      return foldRows(parseJsonLines(text, path, CODE), rules)
    case 'json':
      return flattenTree(parseJsonText(text, path, CODE), rules)
    case 'toml':
      return flattenTree(parseTomlValue(text, path, CODE), rules)
    default:
      return flattenTree(parseYamlValue(text, path, CODE), rules)
  }
}
