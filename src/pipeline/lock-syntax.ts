const TOKEN =
  /\s*(?:([[{])|([\]}])|(,)|(:)|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null))/y

type Wanted = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'comma' | 'end'

/** Where the first fault of a JSON text lies, in UTF-16 units; the messages of JSON.parse tell it only sometimes. */
function faultOffset(text: string): number {
  const open: string[] = []
  let wanted: Wanted = 'value'
  TOKEN.lastIndex = 0
  for (;;) {
    const start = TOKEN.lastIndex
    const fault = start + (/^\s*/.exec(text.slice(start, start + 10_000))?.[0].length ?? 0)
    const token = TOKEN.exec(text)
    if (!token) return fault
    const [, opening, closing, comma, colon, string, plain] = token
    const closed: Wanted = open.length > (closing ? 1 : 0) ? 'comma' : 'end'
    if (opening && (wanted === 'value' || wanted === 'first value')) {
      open.push(opening)
      wanted = opening === '{' ? 'first key' : 'first value'
    } else if (
      closing &&
      open.at(-1) === (closing === '}' ? '{' : '[') &&
      ['comma', 'first key', 'first value'].includes(wanted)
    ) {
      open.pop()
      wanted = closed
    } else if (comma && wanted === 'comma') wanted = open.at(-1) === '{' ? 'key' : 'value'
    else if (colon && wanted === 'colon') wanted = 'value'
    else if (string && (wanted === 'key' || wanted === 'first key')) wanted = 'colon'
    else if ((string || plain) && (wanted === 'value' || wanted === 'first value')) wanted = closed
    else return fault
  }
}

/** @returns `line:column` of the first fault of a text that is no JSON */
export function faultPlace(text: string): string {
  const before = text.slice(0, faultOffset(text)).split('\n')
  return `${before.length}:${before.at(-1)!.length + 1}`
}
