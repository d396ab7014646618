import type { MeasureChange } from '../../measure/compare.ts'
import type { Measures } from '../../measure/read.ts'
import type { Value } from '../../measure/values.ts'
import { printable } from '../output.ts'
import { type Align, renderTable, type TableFormat } from './table.ts'

export interface MeasureRenderOptions {
  format: TableFormat
  /** significant digits; CSV always has all */
  precision: number
  color: boolean
}

const GREEN = '\u001b[32m'
const RED = '\u001b[31m'
const PLAIN = '\u001b[39m'

/** A number with `precision` significant digits; whole digits are never cut: 1234567.8 is 1234568, not 1.2346e6. */
export function formatNumber(value: number, precision: number): string {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value)
  const whole = Math.abs(value) < 1 ? 0 : Math.floor(Math.log10(Math.abs(value))) + 1
  return String(Number(value.toPrecision(Math.min(17, Math.max(precision, whole)))))
}

/** One value on one line, control characters made visible; lists and maps as JSON. */
export function formatValue(value: Value | undefined, precision: number): string {
  switch (typeof value) {
    case 'string':
      return printable(value)
    case 'undefined':
      return ''
    case 'number':
      return formatNumber(value, precision)
    case 'object':
      if (value === null) return 'null'
      if (Array.isArray(value)) return `[${value.map((item) => formatNested(item, precision)).join(', ')}]`
      return `{${Object.entries(value)
        .map(([key, item]) => `${JSON.stringify(key)}: ${formatNested(item, precision)}`)
        .join(', ')}}`
    default:
      return String(value)
  }
}

function formatNested(value: Value, precision: number): string {
  return typeof value === 'string' ? JSON.stringify(value) : formatValue(value, precision)
}

/** The precision from which two different numbers look different. */
function tellingPrecision(a: Value | undefined, b: Value | undefined, precision: number): number {
  if (typeof a !== 'number' || typeof b !== 'number' || a === b) return precision
  let enough = precision
  while (enough < 17 && formatNumber(a, enough) === formatNumber(b, enough)) enough++
  return enough
}

function signed(text: string): string {
  return text === '0' || text.startsWith('-') ? text : `+${text}`
}

/** `+2.22%`; three digits or so, as more say nothing. */
export function formatPercent(percent: number | undefined): string {
  if (percent === undefined) return ''
  if (percent === 0) return '0%'
  const size = Math.abs(percent)
  return `${signed(size >= 100 ? percent.toFixed(0) : size >= 10 ? percent.toFixed(1) : String(Number(percent.toPrecision(3))))}%`
}

/** A name of the user's, control characters made visible; in Markdown as code where nothing in it would break out. */
function code(name: string, format: TableFormat): string {
  const text = printable(name)
  return format === 'md' && text !== '' && !/[`<\\]/.test(text) ? `\`${text}\`` : text
}

function strong(text: string, format: TableFormat): string {
  return format === 'md' ? `**${text}**` : text
}

function verdictOf(row: MeasureChange, { format, color }: MeasureRenderOptions): string {
  const words: string[] = []
  if (format !== 'csv' && row.change !== undefined && row.change !== 0) words.push(row.change > 0 ? '▲' : '▼')
  if (row.verdict === 'better' || row.verdict === 'worse') words.push(strong(row.verdict, format))
  else if (row.verdict === 'same' && row.change !== undefined && row.change !== 0) words.push('same')
  if (row.bound) words.push(strong(`${row.bound.kind} ${row.bound.limit}`, format))
  const text = words.join(' ')
  if (!color || format !== 'text' || text === '') return text
  if (row.verdict === 'worse' || row.bound) return `${RED}${text}${PLAIN}`
  return row.verdict === 'better' ? `${GREEN}${text}${PLAIN}` : text
}

/** What two revisions have, side by side. */
export function renderChanges(
  rows: MeasureChange[],
  labels: { before: string; after: string },
  options: MeasureRenderOptions,
): string {
  const { format } = options
  const withVerdict = rows.some((row) => verdictOf(row, { ...options, color: false }) !== '')
  const header = ['File', 'Key', labels.before, labels.after, 'Change', 'Percent']
  const align: Align[] = ['left', 'left', 'right', 'right', 'right', 'right', 'left']
  if (format === 'csv') header.splice(0, header.length, 'file', 'key', 'before', 'after', 'change', 'percent', 'verdict')
  else if (withVerdict) header.push('')
  const cells = rows.map((row) => {
    const precision = format === 'csv' ? 17 : tellingPrecision(row.before, row.after, options.precision)
    const values = [formatValue(row.before, precision), formatValue(row.after, precision)]
    const change = row.change === undefined ? '' : formatNumber(row.change, format === 'csv' ? 17 : options.precision)
    const percent = format === 'csv' ? String(row.percent ?? '') : formatPercent(row.percent)
    const shown = format === 'csv' ? [change] : [change && signed(change)]
    const sides = format === 'text' ? values.map((text) => text || '-') : values
    const verdict = format === 'csv' ? [verdictOf(row, options)] : withVerdict ? [verdictOf(row, options)] : []
    return [code(row.file, format), code(row.key, format), ...sides, ...shown, percent, ...verdict]
  })
  return renderTable(cells, { header, align, format })
}

/** All values of one revision. */
export function renderValues(measures: Measures, options: MeasureRenderOptions): string {
  const { format } = options
  const precision = format === 'csv' ? 17 : options.precision
  const rows = [...measures.files].flatMap(([file, values]) =>
    [...values].map(([key, value]) => [code(file, format), code(key, format), formatValue(value, precision)]),
  )
  const header = format === 'csv' ? ['file', 'key', 'value'] : ['File', 'Key', 'Value']
  return renderTable(rows, { header, align: ['left', 'left', 'right'], format })
}
