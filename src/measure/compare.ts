import type { MetricRule } from './metrics.ts'
import type { Measures } from './read.ts'
import { sameValue, type Value } from './values.ts'

export interface MeasureChange {
  file: string
  key: string
  /** undefined when the key, or the whole file, is not there */
  before: Value | undefined
  after: Value | undefined
  /** after less before; undefined unless both are finite numbers */
  change: number | undefined
  /** of |before|; undefined where change is, and when before is 0 */
  percent: number | undefined
  /** by the goal in mlv.yaml; 'same' within its tolerance, or when equal; undefined when no goal tells */
  verdict: 'better' | 'worse' | 'same' | undefined
  /** the bound of mlv.yaml that `after` breaks */
  bound: { kind: 'below' | 'above'; limit: number } | undefined
}

function isFiniteNumber(value: Value | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

/** Digits after the decimal point in the shortest text of a number. */
function decimals(value: number): number {
  const [digits, exponent] = String(value).split('e') as [string, string | undefined]
  const fraction = digits.includes('.') ? digits.length - digits.indexOf('.') - 1 : 0
  return Math.max(0, fraction - Number(exponent ?? 0))
}

/** after − before as one would do it by hand: 0.92 − 0.9 is 0.02, not 0.020000000000000018. */
export function subtract(after: number, before: number): number {
  const digits = Math.max(decimals(after), decimals(before))
  const change = after - before
  return digits <= 100 && Math.abs(change) < 1e21 ? Number(change.toFixed(digits)) : change
}

function judge(before: Value | undefined, after: Value | undefined, rule: MetricRule): MeasureChange['verdict'] {
  if (sameValue(before, after)) return 'same'
  if (!rule.goal || typeof before !== 'number' || typeof after !== 'number') return undefined
  // A metric that became NaN got worse whatever the goal, and the other way round.
  if (Number.isNaN(after)) return 'worse'
  if (Number.isNaN(before)) return 'better'
  if (isFiniteNumber(before) && isFiniteNumber(after) && Math.abs(subtract(after, before)) <= (rule.tolerance ?? 0)) return 'same'
  return after > before === (rule.goal === 'max') ? 'better' : 'worse'
}

function boundOf(after: Value | undefined, rule: MetricRule): MeasureChange['bound'] {
  if (typeof after !== 'number') return undefined
  if (rule.min !== undefined && !(after >= rule.min)) return { kind: 'below', limit: rule.min }
  if (rule.max !== undefined && !(after <= rule.max)) return { kind: 'above', limit: rule.max }
  return undefined
}

function compareValue(
  before: Value | undefined,
  after: Value | undefined,
  rule: MetricRule,
): Omit<MeasureChange, 'file' | 'key'> {
  const change = isFiniteNumber(before) && isFiniteNumber(after) ? subtract(after, before) : undefined
  const percent = change === undefined || before === 0 ? undefined : (change / Math.abs(before as number)) * 100
  return { before, after, change, percent, verdict: judge(before, after, rule), bound: boundOf(after, rule) }
}

/** Everything of the later one in its order, then what only the earlier one has. */
function union(after: Iterable<string>, before: Iterable<string>): Set<string> {
  return new Set([...after, ...before])
}

const NO_RULE: MetricRule = {}

/** Pairs the values of two revisions, unchanged ones included. Rules are those of `after`, else of `before`.
 *  A file that is broken on one side, or kept out of git and so unknown on one side, is left out: the difference cannot be told. */
export function compareMeasures(before: Measures, after: Measures): MeasureChange[] {
  const rows: MeasureChange[] = []
  const broken = new Set([...before.problems, ...after.problems].map((problem) => problem.file))
  for (const file of union(after.files.keys(), before.files.keys())) {
    const [old, now] = [before.files.get(file), after.files.get(file)]
    if (broken.has(file) || ((!old || !now) && isOutsideGit(file, before, after))) continue
    const rules = after.rules.get(file) ?? before.rules.get(file)
    for (const key of union(now?.keys() ?? [], old?.keys() ?? []))
      rows.push({ file, key, ...compareValue(old?.get(key), now?.get(key), rules?.get(key) ?? NO_RULE) })
  }
  return rows
}

/** Whether the two values differ at all, tolerance or not. */
export function isChanged(row: MeasureChange): boolean {
  return !sameValue(row.before, row.after)
}

/** Whether one of two revisions keeps the file out of git, where a commit cannot show it. */
export function isOutsideGit(file: string, ...measures: Measures[]): boolean {
  return measures.some((side) => side.outsideGit.includes(file))
}
