import { printable } from '../output.ts'

export type TableFormat = 'text' | 'md' | 'csv'
export type Align = 'left' | 'right'

export interface TableOptions {
  header?: string[]
  /** per column; left where not given */
  align?: Align[]
  /** text (the default), a Markdown table as GitHub reads it, or CSV quoted as RFC 4180 says, with LF line ends */
  format?: TableFormat
}

const COLOR = /\u001b\[[0-9;]*m/g
const COLOR_OR_LINE_END = /(\u001b\[[0-9;]*m)|\r\n|[\r\n\t]/g

/** Columns one code point takes in a terminal: 0 for marks, 2 for East Asian wide characters and emoji (Unicode annex 11, in coarse ranges). */
function pointWidth(point: number): number {
  if (point < 0x300) return 1
  if (/\p{M}|\p{Cf}/u.test(String.fromCodePoint(point))) return 0
  const wide =
    (point >= 0x1100 && point <= 0x115f) ||
    (point >= 0x2e80 && point <= 0xa4cf && point !== 0x303f) ||
    (point >= 0xac00 && point <= 0xd7a3) ||
    (point >= 0xf900 && point <= 0xfaff) ||
    (point >= 0xfe30 && point <= 0xfe6f) ||
    (point >= 0xff00 && point <= 0xff60) ||
    (point >= 0xffe0 && point <= 0xffe6) ||
    (point >= 0x1f300 && point <= 0x1faff) ||
    (point >= 0x20000 && point <= 0x3fffd)
  return wide ? 2 : 1
}

/** @returns the columns a text takes in a terminal; colour codes take none */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const char of text.replace(COLOR, '')) width += pointWidth(char.codePointAt(0)!)
  return width
}

/** One line, with nothing in it that drives the terminal except the colours a renderer put there. */
function textCell(cell: string): string {
  if (/^[\x20-\x7e]*$/.test(cell)) return cell
  return cell
    .replace(COLOR_OR_LINE_END, (_all, color: string | undefined) => color ?? ' ')
    .split(/(\u001b\[[0-9;]*m)/)
    .map((part, index) => (index % 2 === 1 ? part : printable(part)))
    .join('')
}

function markdownCell(cell: string): string {
  return printable(
    cell
      .replace(COLOR, '')
      .replace(/[\\|]/g, '\\$&')
      .replaceAll('<', '&lt;')
      .replace(/\r\n|[\r\n]/g, '\u2028')
      .replaceAll('\t', ' '),
  ).replaceAll('\u2028', '<br>')
}

function csvCell(cell: string): string {
  const plain = cell.replace(COLOR, '')
  return /[",\r\n]|^\s|\s$/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain
}

function pad(cell: string, width: number, align: Align | undefined): string {
  const gap = ' '.repeat(Math.max(0, width - displayWidth(cell)))
  return align === 'right' ? gap + cell : cell + gap
}

/** Lays rows out as a table. Short rows are filled with empty cells. Text columns are two spaces apart, lines carry no trailing space.
 *  @returns lines joined by LF, without one at the end; '' when there is neither header nor row */
export function renderTable(rows: string[][], options: TableOptions = {}): string {
  const { header, align = [], format = 'text' } = options
  const all = header ? [header, ...rows] : rows
  if (all.length === 0) return ''
  const columns = all.reduce((most, row) => Math.max(most, row.length), 0)
  const full = (row: string[]) => Array.from({ length: columns }, (_, column) => row[column] ?? '')
  switch (format) {
    case 'csv':
      return all.map((row) => full(row).map(csvCell).join(',')).join('\n')
    case 'md': {
      const line = (row: string[]) => `| ${full(row).map(markdownCell).join(' | ')} |`
      const rule = `| ${full([])
        .map((_, column) => (align[column] === 'right' ? '---:' : '---'))
        .join(' | ')} |`
      // A Markdown table has a header or is none.
      return [line(header ?? []), rule, ...rows.map(line)].join('\n')
    }
    case 'text': {
      const cells = all.map((row) => full(row).map(textCell))
      const widths = full([]).map((_, column) => cells.reduce((most, row) => Math.max(most, displayWidth(row[column]!)), 0))
      return cells
        .map((row) =>
          row
            .map((cell, column) => pad(cell, widths[column]!, align[column]))
            .join('  ')
            .trimEnd(),
        )
        .join('\n')
    }
  }
}
