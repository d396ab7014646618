import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { hasCode, systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8, parseRepoPath } from '../base/paths.ts'
import type { Collector, DataFile, WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Project } from '../workspace/project.ts'

/** What datums gave: their files, by the datum's key. Paths are those below the stage's out. */
export type DatumTable = Map<Oid, DataFile[]>

/** Rows of one file of a table, about. */
const ROWS = 1024

/** As canonicalJson writes it, in a third of the time. */
function fileText({ path, kind, oid, size }: DataFile): string {
  return `[${JSON.stringify(path)}, "${kind}", "${oid}", ${size}]`
}

/** Stores a table as a tree: its files are named by the first digits of the keys they hold, and list rows in the order of keys:
 *  `<key> <canonical JSON of [[path, kind, oid, size], …]>`. */
export async function writeTable(table: DatumTable, collector: Collector): Promise<Entry> {
  let digits = 1
  while (16 ** digits * ROWS < table.size) digits++
  const shards = new Map<string, string[]>()
  for (const key of [...table.keys()].sort(compareUtf8)) {
    const name = key.slice(0, digits)
    const row = `${key} [${table.get(key)!.map(fileText).join(', ')}]\n`
    const rows = shards.get(name)
    if (rows) rows.push(row)
    else shards.set(name, [row])
  }
  const files: DataFile[] = []
  for (const [path, rows] of shards) {
    const bytes = Buffer.from(rows.join(''))
    files.push({ path, kind: 'file', oid: await collector.put(bytes), size: bytes.length })
  }
  return collector.tree(files)
}

function readRow(line: string): [Oid, DataFile[]] | undefined {
  const key = line.slice(0, 64)
  if (!isOid(key) || line[64] !== ' ') return undefined
  const list = JSON.parse(line.slice(65)) as [string, DataFile['kind'], Oid, number][]
  const files = list.map(([path, kind, oid, size]) => ({
    path: parseRepoPath(path, 'table of datums') as string,
    kind,
    oid,
    size,
  }))
  const valid = files.every(
    ({ kind, oid, size }) => ['file', 'exec', 'link'].includes(kind) && isOid(oid) && Number.isSafeInteger(size),
  )
  return valid ? [key, files] : undefined
}

/** Reads a table. One that is gone or broken is empty: its datums run again. */
export async function readTable(entry: Entry | undefined, data: WorkspaceData): Promise<DatumTable> {
  const table: DatumTable = new Map()
  if (entry?.kind !== 'tree' || !(await data.isCached(entry))) return table
  try {
    for (const { oid } of await data.list(entry))
      for (const line of (await data.read(oid)).toString('utf8').split('\n')) {
        const row = line === '' ? undefined : readRow(line)
        if (row) table.set(...row)
      }
  } catch (error) {
    if (!hasCode(error, 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'TREE_INVALID', 'PATH_INVALID') && !(error instanceof SyntaxError))
      throw error
  }
  return table
}

/** Datums that ran though the stage did not end well: derived, may be lost at any time. */
export interface Unfinished {
  table: Entry
  failed: Oid[]
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
