import type { Value } from './values.ts'

const LINE = /^( *)([A-Za-z_][A-Za-z0-9_.-]*):(?: +(.*))?$/
const SKIPPED = /^ *(?:#.*)?$/
const LONE_RETURN = /\r(?!\n)/
const INTEGER = /^[-+]?[0-9]{1,15}$/
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/
const WORD = /^[A-Za-z_/][A-Za-z0-9_./ -]*$/
const QUOTED = /^(?:"([^"\\]*)"|'([^']*)')$/
const LIST = /^\[([^[\]{}"'#]*)\]$/
const RESERVED = new Map<string, Value>([
  ...['true', 'True', 'TRUE'].map((word): [string, Value] => [word, true]),
  ...['false', 'False', 'FALSE'].map((word): [string, Value] => [word, false]),
  ...['null', 'Null', 'NULL'].map((word): [string, Value] => [word, null]),
])

function readBare(text: string): Value | undefined {
  const reserved = RESERVED.get(text)
  if (reserved !== undefined) return reserved
  if (INTEGER.test(text) || (FLOAT.test(text) && !/^[-+]?[0-9]+$/.test(text))) return Number(text)
  return WORD.test(text) ? text : undefined
}

function readList(text: string): Value[] | undefined {
  const inside = LIST.exec(text)?.[1]
  if (inside === undefined) return undefined
  if (inside.trim() === '') return []
  const items: Value[] = []
  for (const part of inside.split(',')) {
    const item = readBare(part.trim())
    if (item === undefined) return undefined
    items.push(item)
  }
  return items
}

function readScalar(text: string): Value | undefined {
  const comment = text.startsWith('#') ? 0 : text.indexOf(' #')
  const bare = (comment < 0 ? text : text.slice(0, comment)).trimEnd()
  if (bare === '') return undefined
  const quoted = comment < 0 ? QUOTED.exec(bare) : null
  if (quoted) return quoted[1] ?? quoted[2]!
  return bare.startsWith('[') ? readList(bare) : readBare(bare)
}

interface Level {
  indent: number
  map: { [key: string]: Value }
}

/** Reads the plain part of YAML that params files are nearly always written in: nested block maps of plain keys with numbers, words, quoted text and
 *  short lists. Over ten times as fast as the full parser, which matters when history holds a thousand versions.
 *  @returns undefined for anything it is not sure of: then the full parser decides, errors included */
export function readPlainYaml(text: string): { [key: string]: Value } | undefined {
  const root: { [key: string]: Value } = {}
  if (LONE_RETURN.test(text)) return undefined
  const levels: Level[] = []
  let open: { map: { [key: string]: Value }; key: string } | undefined
  for (const raw of text.split('\n')) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    if (SKIPPED.test(line)) continue
    const match = line.length > 500 ? null : LINE.exec(line)
    if (!match) return undefined
    const [, spaces, key, rest] = match as unknown as [string, string, string, string | undefined]
    const indent = spaces.length
    if (levels.length === 0) levels.push({ indent, map: root })
    else if (indent > levels.at(-1)!.indent) {
      if (!open) return undefined
      const map = {}
      open.map[open.key] = map
      levels.push({ indent, map })
    } else while (indent < levels.at(-1)!.indent) if (levels.pop() && levels.length === 0) return undefined
    const { indent: current, map } = levels.at(-1)!
    if (indent !== current || Object.hasOwn(map, key) || key === '__proto__' || RESERVED.has(key)) return undefined
    const value = rest === undefined || /^(?:#.*)?$/.test(rest) ? undefined : readScalar(rest)
    if (value === undefined && rest !== undefined && !/^(?:#.*)?$/.test(rest)) return undefined
    map[key] = value ?? null
    open = value === undefined ? { map, key } : undefined
  }
  return levels.length > 0 ? root : undefined
}
