import { hasCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import { takeIn } from '../store/intake.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StoreWriter } from '../store/store-writer.ts'
import { UNREADABLE } from './diff.ts'
import type { ChangeCounts } from './entry.ts'
import type { SourceFile } from './open-source.ts'
import type { Project } from './project.ts'

/** What a file of a bucket was when it was taken. */
export interface TakenFile {
  /** bytes */
  size: number
  /** what the server called these bytes, or when they were written */
  version: string
  oid: Oid
}

const HEADER = 'mlv-source-files 1'

/** What tells a listed file from another version of it; undefined where nothing does. */
export function versionOf({ blob }: SourceFile): string | undefined {
  return blob && (blob.info.etag ?? String(blob.info.modified))
}

/** The text, in pieces. */
export function* formatSourceFiles(files: ReadonlyMap<string, TakenFile>): Generator<Buffer> {
  yield Buffer.from(`${HEADER}\n`)
  for (const path of [...files.keys()].sort(compareUtf8)) {
    const { size, version, oid } = files.get(path)!
    yield Buffer.from(`${JSON.stringify([path, size, version, oid])}\n`)
  }
}

/** Stores what the files of a prefix were, for the next update. @returns the oid that the pointer keeps as `source.files` */
export async function storeSourceFiles(
  files: ReadonlyMap<string, TakenFile>,
  store: ObjectStore,
  writer: StoreWriter,
): Promise<Oid> {
  async function* pieces() {
    yield* formatSourceFiles(files)
  }
  return (await takeIn(pieces(), { store, writer, what: 'the list of its files' })).oid
}

function parseLine(line: string): [string, TakenFile] | undefined {
  try {
    const row: unknown = JSON.parse(line)
    if (!Array.isArray(row) || row.length !== 4) return undefined
    const [path, size, version, oid] = row
    if (typeof path !== 'string' || !Number.isSafeInteger(size) || typeof version !== 'string' || !isOid(oid)) return undefined
    return [path, { size, version, oid }]
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** @returns undefined for what is no such text: anybody may have written it */
export function parseSourceFiles(text: string): Map<string, TakenFile> | undefined {
  const [header, ...lines] = text.split('\n')
  if (header !== HEADER || lines.pop() !== '') return undefined
  const rows = lines.map(parseLine)
  return rows.every((row) => row !== undefined) ? new Map(rows) : undefined
}

/** What an import took last: from the cache, else from the remote. It only saves reading all again.
 *  @returns undefined where nobody has it */
export async function readSourceFiles(
  project: Project,
  oid: string | undefined,
  remote: string | undefined,
): Promise<Map<string, TakenFile> | undefined> {
  if (oid === undefined || !isOid(oid)) return undefined
  const { signal } = project.surroundings
  try {
    const cache = await project.cache('read')
    const store = cache.has(oid) ? cache : (await project.remote(remote)).store
    if (!store.has(oid)) return undefined
    const pieces: Buffer[] = []
    for await (const piece of store.stream(oid, { signal })) pieces.push(piece)
    return parseSourceFiles(Buffer.concat(pieces).toString('utf8'))
  } catch (error) {
    if (hasCode(error, ...UNREADABLE, 'OBJECT_PURGED', 'REMOTE_UNKNOWN')) return undefined
    throw error
  }
}

/** How the files listed now differ from those that were taken. */
export function countChanges(before: ReadonlyMap<string, TakenFile>, now: readonly SourceFile[]): ChangeCounts {
  const counts: ChangeCounts = { added: 0, deleted: 0, modified: 0 }
  for (const path of changedFiles(before, now)) {
    if (!before.has(path)) counts.added++
    else counts.modified++
  }
  const listed = new Set(now.map(({ path }) => path))
  for (const path of before.keys()) if (!listed.has(path)) counts.deleted++
  return counts
}

/** Paths below the prefix that came or changed. */
export function changedFiles(before: ReadonlyMap<string, TakenFile>, now: readonly SourceFile[]): string[] {
  return now.filter((file) => !isSameFile(before.get(file.path), file)).map(({ path }) => path)
}

/** Whether a listed file is what was taken, by size and what the server calls it. */
export function isSameFile(taken: TakenFile | undefined, file: SourceFile): taken is TakenFile {
  return taken !== undefined && taken.size === file.size && taken.version === versionOf(file)
}
