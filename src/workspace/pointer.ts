import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { quotePath, type RepoPath } from '../base/paths.ts'
import type { Entry } from './entry.ts'

/** The `NAME.mlv` file that says which object belongs at NAME. */
export interface Pointer {
  entry: Entry & { kind: 'file' | 'exec' | 'tree' }
  desc?: string
  labels?: string[]
  /** the remote that holds it, where it is not the default one */
  remote?: string
  source?: Record<string, unknown>
  meta?: Record<string, unknown>
  /** keys this program does not know, kept as they are */
  unknown?: Record<string, unknown>
}

export const POINTER_SUFFIX = '.mlv'

/** `data` → `data.mlv`: a pointer stands beside what it stands for. */
export function pointerPathOf(path: RepoPath): RepoPath {
  return `${path}${POINTER_SUFFIX}` as RepoPath
}

export function dataPathOf(pointer: RepoPath): RepoPath {
  return pointer.slice(0, -POINTER_SUFFIX.length) as RepoPath
}

/** The text mlv writes when there is nothing but the entry; read without a YAML parser. */
const PLAIN =
  /^mlv: 1\nkind: (?:(file|exec)\noid: ([0-9a-f]{64})\nsize: (\d{1,16})|tree\noid: ([0-9a-f]{64})\nsize: (\d{1,16})\nfiles: (\d{1,16}))\n$/
const MAX_BYTES = 1 << 20
const KNOWN = ['mlv', 'kind', 'oid', 'size', 'files', 'desc', 'labels', 'remote', 'source', 'meta']

/** @param place the line and column, where they are known */
function invalid(path: string, what: string, place = path): MlvError {
  return new MlvError('POINTER_INVALID', `${place}: ${what}`, {
    hint: `Restore it with "git checkout -- ${quotePath(path)}", or record the data again with "mlv add".`,
  })
}

/** Parses a pointer's text. @param path names it in messages  @throws POINTER_INVALID, POINTER_CONFLICT with line and column */
export async function parsePointer(text: string, path: string): Promise<Pointer> {
  const plain = PLAIN.exec(text)
  if (plain) {
    const size = Number(plain[3] ?? plain[5])
    const files = Number(plain[6])
    if (Number.isSafeInteger(size) && (plain[4] === undefined || Number.isSafeInteger(files)))
      return plain[4] === undefined
        ? { entry: { kind: plain[1] as 'file' | 'exec', oid: plain[2] as Oid, size } }
        : { entry: { kind: 'tree', oid: plain[4] as Oid, size, files } }
  }
  if (text.length > MAX_BYTES) throw invalid(path, 'is larger than any pointer')
  if (/^(<<<<<<<|>>>>>>>) /m.test(text))
    throw new MlvError('POINTER_CONFLICT', `Merge markers in ${path}`, {
      hint: `Run "git checkout --ours -- ${quotePath(path)}" or "git checkout --theirs -- ${quotePath(path)}", then "git add" it and "mlv checkout".`,
    })
  const { parseYaml } = await import('../base/yaml.ts')
  let file: ReturnType<typeof parseYaml>
  try {
    file = parseYaml(text, path)
  } catch (error) {
    throw new MlvError('POINTER_INVALID', (error as Error).message, {
      hint: `Restore it with "git checkout -- ${quotePath(path)}".`,
      cause: error,
    })
  }
  const value = file.value as Record<string, unknown> | null
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(path, 'is not a pointer')
  if (holdsItself(value)) throw invalid(path, 'has a value that holds itself')
  const fail = (key: string, what: string) => invalid(path, what, file.at(key))
  if (value.mlv !== 1)
    throw fail('mlv', value.mlv === undefined ? 'lacks "mlv: 1"' : `has the format ${String(value.mlv)}, which needs a newer mlv`)
  const { kind } = value
  if (kind !== 'file' && kind !== 'exec' && kind !== 'tree') throw fail('kind', 'kind is not file, exec or tree')
  // From the source text: YAML would make 1111e22 a number.
  const node = file.document.get('oid', true) as { source?: string; value?: unknown } | undefined
  const oid = String(node?.source ?? node?.value ?? '')
  if (!isOid(oid)) throw fail('oid', 'oid is not 64 lower-case hex characters')
  const count = (key: string): number => {
    const number = value[key]
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) throw fail(key, `${key} is not a whole number`)
    return number
  }
  const text_ = (key: string): string | undefined => {
    const item = value[key]
    if (item === undefined || typeof item === 'string') return item
    throw fail(key, `${key} is not a text`)
  }
  const map = (key: string) => {
    const item = value[key]
    if (item === undefined || (typeof item === 'object' && item !== null && !Array.isArray(item)))
      return item as Record<string, unknown> | undefined
    throw fail(key, `${key} is not a map`)
  }
  const { labels } = value
  if (labels !== undefined && !(Array.isArray(labels) && labels.every((label) => typeof label === 'string')))
    throw fail('labels', 'labels is not a list of texts')
  const unknown = Object.fromEntries(Object.entries(value).filter(([key]) => !KNOWN.includes(key)))
  const size = count('size')
  return {
    entry: kind === 'tree' ? { kind, oid, size, files: count('files') } : { kind, oid, size },
    desc: text_('desc'),
    labels: labels as string[] | undefined,
    remote: text_('remote'),
    source: map('source'),
    meta: map('meta'),
    unknown: Object.keys(unknown).length > 0 ? unknown : undefined,
  }
}

/** YAML's anchors can make a value part of itself, which no text can spell out. */
function holdsItself(value: unknown, above: readonly unknown[] = []): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (above.includes(value)) return true
  return Object.values(value).some((item) => holdsItself(item, [...above, value]))
}

/** The one valid text of a pointer: known keys in their order, unknown ones after them, sorted. */
export async function formatPointer(pointer: Pointer): Promise<string> {
  const { entry } = pointer
  let text = `mlv: 1\nkind: ${entry.kind}\noid: ${entry.oid}\nsize: ${entry.size}\n`
  if (entry.kind === 'tree') text += `files: ${entry.files}\n`
  // A map, because an object moves keys like "7" to its front and loses "__proto__".
  const rest = new Map<string, unknown>()
  for (const key of ['desc', 'labels', 'remote', 'source', 'meta'] as const)
    if (pointer[key] !== undefined) rest.set(key, pointer[key])
  for (const key of Object.keys(pointer.unknown ?? {}).sort()) rest.set(key, pointer.unknown![key])
  if (rest.size === 0) return text
  const { formatYaml } = await import('../base/yaml.ts')
  return text + formatYaml(rest)
}

/** Reads the pointer of a path from the workspace; undefined when there is none. @throws POINTER_INVALID, POINTER_CONFLICT, FILE_UNREADABLE */
export async function readPointer(root: string, path: RepoPath): Promise<Pointer | undefined> {
  const pointerPath = pointerPathOf(path)
  let text: string
  try {
    const stats = lstatSync(join(root, pointerPath), { throwIfNoEntry: false })
    if (!stats || stats.isDirectory()) return undefined
    // A FIFO would keep the reader waiting, a link lead elsewhere.
    if (!stats.isFile()) throw invalid(pointerPath, 'is neither a file nor a folder')
    text = readFileSync(join(root, pointerPath), 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(systemCode(error) ?? '')) return undefined
    throw fileError(error, 'reading', pointerPath)
  }
  return parsePointer(text, pointerPath)
}
