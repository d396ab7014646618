import { MlvError } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8, nameProblem } from '../base/paths.ts'

/** One name in a directory. */
export type TreeEntry =
  | { name: string; kind: 'file' | 'exec' | 'link'; oid: Oid; size: number }
  | { name: string; kind: 'tree'; oid: Oid; size: number; files: number }

/** A page one level below: what it holds in all, and its first name. */
export interface PageRef {
  name: string
  kind: 'page'
  oid: Oid
  size: number
  files: number
}

export type TreePage = { level: 0; entries: TreeEntry[] } | { level: number; entries: PageRef[] }

export interface Totals {
  /** bytes of files and executables; links are left out */
  size: number
  /** files, executables and links */
  files: number
}

/** 1,024 entries of 255-byte names that are escaped to twice their length, and their fields. */
const MAX_PAGE_BYTES = 1024 * (2 * 255 + 128)
const MAX_LEVEL = 16

function escapeName(name: string): string {
  return /[\\\t\n]/.test(name) ? name.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n') : name
}

function unescapeName(text: string, fail: (what: string) => never): string {
  // Escaped alone, or two texts would make one name.
  if (text.includes('\t')) return fail(`an unescaped tab in "${text}"`)
  if (!text.includes('\\')) return text
  return text.replace(/\\(.?)/gs, (_all, char: string) => {
    if (char === '\\') return '\\'
    if (char === 't') return '\t'
    if (char === 'n') return '\n'
    return fail(`an unknown escape in "${text}"`)
  })
}

function formatEntry(entry: TreeEntry | PageRef): string {
  const counted = entry.kind === 'tree' || entry.kind === 'page' ? ` ${entry.files}` : ''
  return `${entry.kind} ${entry.oid} ${entry.size}${counted}\t${escapeName(entry.name)}\n`
}

export function formatPage(page: TreePage): string {
  let text = page.level === 0 ? 'mlv-tree 1 leaf\n' : `mlv-tree 1 branch ${page.level}\n`
  for (const entry of page.entries) text += formatEntry(entry)
  return text
}

export function totalsOf(entries: readonly (TreeEntry | PageRef)[]): Totals {
  let size = 0
  let files = 0
  for (const entry of entries) {
    if (entry.kind === 'tree' || entry.kind === 'page') files += entry.files
    else files++
    if (entry.kind !== 'link') size += entry.size
  }
  return { size, files }
}

const LINE = /^(file|exec|link|tree|page) ([0-9a-f]{64}) (0|[1-9][0-9]{0,15})(?: (0|[1-9][0-9]{0,15}))?\t(.*)$/s
const HEADER = /^mlv-tree 1 (?:leaf|branch ([1-9][0-9]?))$/
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Parses one page strictly: a page has exactly one text. @throws TREE_INVALID */
export function parsePage(bytes: Uint8Array, oid: Oid): TreePage {
  const fail = (what: string): never => {
    throw new MlvError('TREE_INVALID', `The tree page ${oid} has ${what}`, {
      hint: 'It was made by a broken or hostile program; restore the pointer from an earlier commit.',
    })
  }
  if (bytes.length > MAX_PAGE_BYTES) fail(`${bytes.length} bytes, more than any page`)
  let text = ''
  try {
    text = utf8.decode(bytes)
  } catch {
    fail('bytes that are not UTF-8')
  }
  const lines = text.split('\n')
  if (lines.pop() !== '') fail('no newline at its end')
  const header = HEADER.exec(lines[0] ?? '')
  if (!header) return fail('an unknown header')
  const level = header[1] === undefined ? 0 : Number(header[1])
  if (level > MAX_LEVEL) fail(`the level ${level}`)
  if (lines.length > 1025) fail('more than 1,024 entries')
  const entries: (TreeEntry | PageRef)[] = []
  let last: string | undefined
  let allBytes = 0
  let allFiles = 0
  for (let i = 1; i < lines.length; i++) {
    const match = LINE.exec(lines[i]!)
    if (!match) return fail(`a malformed line ${i + 1}`)
    const [, kind, id, bytesText, filesText, escaped] = match
    const name = unescapeName(escaped!, fail)
    const problem = nameProblem(name)
    if (problem) fail(`${problem} in line ${i + 1}`)
    if (last !== undefined && compareUtf8(last, name) >= 0) fail(`names out of order in line ${i + 1}`)
    last = name
    const size = Number(bytesText)
    if (size > Number.MAX_SAFE_INTEGER || !isOid(id!)) return fail(`a malformed line ${i + 1}`)
    const counted = kind === 'tree' || kind === 'page'
    if (counted !== (filesText !== undefined) || (kind === 'page') !== level > 0) fail(`a malformed line ${i + 1}`)
    const files = Number(filesText)
    if (files > Number.MAX_SAFE_INTEGER) fail(`a malformed line ${i + 1}`)
    entries.push((counted ? { name, kind, oid: id, size, files } : { name, kind, oid: id, size }) as TreeEntry | PageRef)
    if (kind !== 'link') allBytes += size
    allFiles += counted ? files : 1
    if (allBytes > Number.MAX_SAFE_INTEGER || allFiles > Number.MAX_SAFE_INTEGER) return fail('totals beyond 2^53')
  }
  // The last branch page of a level may have a single page below it.
  if (level > 0 && entries.length === 0) fail('no page below a branch')
  return { level, entries } as TreePage
}
