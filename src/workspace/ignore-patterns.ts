/** A piece of one path segment: a literal byte, any byte, any run, or a set of bytes. */
type Piece =
  | { kind: 'char'; char: string }
  | { kind: 'any' }
  | { kind: 'run' }
  | { kind: 'set'; negated: boolean; has: (char: string) => boolean }
type Segment = '**' | Piece[]

interface Rule {
  negated: boolean
  foldersOnly: boolean
  /** matched against the path below the file's folder; otherwise against the name at any depth */
  anchored: boolean
  segments: Segment[]
  /** the whole pattern when it has nothing special in it */
  literal: string | undefined
  /** what follows the star of a pattern like `*.tmp` */
  suffix: string | undefined
}

/** What one ignore file says, in the syntax of gitignore(5). */
export interface IgnorePatterns {
  /** @param path below the file's folder, POSIX   @returns ignored, brought back by `!`, or undefined when no line speaks of it */
  verdict(path: string, name: string, isFolder: boolean): boolean | undefined
  /** whether verdicts depend on the name alone */
  readonly namesOnly: boolean
}

const CLASSES: Record<string, RegExp> = {
  alnum: /[A-Za-z0-9]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  cntrl: /[\u0000-\u001f\u007f]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /\s/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
}

/** Reads `[…]` starting after its bracket. @returns undefined when it never ends or names no known class: git then matches nothing */
function parseSet(chars: string[], start: number): { piece: Piece; next: number } | undefined {
  const tests: ((char: string) => boolean)[] = []
  let at = start
  const negated = chars[at] === '!' || chars[at] === '^'
  if (negated) at++
  for (let first = true; first || chars[at] !== ']'; first = false) {
    if (at >= chars.length) return undefined
    if (chars[at] === '[' && chars[at + 1] === ':') {
      const end = chars.indexOf(']', at + 2)
      if (end < 0) return undefined
      if (chars[end - 1] === ':') {
        const known = CLASSES[chars.slice(at + 2, end - 1).join('')]
        if (!known) return undefined
        tests.push((char) => known.test(char))
        at = end + 1
        continue
      }
    }
    if (chars[at] === '\\') at++
    const low = chars[at]
    if (low === undefined) return undefined
    at++
    if (chars[at] === '-' && chars[at + 1] !== undefined && chars[at + 1] !== ']') {
      at++
      if (chars[at] === '\\') at++
      const high = chars[at]
      if (high === undefined) return undefined
      tests.push((char) => char >= low && char <= high)
      at++
    } else tests.push((char) => char === low)
  }
  return { piece: { kind: 'set', negated, has: (char) => tests.some((test) => test(char)) }, next: at + 1 }
}

/** One character per UTF-8 byte: git's `?` and `[…]` match bytes. */
function bytesOf(text: string): string[] {
  return [...(/^[\u0000-\u007f]*$/.test(text) ? text : Buffer.from(text).toString('latin1'))]
}

function parseSegment(text: string): Piece[] | undefined {
  const chars = bytesOf(text)
  const pieces: Piece[] = []
  for (let at = 0; at < chars.length; ) {
    const char = chars[at]!
    at++
    if (char === '*') {
      if (pieces.at(-1)?.kind !== 'run') pieces.push({ kind: 'run' })
    } else if (char === '?') pieces.push({ kind: 'any' })
    else if (char === '[') {
      const set = parseSet(chars, at)
      if (!set) return undefined
      pieces.push(set.piece)
      at = set.next
    } else if (char === '\\') {
      const next = chars[at]
      if (next === undefined) return undefined
      pieces.push({ kind: 'char', char: next })
      at++
    } else pieces.push({ kind: 'char', char })
  }
  return pieces
}

/** Cuts at slashes, but not at one inside `[…]`. */
function splitSegments(line: string): string[] {
  const chars = [...line]
  const segments = ['']
  for (let at = 0; at < chars.length; ) {
    const set = chars[at] === '[' ? parseSet(chars, at + 1) : undefined
    const next = set?.next ?? at + (chars[at] === '\\' ? 2 : 1)
    const text = chars.slice(at, next).join('')
    if (text === '/' || text === '\\/') segments.push('')
    else segments[segments.length - 1] += text
    at = next
  }
  return segments
}

function isPiece(piece: Piece, char: string): boolean {
  switch (piece.kind) {
    case 'char':
      return piece.char === char
    case 'set':
      return piece.has(char) !== piece.negated
    case 'any':
    case 'run':
      return true
  }
}

