import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { hasCode, systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { parseRepoPath } from '../base/paths.ts'
import type { Collector, DataFile, WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Project } from '../workspace/project.ts'

/** What datums gave: their files, by the datum's key. Paths are those below the stage's out. */
export type DatumTable = Map<Oid, DataFile[]>

/** A table as it is stored. */
export interface StoredTable {
  /** the text of each row's files, by the datum's key: see readRow */
  rows: Map<Oid, string>
  /** its files, and how many rows each has */
  shards: Map<string, { file: DataFile; rows: number }>
}

/** Rows of one file of a table, about. */
const ROWS = 1024

/** As canonicalJson writes it, in a third of the time. */
function fileText({ path, kind, oid, size }: DataFile): string {
  return `[${JSON.stringify(path)}, "${kind}", "${oid}", ${size}]`
}

function shardBytes(keys: string[], table: DatumTable): Buffer {
  // Hex digits are sorted alike by any order.
  return Buffer.from(
    keys
      .sort()
      .map(
        (key) =>
          `${key} [${table
            .get(key as Oid)!
            .map(fileText)
            .join(', ')}]\n`,
      )
      .join(''),
  )
}

/** Stores a table as a tree: its files are named by the first digits of the keys they hold, and list rows in the order of keys:
 *  `<key> <canonical JSON of [[path, kind, oid, size], …]>`.
 *  @param before a table in which rows that are in both are the same, unless `fresh` has their key: files of which nothing is new are not made again */
export async function writeTable(
  table: DatumTable,
  collector: Collector,
  before: { stored: StoredTable | undefined; fresh: ReadonlySet<Oid> },
): Promise<Entry> {
  const { stored, fresh } = before
  let digits = 1
  while (16 ** digits * ROWS < table.size) digits++
  const shards = new Map<string, { keys: string[]; same: boolean }>()
  for (const key of table.keys()) {
    const name = key.slice(0, digits)
    const same = (stored?.rows.has(key) ?? false) && !fresh.has(key)
    const shard = shards.get(name)
    if (!shard) shards.set(name, { keys: [key], same })
    else {
      shard.keys.push(key)
      shard.same &&= same
    }
  }
  const files: DataFile[] = []
  for (const [path, { keys, same }] of shards) {
    const old = same ? stored?.shards.get(path) : undefined
    if (old?.rows === keys.length) {
      files.push(old.file)
      continue
    }
    const bytes = shardBytes(keys, table)
    files.push({ path, kind: 'file', oid: await collector.put(bytes), size: bytes.length })
  }
  return collector.tree(files)
}

function isRowFile(item: unknown): item is [string, DataFile['kind'], Oid, number] {
  if (!Array.isArray(item) || item.length !== 4) return false
  const [path, kind, oid, size] = item
  if (kind !== 'file' && kind !== 'exec' && kind !== 'link') return false
  return typeof path === 'string' && typeof oid === 'string' && isOid(oid) && Number.isSafeInteger(size)
}

/** Reads the files of a row; undefined where they are not written as they should be. */
export function readRow(text: string): DataFile[] | undefined {
  try {
    const list = JSON.parse(text) as unknown
    if (!Array.isArray(list)) return undefined
    const files: DataFile[] = []
    for (const item of list) {
      if (!isRowFile(item)) return undefined
      files.push({ path: parseRepoPath(item[0], 'table of datums'), kind: item[1], oid: item[2], size: item[3] })
    }
    return files
  } catch (error) {
    if (hasCode(error, 'PATH_INVALID') || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Reads a table. One that is gone or broken is empty: its datums run again. */
export async function readTable(entry: Entry | undefined, data: WorkspaceData): Promise<StoredTable> {
  const table: StoredTable = { rows: new Map(), shards: new Map() }
  if (entry?.kind !== 'tree' || !(await data.isCached(entry))) return table
  try {
    for (const file of await data.list(entry)) {
      let rows = 0
      for (const line of (await data.read(file.oid)).toString('utf8').split('\n')) {
        if (line[64] !== ' ') continue
        table.rows.set(line.slice(0, 64) as Oid, line.slice(65))
        rows++
      }
      table.shards.set(file.path, { file, rows })
    }
  } catch (error) {
    if (!hasCode(error, 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'TREE_INVALID')) throw error
  }
  return table
}

/** Datums that ran though the stage did not end well: derived, may be lost at any time. */
export interface Unfinished {
  table: Entry
  failed: Oid[]
  /** of those that failed: with other inputs a datum has another key, and is still the one that failed */
  names?: string[]
}

function unfinishedPath(project: Pick<Project, 'stateDir'>, stage: string): string {
  return join(project.stateDir, 'datums', stage)
}

export function readUnfinished(project: Pick<Project, 'stateDir'>, stage: string): Unfinished | undefined {
  try {
    return JSON.parse(readFileSync(unfinishedPath(project, stage), 'utf8')) as Unfinished
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

export function noteUnfinished(project: Pick<Project, 'stateDir'>, stage: string, unfinished: Unfinished | undefined): void {
  const path = unfinishedPath(project, stage)
  if (unfinished) writeFileAtomic(path, JSON.stringify(unfinished), { flush: false })
  else rmSync(path, { force: true })
}
