import { type Column, cellValue, isBroken } from '../../experiment/columns.ts'
import type { ExperimentRow, ValuesByFile } from '../../experiment/history.ts'
import { shortId } from '../../git/short-id.ts'
import { printable } from '../output.ts'
import { formatValue, type MeasureRenderOptions } from './measures.ts'
import { type Align, renderTable } from './table.ts'

/** What stands where a file could not be read. */
const BROKEN = '!'
const SUBJECT_WIDTH = 50

function localTime(time: number): string {
  const date = new Date(time)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`
}

function label(row: ExperimentRow): string {
  return printable(row.names.join(', ')) || (row.isHead ? 'HEAD' : '')
}

function cell(row: ExperimentRow, column: Column, options: MeasureRenderOptions): string {
  const value = cellValue(row, column)
  if (value !== undefined) return formatValue(value, options.format === 'csv' ? 17 : options.precision)
  if (isBroken(row, column)) return BROKEN
  return options.format === 'text' ? '-' : ''
}

function shorten(text: string): string {
  const points = [...text]
  return points.length <= SUBJECT_WIDTH ? text : `${points.slice(0, SUBJECT_WIDTH - 1).join('')}…`
}

function isNumeric(rows: ExperimentRow[], column: Column): boolean {
  return rows.every((row) => ['number', 'undefined'].includes(typeof cellValue(row, column)))
}

/** The experiment table; CSV has every commit's author, full id and ISO time besides. */
export function renderExperiments(rows: ExperimentRow[], columns: Column[], options: MeasureRenderOptions): string {
  const { format } = options
  const labels = columns.map((column) => printable(column.label))
  if (format === 'csv') {
    const cells = rows.map((row) => [
      ...[label(row), row.commit?.id ?? '', row.commit ? new Date(row.commit.author.time).toISOString() : ''],
      ...[printable(row.commit?.author.name ?? ''), printable(row.commit?.subject ?? '')],
      ...columns.map((column) => cell(row, column, options)),
    ])
    return renderTable(cells, { header: ['revision', 'commit', 'time', 'author', 'subject', ...labels], format })
  }
  const cells = rows.map((row) => [
    ...[label(row), row.commit ? shortId(row.commit.id) : '', row.commit ? localTime(row.commit.author.time) : ''],
    ...columns.map((column) => cell(row, column, options)),
    shorten(printable(row.commit?.subject ?? '')),
  ])
  const align: Align[] = ['left', 'left', 'left', ...columns.map((column): Align => (isNumeric(rows, column) ? 'right' : 'left'))]
  const table = renderTable(cells, { header: ['Revision', 'Commit', 'Time', ...labels, 'Subject'], align, format })
  const broken = rows.some((row) => row.problems.length > 0)
  return broken ? `${table}\n\n${BROKEN}  a file that could not be read there; --json says why` : table
}

function nested(values: ValuesByFile): Record<string, unknown> {
  return Object.fromEntries([...values].map(([file, flat]) => [file, Object.fromEntries(flat)]))
}

/** The answer of --json: all values of every row, whatever the columns. */
export function experimentsAnswer(rows: ExperimentRow[], columns: Column[]): unknown {
  return {
    columns,
    rows: rows.map(({ commit, names, isHead, params, metrics, problems }) => ({
      revision: names[0] ?? (commit && shortId(commit.id)),
      names,
      head: isHead,
      commit: commit?.id,
      parents: commit?.parents,
      time: commit && new Date(commit.author.time).toISOString(),
      author: commit?.author.name,
      email: commit?.author.email,
      subject: commit?.subject,
      params: nested(params),
      metrics: nested(metrics),
      problems,
    })),
  }
}
