/** A pattern over paths, with capture groups as Pachyderm has them: `(*)-(*).jpg`. `*` and `?` stay within a name, `**` goes through folders,
 *  `[a-z]` is one character of a set, `{a,b}` either text, `(…)` a group. `/` or an empty text is the whole; `/*` and `./*` are `*`: as in Pachyderm, a
 *  slash at the start is the input. */
export interface GroupPattern {
  /** it stands for the whole, not for what lies below */
  readonly whole: boolean
  /** how many groups it has */
  readonly groups: number
  /** @returns what the groups caught, in order; undefined when the path does not match */
  match(path: string): string[] | undefined
}

/** What is wrong with a pattern. */
export class PatternFault extends Error {}

const SPECIAL = /[\\^$.|+]/

/** Names that no path below the input has: the pattern would match nothing, unseen. @throws PatternFault */
function refuseOutside(pattern: string): void {
  if (pattern.split(/[/(){}]|,(?=[^{]*\})/).includes('..')) throw new PatternFault('leads out of its input with ".."')
}

/** @throws PatternFault */
export function parsePattern(pattern: string): GroupPattern {
  refuseOutside(pattern)
  const text = pattern.replace(/^(?:\.?\/)+/, '').replace(/\/+$/, '')
  if (text === '') return { whole: true, groups: 0, match: (path) => (path === '' ? [] : undefined) }
  const open: string[] = []
  let groups = 0
  let source = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!
    if (char === '*' && text[at + 1] === '*') {
      const wholeNames = text[at + 2] === '/' && (at === 0 || text[at - 1] === '/')
      source += wholeNames ? '(?:[^/]+/)*' : '.*'
      at += wholeNames ? 2 : 1
    } else if (char === '*') source += '[^/]*'
    else if (char === '?') source += '[^/]'
    else if (char === '[') {
      const end = text.indexOf(']', at + 2)
      if (end < 0) throw new PatternFault('has "[" without "]"')
      const set = text
        .slice(at + 1, end)
        .replace(/^!/, '^')
        .replace(/[\\\]]/g, '\\$&')
      source += `[${set}]`
      at = end
    } else if (char === '(' || char === '{') {
      open.push(char)
      if (char === '(') groups++
      source += char === '(' ? '(' : '(?:'
    } else if (char === ')' || char === '}') {
      if (open.pop() !== (char === ')' ? '(' : '{')) throw new PatternFault(`has "${char}" without "${char === ')' ? '(' : '{'}"`)
      source += ')'
    } else if (char === ',' && open.at(-1) === '{') source += '|'
    else source += SPECIAL.test(char) ? `\\${char}` : char
  }
  if (open.length > 0) throw new PatternFault(`has "${open[0]}" without its end`)
  let expression: RegExp
  try {
    expression = new RegExp(`^${source}$`, 'su')
  } catch {
    throw new PatternFault('is no pattern')
  }
  return {
    whole: false,
    groups,
    match(path) {
      const found = expression.exec(path)
      if (!found) return undefined
      return found.length === 1 ? [] : found.slice(1).map((group) => group ?? '')
    },
  }
}

/** Fills `$1`, `$2`, … of a text with what the groups caught. */
export function fillGroups(text: string, groups: readonly string[]): string {
  return text.replace(/\$(\d)/g, (_whole, digit: string) => groups[Number(digit) - 1] ?? '')
}
