export type Unit = 's' | 'MiB' | 'KiB' | 'requests' | 'GiB/s' | '%' | 'ms a stage'

/** One line of the table. */
export interface Row {
  what: string
  value: number
  unit: Unit
  /** what it is held against, measured in the same run */
  reference?: { what: string; value: number }
  /** how often the reference goes into the value */
  ratio?: number
  limit?: { atMost?: number; atLeast?: number; on: 'ratio' | 'value' }
  /** undefined when there is no limit, or what it needs is not on PATH */
  met?: boolean
  /** one of other programs, shown beside ours */
  peer?: boolean
}

/** A value held against another; the limit is on how often that goes into it. */
export function ratioRow(
  what: string,
  seconds: number,
  reference: { what: string; seconds: number | undefined },
  atMost?: number,
): Row {
  const row: Row = { what, value: seconds, unit: 's' }
  if (atMost !== undefined) row.limit = { atMost, on: 'ratio' }
  if (reference.seconds === undefined) return row
  row.reference = { what: reference.what, value: reference.seconds }
  row.ratio = seconds / reference.seconds
  if (atMost !== undefined) row.met = row.ratio <= atMost
  return row
}

export function valueRow(what: string, value: number, unit: Unit, limit: { atMost?: number; atLeast?: number } = {}): Row {
  const { atMost, atLeast } = limit
  if (atMost === undefined && atLeast === undefined) return { what, value, unit }
  return {
    ...{ what, value, unit, limit: { ...limit, on: 'value' as const } },
    met:
      Number.isFinite(value) && value <= (atMost ?? Number.POSITIVE_INFINITY) && value >= (atLeast ?? Number.NEGATIVE_INFINITY),
  }
}

/** Another program's time for the same; with ours, how many times as long it takes. */
export function peerRow(what: string, seconds: number, ours?: number): Row {
  const row: Row = { what, value: seconds, unit: 's', peer: true }
  return ours === undefined ? row : { ...row, reference: { what: 'mlv', value: ours }, ratio: seconds / ours }
}

function shown(value: number, unit: Unit): string {
  if (unit === 's') return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`
  if (unit === 'requests') return `${value} requests`
  if (unit === 'MiB') return `${Math.round(value)} MiB`
  if (unit === '%') return `${value.toFixed(2)} %`
  return `${value.toFixed(2)} ${unit}`
}

function cells(row: Row): string[] {
  const { limit } = row
  const bound =
    limit?.atMost === undefined
      ? limit?.atLeast === undefined
        ? ''
        : `≥ ${rounded(limit.atLeast)}`
      : `≤ ${rounded(limit.atMost)}`
  return [
    row.peer ? `  ${row.what}` : row.what,
    shown(row.value, row.unit),
    row.reference ? `${row.reference.what} ${shown(row.reference.value, 's')}` : '',
    row.ratio === undefined ? '' : `${row.ratio < 1 ? row.ratio.toFixed(3) : row.ratio.toFixed(2)} ×`,
    bound && `${bound} ${limit?.on === 'ratio' ? '×' : row.unit}`,
    row.met === undefined ? (limit ? 'not measured' : '') : row.met ? 'met' : 'NOT MET',
  ]
}

const HEAD = ['what', 'taken', 'against', 'ratio', 'limit', '']

export function formatRow(row: Row): string {
  return cells(row).filter(Boolean).join('   ')
}

export function formatTable(rows: Row[]): string {
  const lines = [HEAD, ...rows.map(cells)]
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A limit as a reciprocal, 1 / 1.7 for instance, has no end. */
function rounded(limit: number): number {
  return Number(limit.toPrecision(4))
}
