import { type Document, isMap, LineCounter, type ParsedNode, parseDocument, stringify } from 'yaml'
import { MlvError } from './errors.ts'

/** Text larger than this is no file a person wrote. */
const MAX_BYTES = 50 << 20

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

/** The parser reports an exhausted stack like a fault of the text, which it is. */
function problemOf(message: string): string {
  return message.startsWith('Maximum call stack') ? 'nested too deeply' : message.split('\n')[0]!
}

/** Parses one YAML 1.2 document strictly: duplicate keys, alias bombs and more than one document are refused.
 *  @throws YAML_INVALID with line and column */
export function parseYaml(text: string, path: string): YamlFile {
  if (text.length > MAX_BYTES)
    throw new MlvError('YAML_INVALID', `${path} is larger than 50 MiB`, { hint: 'Keep data out of it.' })
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    prettyErrors: false,
    merge: false,
    logLevel: 'error',
  })
  const where = (offset: number) => {
    const position = lines.linePos(offset)
    return `${path}:${position.line}:${position.col}`
  }
  const broken = document.errors[0]
  if (broken)
    throw new MlvError('YAML_INVALID', `${where(broken.pos[0])}: ${problemOf(broken.message)}`, {
      hint: /^(<<<<<<<|=======|>>>>>>>)/m.test(text)
        ? `It has merge markers: resolve them, then "git add ${path}".`
        : 'Correct the YAML at that place.',
      cause: broken,
    })
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    throw new MlvError('YAML_INVALID', `${path}: ${(error as Error).message}`, {
      hint: 'Write the values out instead of using aliases.',
      cause: error,
    })
  }
  const at = (...keys: (string | number)[]): string => {
    for (let depth = keys.length; depth >= 0; depth--) {
      const node = (depth === 0 ? document.contents : document.getIn(keys.slice(0, depth), true)) as ParsedNode | undefined
      if (node?.range) return where(node.range[0])
    }
    return path
  }
  return {
    value,
    document,
    at,
    atKey: (...keys) => {
      const parent = keys.length < 2 ? document.contents : document.getIn(keys.slice(0, -1), true)
      const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === String(keys.at(-1))) : undefined
      const range = (pair?.key as ParsedNode | undefined)?.range
      return range ? where(range[0]) : at(...keys)
    },
  }
}
