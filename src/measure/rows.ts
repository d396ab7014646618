import { parseJsonText } from './json-text.ts'
import { type FileErrorCode, type Value, valuesError } from './values.ts'

/** One row of a table or of a training history: values by column. An empty cell is left out. */
export type Row = { [column: string]: Value }

/** The text after the last dot of the last name, in lower case. */
export function extensionOf(path: string): string {
  return /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? ''
}

const NUMBER = /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?$/
const SPECIAL: Record<string, number> = {
  nan: Number.NaN,
  inf: Infinity,
  '+inf': Infinity,
  '-inf': -Infinity,
  infinity: Infinity,
  '-infinity': -Infinity,
}

function parseCell(text: string): Value {
  const cell = text.trim()
  if (NUMBER.test(cell)) {
    const number = Number(cell)
    return /^[-+]?\d+$/.test(cell) && !Number.isSafeInteger(number) ? cell : number
  }
  const special = cell.toLowerCase()
  return Object.hasOwn(SPECIAL, special) ? SPECIAL[special]! : cell
}

interface Line {
  cells: string[]
  /** 1-based, where the row starts */
  line: number
}

/** Splits text as RFC 4180 says; a quoted cell may hold separators, quotes (doubled) and line ends. Blank lines are skipped. */
function* splitLines(text: string, separator: string, fail: (line: number, problem: string) => never): Generator<Line> {
  let at = 0
  let line = 1
  while (at < text.length) {
    const cells: string[] = []
    const start = line
    let ended = false
    while (!ended) {
      let cell: string
      if (text[at] === '"') {
        const close = closingQuote(text, at)
        if (close < 0) fail(start, 'a quote is never closed')
        cell = text.slice(at + 1, close).replaceAll('""', '"')
        line += cell.split('\n').length - 1
        at = close + 1
      } else {
        const end = nextBreak(text, at, separator)
        cell = text.slice(at, end)
        at = end
      }
      cells.push(cell)
      if (text[at] === separator) at++
      else if (text.startsWith('\r\n', at)) {
        at += 2
        ended = true
      } else if (at >= text.length || text[at] === '\n' || text[at] === '\r') {
        at++
        ended = true
      } else fail(line, 'text stands after a closing quote')
    }
    line++
    if (cells.length > 1 || cells[0]!.trim() !== '') yield { cells, line: start }
  }
}

function closingQuote(text: string, open: number): number {
  for (let at = text.indexOf('"', open + 1); at >= 0; at = text.indexOf('"', at + 2)) if (text[at + 1] !== '"') return at
  return -1
}

function nextBreak(text: string, from: number, separator: string): number {
  let at = from
  while (at < text.length && text[at] !== separator && text[at] !== '\n' && text[at] !== '\r') at++
  return at
}

/** Reads CSV or TSV with a header line, row by row. A short row lacks its last cells. @throws `code` with the line */
export function* parseDelimited(text: string, path: string, code: FileErrorCode): Generator<Row> {
  const fail = (line: number, problem: string): never => {
    throw valuesError(code, `${path}:${line}`, problem)
  }
  let header: string[] | undefined
  for (const { cells, line } of splitLines(text, extensionOf(path) === 'tsv' ? '\t' : ',', fail)) {
    if (!header) {
      header = cells.map((cell) => cell.trim())
      const twice = header.find((name, index) => name !== '' && header!.indexOf(name) !== index)
      if (twice !== undefined) fail(line, `two columns are named "${twice}"`)
      continue
    }
    if (cells.length > header.length) fail(line, `${cells.length} cells under ${header.length} columns`)
    const entries: [string, Value][] = []
    // A column without a name is an index, as pandas writes it.
    for (const [index, cell] of cells.entries())
      if (header[index] !== '' && cell.trim() !== '') entries.push([header[index]!, parseCell(cell)])
    yield Object.fromEntries(entries)
  }
}

/** Reads one JSON map per line; blank lines are skipped. @throws `code` with line and column */
export function* parseJsonLines(text: string, path: string, code: FileErrorCode): Generator<Row> {
  let line = 0
  for (const part of text.split('\n')) {
    line++
    if (part.trim() === '') continue
    const value = parseJsonText(part, path, code, line)
    if (!isRow(value)) throw valuesError(code, `${path}:${line}`, 'each line must be a JSON map')
    yield value
  }
}

export function isRow(value: Value | undefined): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
