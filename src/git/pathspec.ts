import { MlvError } from '../base/errors.ts'

interface Pathspec {
  pattern: string
  exclude: boolean
  matches: (path: string) => boolean
}

const SHORT_MAGIC: Record<string, string> = { '/': 'top', '!': 'exclude', '^': 'exclude' }

function splitMagic(text: string): { magic: string[]; pattern: string } {
  const long = /^:\(([^)]*)\)(.*)$/s.exec(text)
  if (long) return { magic: long[1]!.split(',').filter(Boolean), pattern: long[2]! }
  const short = /^:([/!^]*):?(.*)$/s.exec(text)
  if (short) return { magic: [...short[1]!].map((sign) => SHORT_MAGIC[sign]!), pattern: short[2]! }
  return { magic: [], pattern: text }
}

/** @param whole whether `*` stops at slashes, as with `:(glob)` */
function toExpression(pattern: string, whole: boolean): string {
  const token = /\*\*\/|\/\*\*$|\*+|\?|\[(?:!|\^)?\]?[^\]]*\]|\\(.)|[\s\S]/gu
  const star = whole ? '[^/]*' : '.*'
  return pattern.replace(token, (found, escaped?: string) => {
    if (escaped !== undefined) return escapeExpression(escaped)
    if (whole && found === '**/') return '(?:.*/)?'
    if (whole && found === '/**') return '/.*'
    if (found === '**/') return '.*/'
    if (found === '/**') return '/.*'
    if (found.startsWith('*')) return star
    if (found === '?') return whole ? '[^/]' : '.'
    if (found.length > 1 && found.startsWith('['))
      return `[${found
        .slice(1, -1)
        .replace(/^[!^]/, '^')
        .replaceAll('\\', '\\\\')
        .replace(/^(\^?)\]/, '$1\\]')}]`
    return escapeExpression(found)
  })
}

function escapeExpression(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')
}

function parsePathspec(text: string): Pathspec {
  const { magic, pattern: written } = splitMagic(text)
  const unknown = magic.find((word) => !['top', 'literal', 'glob', 'icase', 'exclude'].includes(word))
  if (unknown !== undefined)
    throw new MlvError('GIT_FAILED', `Without git on PATH the pathspec "${text}" cannot be read: "${unknown}"`, {
      hint: 'Install git.',
    })
  const folded = magic.includes('icase')
  const pattern = written.replace(/\/+$/, '')
  const fold = (path: string) => (folded ? path.toLowerCase() : path)
  const literal = fold(pattern)
  const isFile = (path: string) => !written.endsWith('/') && fold(path) === literal
  const below = (path: string) => literal === '' || isFile(path) || fold(path).startsWith(`${literal}/`)
  const wild = !magic.includes('literal') && /[*?[\\]/.test(pattern)
  const expression = wild ? new RegExp(`^${toExpression(pattern, magic.includes('glob'))}$`, folded ? 'isu' : 'su') : undefined
  return { pattern, exclude: magic.includes('exclude'), matches: (path) => below(path) || (expression?.test(path) ?? false) }
}

/** Which paths git would choose by these pathspecs (gitglossary, "pathspec"); all of them when there are none.
 *  @throws GIT_FAILED for `:(attr:…)` and magic this does not know */
export function createPathFilter(pathspecs: string[]): (path: string) => boolean {
  const parsed = pathspecs.map(parsePathspec)
  const wanted = parsed.filter((spec) => !spec.exclude)
  const unwanted = parsed.filter((spec) => spec.exclude)
  return (path) =>
    (wanted.length === 0 || wanted.some((spec) => spec.matches(path))) && !unwanted.some((spec) => spec.matches(path))
}