/** Greedy matching that only ever goes back to the last star: time is length × pattern, also for hostile patterns. */
function matchWithStars<P, T>(
  pattern: P[],
  items: T[],
  isStar: (piece: P) => boolean,
  fits: (piece: P, item: T) => boolean,
): boolean {
  let p = 0
  let i = 0
  let star = -1
  let resume = 0
  while (i < items.length) {
    if (p < pattern.length && isStar(pattern[p]!)) {
      star = p++
      resume = i
    } else if (p < pattern.length && fits(pattern[p]!, items[i]!)) {
      p++
      i++
    } else if (star >= 0) {
      p = star + 1
      i = ++resume
    } else return false
  }
  while (p < pattern.length && isStar(pattern[p]!)) p++
  return p === pattern.length
}

function matchSegment(segment: Segment, name: string): boolean {
  return segment === '**' || matchWithStars(segment, bytesOf(name), (piece) => piece.kind === 'run', isPiece)
}

function matchSegments(rule: Rule, path: string): boolean {
  const names = path.split('/')
  const open = rule.segments.at(-1) === '**'
  // `a/**` is what lies in a, not a itself: the last star takes at least one name.
  const segments = open ? [...rule.segments.slice(0, -1), ANY_NAME, '**' as const] : rule.segments
  return matchWithStars(segments, names, (segment) => segment === '**', matchSegment)
}

const ANY_NAME: Piece[] = [{ kind: 'run' }]

/** Trailing spaces count only when a backslash stands before them. */
function trimSpaces(line: string): string {
  const end = / +$/.exec(line)?.index ?? line.length
  const slashes = /\\*$/.exec(line.slice(0, end))![0].length
  return slashes % 2 === 1 && end < line.length ? line.slice(0, end + 1) : line.slice(0, end)
}

function parseRule(raw: string): Rule | undefined {
  let line = trimSpaces(raw.endsWith('\r') ? raw.slice(0, -1) : raw)
  if (line === '' || line.startsWith('#')) return undefined
  const negated = line.startsWith('!')
  if (negated) line = line.slice(1)
  const foldersOnly = line.endsWith('/')
  if (foldersOnly) line = line.slice(0, -1)
  const anchored = line.includes('/')
  if (line.startsWith('/')) line = line.slice(1)
  if (line === '') return undefined
  const segments: Segment[] = []
  for (const text of splitSegments(line)) {
    const segment = text === '**' && anchored ? '**' : parseSegment(text)
    if (!segment) return undefined
    segments.push(segment)
  }
  const special = /[*?[\]\\]/
  return {
    negated,
    foldersOnly,
    anchored,
    segments,
    literal: special.test(line) ? undefined : line,
    suffix: !anchored && line.startsWith('*') && !special.test(line.slice(1)) ? line.slice(1) : undefined,
  }
}

function matches(rule: Rule, path: string, name: string, isFolder: boolean): boolean {
  if (rule.foldersOnly && !isFolder) return false
  if (rule.literal !== undefined) return rule.literal === (rule.anchored ? path : name)
  if (rule.suffix !== undefined) return name.endsWith(rule.suffix)
  return rule.anchored ? matchSegments(rule, path) : matchSegment(rule.segments[0]!, name)
}

/** Reads an ignore file's text. Lines git would not understand match nothing, as in git. */
export function parseIgnorePatterns(text: string): IgnorePatterns {
  const rules = text
    .replace(/^\ufeff/, '')
    .split('\n')
    .flatMap((line) => parseRule(line) ?? [])
  const namesOnly = rules.every((rule) => !rule.anchored)
  if (rules.some((rule) => rule.negated)) {
    const lastFirst = rules.reverse()
    return {
      namesOnly,
      verdict(path, name, isFolder) {
        for (const rule of lastFirst) if (matches(rule, path, name, isFolder)) return !rule.negated
        return undefined
      },
    }
  }
  // Without `!` the order does not matter, so plain lines become sets: 70,000 files must cost milliseconds.
  const plain = (foldersOnly: boolean, anchored: boolean) =>
    new Set(
      rules
        .filter((rule) => rule.foldersOnly === foldersOnly && rule.anchored === anchored)
        .flatMap((rule) => rule.literal ?? []),
    )
  const names = plain(false, false)
  const folderNames = plain(true, false)
  const paths = plain(false, true)
  const folderPaths = plain(true, true)
  const others = rules.filter((rule) => rule.literal === undefined)
  return {
    namesOnly,
    verdict(path, name, isFolder) {
      if (names.has(name) || paths.has(path)) return true
      if (isFolder && (folderNames.has(name) || folderPaths.has(path))) return true
      for (const rule of others) if (matches(rule, path, name, isFolder)) return true
      return undefined
    },
  }
}
