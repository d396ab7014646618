import { type FileErrorCode, LONG_INTEGER, MAX_DEPTH, normalize, tooDeep, type Value, valuesError } from './values.ts'

const NUMBER = /-?(?:Infinity|(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/y
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const SPACE = /[ \t\r\n]*/y
const WORDS: [string, Value][] = [
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', Number.NaN],
]

/** Reads JSON (RFC 8259) and what Python's json module writes besides: NaN, Infinity, -Infinity. Integers beyond 2^53 come back as their text.
 *  Of duplicate keys the last counts, as in Python and JavaScript.
 *  @param path for messages; `firstLine` is the line `text` starts at there
 *  @throws `code` with line and column */
export function parseJsonText(text: string, path: string, code: FileErrorCode, firstLine = 1): Value {
  if (!LONG_INTEGER.test(text)) {
    let raw: unknown
    try {
      raw = JSON.parse(text)
    } catch (error) {
      // JSON.parse gives no line and knows no NaN: the slower reader decides.
      if (error instanceof SyntaxError) return readJson(text, path, code, firstLine)
      throw error
    }
    return normalize(raw, () => tooDeep(code, path))
  }
  return readJson(text, path, code, firstLine)
}

function readJson(text: string, path: string, code: FileErrorCode, firstLine: number): Value {
  let at = 0

  function fail(problem: string): never {
    const lines = text.slice(0, at).split('\n')
    throw valuesError(code, `${path}:${firstLine + lines.length - 1}:${lines.at(-1)!.length + 1}`, problem)
  }
  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  function take(char: string): boolean {
    match(SPACE)
    if (text[at] !== char) return false
    at++
    return true
  }
  function unexpected(wanted: string): never {
    fail(
      at >= text.length
        ? `the file ends where ${wanted} is due`
        : `${wanted} is due, not "${text.slice(at, at + 12).split('\n')[0]}"`,
    )
  }
  function readString(): string {
    const found = match(STRING)
    return found === undefined ? unexpected('a string') : (JSON.parse(found) as string)
  }
  function readNumber(): Value {
    const found = match(NUMBER)
    if (found === undefined) unexpected('a value')
    const number = Number(found)
    return /^-?\d+$/.test(found) && !Number.isSafeInteger(number) ? found : number
  }
  function readList(depth: number): Value[] {
    const list: Value[] = []
    if (take(']')) return list
    do list.push(readValue(depth + 1))
    while (take(','))
    if (!take(']')) unexpected('"," or "]"')
    return list
  }
  function readMap(depth: number): Value {
    const entries: [string, Value][] = []
    if (take('}')) return {}
    do {
      match(SPACE)
      const key = readString()
      if (!take(':')) unexpected('":"')
      entries.push([key, readValue(depth + 1)])
    } while (take(','))
    if (!take('}')) unexpected('"," or "}"')
    return Object.fromEntries(entries)
  }
  function readValue(depth: number): Value {
    if (depth > MAX_DEPTH) fail(`nested deeper than ${MAX_DEPTH} levels`)
    if (take('{')) return readMap(depth)
    if (take('[')) return readList(depth)
    if (text[at] === '"') return readString()
    for (const [word, value] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length
        return value
      }
    }
    return readNumber()
  }

  const value = readValue(0)
  match(SPACE)
  if (at < text.length) unexpected('the end of the file')
  return value
}
