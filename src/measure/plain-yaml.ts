import type { Value } from './values.ts'

const LINE = /^( *)([A-Za-z_][A-Za-z0-9_.-]*):(?: +(.*))?$/
const ITEM = /^( *)- +(.*)$/
const SKIPPED = /^ *(?:#.*)?$/
const LONE_RETURN = /\r(?!\n)/
const INTEGER = /^[-+]?[0-9]{1,15}$/
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/
const WORD = /^[A-Za-z0-9_/][A-Za-z0-9_./@%+=: -]*$/
/** What ends a plain word or is a number in another base. */
const NO_WORD = /: |:$|^0[xXoObB]|^[0-9]+$/
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
  return WORD.test(text) && !NO_WORD.test(text) ? text : undefined
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

interface PlainMap {
  [key: string]: Value
}

/** An open block: a map, or the list that stands under the last key of the map above it. */
interface Level {
  indent: number
  map: PlainMap
  list?: Value[]
}

/** The blocks that are open while reading, innermost last, and the last key when nothing stands under it yet. */
interface Blocks {
  levels: Level[]
  open: string | undefined
}

/** @returns false where the line does not fit the blocks above it */
function takeItem({ levels, open }: Blocks, indent: number, text: string): boolean {
  const top = levels.at(-1)
  const item = readScalar(text)
  if (!top || item === undefined) return false
  if (top.list) {
    if (indent !== top.indent) return false
    top.list.push(item)
    return true
  }
  if (open === undefined || indent < top.indent) return false
  const list = [item]
  top.map[open] = list
  levels.push({ indent, map: top.map, list })
  return true
}

/** @returns the map that a key at `indent` belongs to, or undefined where there is none */
function mapAt({ levels, open }: Blocks, indent: number): PlainMap | undefined {
  while (levels.length > 0 && (levels.at(-1)!.list || indent < levels.at(-1)!.indent)) levels.pop()
  const top = levels.at(-1)
  if (!top || indent === top.indent) return top?.map
  if (open === undefined || top.map[open] !== null) return undefined
  const map: PlainMap = {}
  top.map[open] = map
  levels.push({ indent, map })
  return map
}

function takeKey(blocks: Blocks, indent: number, key: string, rest: string): boolean {
  const map = mapAt(blocks, indent)
  if (!map || Object.hasOwn(map, key) || key === '__proto__' || RESERVED.has(key)) return false
  const isEmpty = rest === '' || rest.startsWith('#')
  const value = isEmpty ? null : readScalar(rest)
  if (value === undefined) return false
  map[key] = value
  blocks.open = isEmpty ? key : undefined
  return true
}

/** Reads the plain part of YAML that params files are nearly always written in: nested block maps of plain keys with numbers, words, quoted text and
 *  lists of these. About ten times as fast as the full parser, which matters when history holds a thousand versions.
 *  @returns undefined for anything it is not sure of: then the full parser decides, errors included */
export function readPlainYaml(text: string): PlainMap | undefined {
  if (LONE_RETURN.test(text)) return undefined
  const root: PlainMap = {}
  const blocks: Blocks = { levels: [], open: undefined }
  for (const raw of text.split('\n')) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    if (SKIPPED.test(line)) continue
    if (line.length > 500) return undefined
    const entry = LINE.exec(line)
    if (entry) {
      const indent = entry[1]!.length
      if (blocks.levels.length === 0) blocks.levels = [{ indent, map: root }]
      if (!takeKey(blocks, indent, entry[2]!, entry[3] ?? '')) return undefined
      continue
    }
    const item = ITEM.exec(line)
    if (!item || !takeItem(blocks, item[1]!.length, item[2]!)) return undefined
    blocks.open = undefined
  }
  return blocks.levels.length > 0 ? root : undefined
}
