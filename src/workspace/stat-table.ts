import { createHash } from 'node:crypto'
import { readFileSync, type Stats } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Entry } from './entry.ts'

/** What a path was when its bytes were last hashed. */
export interface StatRow {
  kind: 'file' | 'exec' | 'link' | 'tree'
  oid: Oid
  /** bytes; of a tree: of all files below */
  size: number
  /** trees: files below; else 0 */
  files: number
  /** ms since 1970, fractions kept */
  mtime: number
  inode: number
  /** mlv placed or recorded this path here: if it is gone, a user deleted it */
  recorded: boolean
  /** the file's time was as young as the row: it may have changed since without a trace */
  racy: boolean
  /** written by mlv and not flushed: after a power loss it may hold anything */
  unsettled: boolean
}

/** Rows of one tracked directory, or (at '') of all single files. Derived: may be lost at any time. */
export interface StatTable {
  rows: Map<string, StatRow>
  /** what mlv last placed or recorded, by path; for a directory's table the path is '' */
  recorded: Map<string, Entry>
  /** the directory as its rows say, when they say it all */
  computed: Entry | undefined
  dirty: boolean
}

/** A kernel stamps files with the time of its last tick, at most 10 ms ago. */
export const TICK_MS = 10
const SETTLE_MS = 60_000
const MAGIC = 'mlvstat1'
const KINDS = ['file', 'exec', 'link', 'tree'] as const

interface Header {
  path: string
  boot: string
  written: number
  count: number
  recorded: [string, Entry][]
  computed?: Entry
}

let boot: string | undefined

function bootId(): string {
  if (boot === undefined) {
    try {
      boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    } catch {
      // Without it the time of the start, to the minute, tells boots apart.
      boot = String(Math.round((Date.now() / 1000 - uptime()) / 60))
    }
  }
  return boot
}

export function tablePath(stateDir: string, path: RepoPath): string {
  return join(stateDir, 'stat', path === '' ? 'files' : createHash('sha256').update(path).digest('hex').slice(0, 32))
}

export function emptyTable(): StatTable {
  return { rows: new Map(), recorded: new Map(), computed: undefined, dirty: false }
}

/** Reads the table of a path; a lost or broken one is empty. */
export function readTable(stateDir: string, path: RepoPath): StatTable {
  let bytes: Buffer
  try {
    bytes = readFileSync(tablePath(stateDir, path))
  } catch {
    return emptyTable()
  }
  try {
    return parseTable(bytes, path) ?? emptyTable()
  } catch {
    // Derived data: whatever is wrong with it, the files themselves are read again.
    return emptyTable()
  }
}

function parseTable(bytes: Buffer, path: RepoPath): StatTable | undefined {
  if (bytes.toString('latin1', 0, 8) !== MAGIC) return undefined
  const headerLength = bytes.readUInt32LE(8)
  const header = JSON.parse(bytes.toString('utf8', 16, 16 + headerLength)) as Header
  if (header.path !== path) return undefined
  const { count } = header
  let at = 16 + headerLength
  at += (8 - (at % 8)) % 8
  const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + count * 32))
  at += count * 32
  const oids = bytes.subarray(at, at + count * 32)
  at += count * 32
  const flags = bytes.subarray(at, at + count)
  const names = bytes.toString('utf8', at + count).split('\0')
  if (names.length !== count + (count === 0 ? 1 : 0)) return undefined
  const sameBoot = header.boot === bootId()
  const settles = sameBoot && Date.now() - header.written > SETTLE_MS
  const table: StatTable = { rows: new Map(), recorded: new Map(header.recorded), computed: header.computed, dirty: false }
  const hex = oids.toString('hex')
  for (let i = 0; i < count; i++) {
    const flag = flags[i]!
    const unsettled = (flag & 16) !== 0
    if (unsettled && settles) table.dirty = true
    table.rows.set(names[i]!, {
      kind: KINDS[flag & 3]!,
      oid: hex.slice(i * 64, i * 64 + 64) as Oid,
      size: numbers[i * 4]!,
      files: numbers[i * 4 + 1]!,
      mtime: numbers[i * 4 + 2]!,
      inode: numbers[i * 4 + 3]!,
      recorded: (flag & 4) !== 0,
      // An unsettled row of another boot is read again once.
      racy: (flag & 8) !== 0 || (unsettled && !sameBoot),
      unsettled: unsettled && !settles,
    })
  }
  return table
}

/** Writes a table; not flushed, because a lost one costs only time. */
export function writeTable(stateDir: string, path: RepoPath, table: StatTable): void {
  const count = table.rows.size
  const header: Header = {
    path,
    boot: bootId(),
    written: Date.now(),
    count,
    recorded: [...table.recorded],
    computed: table.computed,
  }
  const head = Buffer.from(JSON.stringify(header))
  const start = 16 + head.length + ((8 - ((16 + head.length) % 8)) % 8)
  const names = Buffer.from([...table.rows.keys()].join('\0'))
  const bytes = Buffer.alloc(start + count * 65 + names.length)
  bytes.write(MAGIC, 0, 'latin1')
  bytes.writeUInt32LE(head.length, 8)
  head.copy(bytes, 16)
  const numbers = new Float64Array(count * 4)
  const oidsAt = start + count * 32
  const flagsAt = oidsAt + count * 32
  let hex = ''
  let i = 0
  for (const row of table.rows.values()) {
    numbers[i * 4] = row.size
    numbers[i * 4 + 1] = row.files
    numbers[i * 4 + 2] = row.mtime
    numbers[i * 4 + 3] = row.inode
    hex += row.oid
    bytes[flagsAt + i] = KINDS.indexOf(row.kind) | (row.recorded ? 4 : 0) | (row.racy ? 8 : 0) | (row.unsettled ? 16 : 0)
    i++
  }
  Buffer.from(numbers.buffer).copy(bytes, start)
  bytes.write(hex, oidsAt, 'hex')
  names.copy(bytes, flagsAt + count)
  writeFileAtomic(tablePath(stateDir, path), bytes, { flush: false })
  table.dirty = false
}

/** Whether a file is still what its row says, by its times alone. */
export function isUnchanged(row: StatRow | undefined, stats: Stats): row is StatRow {
  return (
    row !== undefined &&
    !row.racy &&
    row.kind !== 'tree' &&
    row.size === stats.size &&
    row.mtime === stats.mtimeMs &&
    row.inode === stats.ino &&
    row.kind === kindOf(stats)
  )
}

export function kindOf(stats: Stats): 'file' | 'exec' | 'link' {
  return stats.isSymbolicLink() ? 'link' : (stats.mode & 0o100) !== 0 ? 'exec' : 'file'
}
