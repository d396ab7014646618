import { MlvError } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { compareUtf8, joinPath, parentsOf, type RepoPath } from '../base/paths.ts'
import type { DataFile } from '../workspace/data.ts'
import { canonicalJson } from './canonical-json.ts'
import type { Each, EachInput } from './each.ts'
import { fillGroups, parsePattern } from './glob-groups.ts'

/** One part of an input: a file, or a folder with all below it. */
export interface Part {
  input: string
  /** of the project */
  path: RepoPath
  /** what names its bytes: a file's oid, or the SHA-256 of the list of a folder's files */
  oid: Oid
  kind: 'file' | 'exec' | 'link' | 'folder'
  /** bytes */
  size: number
  groups: string[]
}

/** What one run of the command is given. */
export interface Datum {
  /** for messages: the paths of its parts */
  name: string
  parts: Part[]
}

/** A cross of large inputs would never end. */
const MOST_DATUMS = 1_000_000

/** Folders of a listing with the files below each. */
function collectFolders(files: readonly DataFile[]): Map<string, DataFile[]> {
  const folders = new Map<string, DataFile[]>()
  for (const file of files)
    for (const at of parentsOf(file.path)) {
      const below = folders.get(at)
      if (below) below.push(file)
      else folders.set(at, [file])
    }
  return folders
}

function folderPart(files: readonly DataFile[]): Pick<Part, 'oid' | 'kind' | 'size'> {
  const size = files.reduce((sum, file) => sum + file.size, 0)
  return { oid: oidOfBytes(canonicalJson(files.map(({ path, kind, oid }) => [path, kind, oid]))), kind: 'folder', size }
}

/** Cuts an input. Files below a folder that matches are no parts of their own. */
function partsOf(input: EachInput, files: readonly DataFile[]): Part[] {
  const pattern = parsePattern(input.glob)
  const base = { input: input.name }
  const place = (below: string) => (below === '' ? input.path : (joinPath(input.path, below) as RepoPath))
  const single = files.length === 1 && files[0]!.path === ''
  if (single) {
    const { kind, oid, size } = files[0]!
    const name = input.path.slice(input.path.lastIndexOf('/') + 1)
    const groups = pattern.whole ? [] : pattern.match(name)
    return groups ? [{ ...base, path: input.path, kind, oid, size, groups }] : []
  }
  if (pattern.whole) return files.length === 0 ? [] : [{ ...base, path: input.path, ...folderPart(files), groups: [] }]
  const parts: Part[] = []
  for (const [folder, below] of collectFolders(files)) {
    const groups = pattern.match(folder)
    if (groups) parts.push({ ...base, path: place(folder), ...folderPart(below), groups })
  }
  const taken = new Set(parts.map(({ path }) => path))
  const lies = (path: string): boolean => [...parentsOf(path)].some((folder) => taken.has(place(folder)))
  for (const { path, kind, oid, size } of files) {
    const groups = pattern.match(path)
    // Spread, an object takes several times as long to make.
    if (groups && (taken.size === 0 || !lies(path))) parts.push({ input: input.name, path: place(path), oid, kind, size, groups })
  }
  return sortParts(parts)
}

/** Sorts by path. A listing of files is sorted already, which takes less time to see than to do again. */
function sortParts(parts: Part[]): Part[] {
  for (let at = 1; at < parts.length; at++)
    if (compareUtf8(parts[at - 1]!.path, parts[at]!.path) > 0) return parts.sort((a, b) => compareUtf8(a.path, b.path))
  return parts
}

function tooMany(count: number, where: string): MlvError {
  return new MlvError('PIPELINE_INVALID', `${where} makes ${count} datums; ${MOST_DATUMS} is the most`, {
    hint: 'Use join instead of cross, or a narrower glob.',
  })
}

function* combine(lists: readonly Part[][]): Generator<Part[]> {
  const [first, ...rest] = lists
  if (!first) yield []
  else for (const part of first) for (const others of combine(rest)) yield [part, ...others]
}

function byKey(input: EachInput, parts: readonly Part[]): Map<string, Part[]> {
  const found = new Map<string, Part[]>()
  for (const part of parts) {
    const key = fillGroups(input.on, part.groups)
    found.set(key, [...(found.get(key) ?? []), part])
  }
  return found
}

function makeDatums(each: Each, parts: Part[][], where: string): Part[][] {
  if (each.by === 'union') return parts.flat().map((part) => [part])
  if (each.by === 'cross') {
    const count = parts.reduce((product, list) => product * list.length, 1)
    if (count > MOST_DATUMS) throw tooMany(count, where)
    return [...combine(parts)]
  }
  const keyed = each.inputs.map((input, at) => byKey(input, parts[at]!))
  const keys = [...new Set(keyed.flatMap((map) => [...map.keys()]))].sort(compareUtf8)
  if (each.by === 'group') return keys.map((key) => keyed.flatMap((map) => map.get(key) ?? []))
  const shared = keys.filter((key) => keyed.every((map) => map.has(key)))
  const count = shared.reduce((sum, key) => sum + keyed.reduce((product, map) => product * map.get(key)!.length, 1), 0)
  if (count > MOST_DATUMS) throw tooMany(count, where)
  return shared.flatMap((key) => [...combine(keyed.map((map) => map.get(key)!))])
}

/** The datums of a map stage, in the order of their paths. @param files what lies at each input, in the order of `each.inputs`
 *  @param where names `each` in messages
 *  @throws PIPELINE_INVALID when there are too many */
export function listDatums(each: Each, files: readonly (readonly DataFile[])[], where = 'each'): Datum[] {
  const parts = each.inputs.map((input, at) => partsOf(input, files[at]!))
  return makeDatums(each, parts, where).map((list) => ({
    name: list.length === 1 ? list[0]!.path : list.map(({ path }) => path).join(' + '),
    parts: list,
  }))
}

const KEY_FORMAT = 1

/** Makes keys of datums: the SHA-256 of all that decides what one gives: command, its parts by path and oid, and what is the same for all (`shared`). */
export function datumKeys(shared: string): (datum: Datum) => Oid {
  // Of a million datums each: only what differs is put together anew, to the same text as canonicalJson's.
  const start = `[${KEY_FORMAT}, ${JSON.stringify(shared)}, [`
  const names = new Map<string, string>()
  const nameText = (input: string): string => {
    const known = names.get(input)
    if (known !== undefined) return known
    const text = JSON.stringify(input)
    names.set(input, text)
    return text
  }
  const partText = ({ input, path, kind, oid, groups }: Part) =>
    `[${nameText(input)}, ${JSON.stringify(path)}, "${kind}", "${oid}", ${groups.length === 0 ? '[]' : canonicalJson(groups)}]`
  return ({ parts }) => oidOfBytes(`${start}${parts.length === 1 ? partText(parts[0]!) : parts.map(partText).join(', ')}]]`)
}
