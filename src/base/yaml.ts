import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  type ParsedNode,
  parseDocument,
  stringify,
  visit,
  type YAMLMap,
} from 'yaml'
import { MlvError } from './errors.ts'

/** Text larger than this is no file a person wrote: 100,000 stages, read in 8 s with 1.4 GB of memory. */
const MAX_CHARACTERS = 8 << 20

export interface YamlFile {
  value: unknown
  document: Document.Parsed
  /** 1-based line and column of a node found by its path of keys, for messages: `mlv.yaml:12:3` */
  at(...path: (string | number)[]): string
  /** the same of a pair's key */
  atKey(...path: (string | number)[]): string
}

/** One text for a value: block style, no line breaks within texts, nothing said twice by alias. */
export function formatYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })
}

/** @returns the first key that stands twice in its mapping, also as text and as number. The parser's own check compares each key with all before it. */
function findTwice(document: Document.Parsed): ParsedNode | undefined {
  let twice: ParsedNode | undefined
  visit(document, {
    Map(_key, node) {
      const names = new Set<string>()
      for (const { key } of node.items) {
        if (!isScalar(key)) continue
        const name = String(key.value ?? '')
        if (names.has(name)) {
          twice = key as ParsedNode
          return visit.BREAK
        }
        names.add(name)
      }
      return undefined
    },
  })
  return twice
}

/** The parser reports an exhausted stack like a fault of the text, which it is. */
function problemOf(message: string): string {
  return message.startsWith('Maximum call stack') ? 'nested too deeply' : message.split('\n')[0]!
}

/** A command with `: ` in it is the usual slip; the parser's words for it do not tell. */
export const COLON_HINT =
  'In YAML ": " makes a map: put the whole value in quotes, or write it on the next line, indented, after "key: |".'

/** Parses one YAML 1.2 document strictly: duplicate keys, alias bombs and more than one document are refused.
 *  @param merge takes `<<` for YAML 1.1's merge key   @throws YAML_INVALID with line and column */
export function parseYaml(text: string, path: string, maxCharacters = MAX_CHARACTERS, merge = false): YamlFile {
  if (text.length > maxCharacters)
    throw new MlvError('YAML_INVALID', `${path} is larger than ${maxCharacters >> 20} MiB`, { hint: 'Keep data out of it.' })
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
    merge,
    logLevel: 'error',
  })
  const where = (offset: number) => {
    const position = lines.linePos(offset)
    return `${path}:${position.line}:${position.col}`
  }
  const broken = document.errors[0]
  if (broken) {
    const marker = /^<<<<<<< /m.exec(text)
    if (marker)
      throw new MlvError('YAML_INVALID', `${where(marker.index)}: merge markers`, {
        hint: `Resolve them, then "git add ${path}".`,
        cause: broken,
      })
    const isColon = broken.code === 'BLOCK_AS_IMPLICIT_KEY' && document.errors.every(({ code }) => code === broken.code)
    throw new MlvError('YAML_INVALID', `${where(broken.pos[0])}: ${problemOf(broken.message)}`, {
      hint: isColon ? COLON_HINT : 'Correct the YAML at that place.',
      cause: broken,
    })
  }
  let value: unknown
  try {
    const twice = findTwice(document)
    if (twice)
      throw new MlvError('YAML_INVALID', `${where(twice.range[0])}: Map keys must be unique`, {
        hint: 'Correct the YAML at that place.',
      })
    value = document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    if (error instanceof MlvError) throw error
    throw new MlvError('YAML_INVALID', `${path}: ${problemOf((error as Error).message)}`, {
      hint: 'Write the values out instead of using aliases.',
      cause: error,
    })
  }
  const find = createFinder()
  const at = (...keys: (string | number)[]): string => {
    let node: unknown = document.contents
    let last = node
    for (const key of keys) {
      node = isMap(node) ? find(node, key)?.value : isSeq(node) ? node.items[Number(key)] : undefined
      if (!(node as ParsedNode | undefined)?.range) break
      last = node
    }
    const range = (last as ParsedNode | null)?.range
    return range ? where(range[0]) : path
  }
  return {
    value,
    document,
    at,
    atKey: (...keys) => {
      let parent: unknown = document.contents
      for (const key of keys.slice(0, -1))
        parent = isMap(parent) ? find(parent, key)?.value : isSeq(parent) ? parent.items[Number(key)] : undefined
      const pair = isMap(parent) ? find(parent, keys.at(-1)!) : undefined
      const range = (pair?.key as ParsedNode | undefined)?.range
      return range ? where(range[0]) : at(...keys)
    },
  }
}

/** Finds pairs by their keys through a table for each map: one with 10,000 keys is asked for every one of them. */
function createFinder(): (map: YAMLMap, key: string | number) => Pair | undefined {
  const tables = new Map<YAMLMap, Map<string, Pair>>()
  return (map, key) => {
    let table = tables.get(map)
    if (!table) {
      table = new Map(map.items.map((pair) => [String(pair.key), pair]))
      tables.set(map, table)
    }
    return table.get(String(key))
  }
}
