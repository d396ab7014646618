const LINE = /^( *)([A-Za-z0-9_-]+):(?: +([^\s#"'&*!|>%@`{}[\],?:-][^\s#]*))?$/

function parseScalar(text: string): unknown {
  if (text === 'true') return true
  if (text === 'false') return false
  if (/^(0|[1-9][0-9]{0,9})$/.test(text)) return Number(text)
  // What YAML might read as something else than text (null, numbers in other forms), or as a key, is left to the real parser.
  return /^[A-Za-z/][^\s:]*(:[^\s:]+)*$/.test(text) && !/^(null|yes|no|on|off|true|false)$/i.test(text) ? text : undefined
}

/** Reads the plainest kind of YAML, as mlv writes it: nested keys two spaces apart, plain values, whole-line comments. This spares most
 *  commands the YAML parser, which costs half as much as starting Node.
 *  @returns values by full key, or undefined when the text has anything else in it: then the YAML parser has the word */
export function parsePlainConfig(text: string): Map<string, unknown> | undefined {
  const values = new Map<string, unknown>()
  const path: string[] = []
  // A key without a value opens a section; the next line must be one step deeper, or the value is null.
  let open = false
  for (const raw of text.split('\n')) {
    const line = raw.trimEnd()
    if (line === '' || /^\s*#/.test(line)) continue
    const match = LINE.exec(line)
    if (!match || raw.includes('\t') || raw.includes('\r')) return undefined
    const depth = match[1]!.length / 2
    if (!Number.isInteger(depth) || depth > path.length || (open && depth !== path.length)) return undefined
    path.length = depth
    const key = [...path, match[2]!].join('.')
    if (values.has(key)) return undefined
    if (match[3] === undefined) {
      path.push(match[2]!)
      values.set(key, undefined)
      open = true
      continue
    }
    const value = parseScalar(match[3])
    if (value === undefined) return undefined
    values.set(key, value)
    open = false
  }
  if (open) return undefined
  for (const [key, value] of values) if (value === undefined) values.delete(key)
  return values
}
