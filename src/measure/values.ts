import { type ErrorCode, MlvError } from '../base/errors.ts'

/** A value of a params or metrics file. Integers beyond 2^53 and dates are kept as the text they were written in; NaN and the infinities are numbers. */
export type Value = number | string | boolean | null | Value[] | { [key: string]: Value }

/** Values under their dotted keys, in the file's own order. Lists and empty maps are values; a file that is no map has the one key ''. */
export type FlatValues = Map<string, Value>

/** Deeper than this is no file a person or a training script wrote, and recursion stays safe. */
export const MAX_DEPTH = 200

/** Finds an integer that may be beyond 2^53; one inside a string is found, too. */
export const LONG_INTEGER = /(?<![\d.])\d{16,}(?![\d.eE])/

const MAX_BYTES = 50 << 20

const EDIT_HINT = 'Correct the file at that place, or take it out of mlv.yaml.'

export type FileErrorCode = Extract<ErrorCode, 'PARAMS_INVALID' | 'METRICS_INVALID'>

/** An error about a values file; `where` is `path`, `path:line` or `path:line:column`. */
export function valuesError(code: FileErrorCode, where: string, problem: string, cause?: unknown): MlvError {
  return new MlvError(code, `${where}: ${problem}`, { hint: EDIT_HINT, cause })
}

export function tooDeep(code: FileErrorCode, path: string): MlvError {
  return valuesError(code, path, `nested deeper than ${MAX_DEPTH} levels`)
}

function lineOfBadByte(bytes: Uint8Array): number {
  let line = 1
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(10, start)
    const next = end < 0 ? bytes.length : end + 1
    try {
      decoder.decode(bytes.subarray(start, next))
    } catch {
      return line
    }
    start = next
  }
  return line
}

/** @returns the text without a byte order mark   @throws `code` when larger than 50 MiB or not UTF-8 */
export function decodeText(bytes: Uint8Array, path: string, code: FileErrorCode): string {
  if (bytes.length > MAX_BYTES) throw valuesError(code, path, 'larger than 50 MiB')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw valuesError(code, `${path}:${lineOfBadByte(bytes)}`, 'not UTF-8 text', cause)
  }
}

/** Turns what a parser gave into plain values. What `problem` makes is thrown beyond MAX_DEPTH. */
export function normalize(raw: unknown, problem: () => MlvError, depth = 0): Value {
  switch (typeof raw) {
    case 'number':
    case 'string':
    case 'boolean':
      return raw
    case 'bigint': {
      const number = Number(raw)
      return Number.isSafeInteger(number) ? number : String(raw)
    }
    case 'object': {
      if (raw === null) return null
      if (depth >= MAX_DEPTH) throw problem()
      if (Array.isArray(raw)) return raw.map((item) => normalize(item, problem, depth + 1))
      // TOML's dates are Date objects whose toISOString is the text of the file: no time zone is made up.
      if (raw instanceof Date) return raw.toISOString().replace(/\.000(?=$|[Z+-])/, '')
      return Object.fromEntries(Object.entries(raw).map(([key, item]) => [key, normalize(item, problem, depth + 1)]))
    }
    default:
      return raw === undefined ? null : String(raw)
  }
}

const PLAIN_SEGMENT = /^[^."\\\u0000-\u001f]+$/

function formatSegment(segment: string): string {
  return PLAIN_SEGMENT.test(segment) ? segment : JSON.stringify(segment)
}

/** Writes keys as one dotted key; a key that has a dot, a quote or a control character, or is empty, is quoted as JSON: `a."b.c".d`. */
export function formatKey(segments: string[]): string {
  return segments.map(formatSegment).join('.')
}

const QUOTED_SEGMENT = /"(?:[^"\\]|\\.)*"(?=\.|$)/y

/** Reads a dotted key back into its keys; a quote that is not closed counts as itself. */
export function parseKey(key: string): string[] {
  const segments: string[] = []
  for (let at = 0; at <= key.length; ) {
    QUOTED_SEGMENT.lastIndex = at
    const quoted = QUOTED_SEGMENT.exec(key)?.[0]
    const unquoted = quoted === undefined ? undefined : unquote(quoted)
    if (quoted !== undefined && unquoted !== undefined) {
      segments.push(unquoted)
      at += quoted.length + 1
      continue
    }
    const dot = key.indexOf('.', at)
    const end = dot < 0 ? key.length : dot
    segments.push(key.slice(at, end))
    at = end + 1
  }
  return segments
}

function unquote(text: string): string | undefined {
  try {
    return JSON.parse(text) as string
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value under a dotted key: a leaf, a list or a whole map; numbers reach into lists (`layers.0`). @returns undefined when there is none */
export function pick(value: unknown, dottedKey: string): unknown {
  let found = value
  for (const segment of parseKey(dottedKey)) {
    if (isMap(found) || (Array.isArray(found) && /^\d+$/.test(segment)))
      found = Object.hasOwn(found, segment) ? (found as Record<string, unknown>)[segment] : undefined
    else return undefined
    if (found === undefined) return undefined
  }
  return found
}

function collect(value: Value, key: string | undefined, into: FlatValues): void {
  if (!isMap(value)) {
    into.set(key ?? '', value)
    return
  }
  let isEmpty = true
  for (const [name, item] of Object.entries(value)) {
    isEmpty = false
    const segment = formatSegment(name)
    collect(item, key === undefined ? segment : `${key}.${segment}`, into)
  }
  if (isEmpty && key !== undefined) into.set(key, value)
}

/** Spreads nested maps over dotted keys. */
export function flatten(value: Value): FlatValues {
  const flat: FlatValues = new Map()
  if (value !== null) collect(value, undefined, flat)
  return flat
}

/** Whether `key` is `wanted` or lies below it: `train` covers `train.lr`. */
export function isUnderKey(key: string, wanted: string): boolean {
  return key === wanted || key.startsWith(`${wanted}.`)
}

/** Equal as values: NaN is NaN, 1 is 1.0, the order of a map's keys does not count. */
export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => sameValue(item, b[index]))
  if (!isMap(a) || !isMap(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameValue(a[key], b[key]))
}
