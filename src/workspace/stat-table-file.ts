import { createHash, randomUUID } from 'node:crypto'
import { lstatSync, readFileSync, rmSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { faultPoint } from '../base/fault-point.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import { bootId } from '../base/process-state.ts'
import type { Entry } from './entry.ts'
import { emptyTable, type StatRow, type StatTable } from './stat-table.ts'
import { TrackedRows } from './tracked-rows.ts'

const SETTLE_MS = 60_000
/** Layout: magic 8 · header's length u32 · check u32 · header as JSON · zeros up to a multiple of 8 · per row 5 doubles (size, files, mtime,
 *  inode, ctime; a fingerprint, u64, instead of files where flag 64 says so), then per row 32 bytes (oid), then per row a byte of flags, then the names, NUL between them; little-endian. */
const MAGIC = 'mlvstat2'
/** Numbers of a row, and their bytes. */
const NUMBERS = 5
const NUMBER_BYTES = 8 * NUMBERS
const KINDS = ['file', 'exec', 'link', 'tree'] as const

/** What a table says besides its rows. */
interface Summary {
  recorded: [string, Entry][]
  computed?: Entry
  held?: string
}

interface Header extends Summary {
  path: string
  /** names this writing of the table, so that changes are applied to no other */
  id: string
  boot: string
  written: number
  count: number
}

/** Elsewhere the time of the start, to the minute, tells boots apart. */
function bootName(): string {
  return bootId() ?? String(Math.round((Date.now() / 1000 - uptime()) / 60))
}

export function tablePath(stateDir: string, path: RepoPath): string {
  return join(stateDir, 'stat', path === '' ? 'files' : createHash('sha256').update(path).digest('hex').slice(0, 32))
}

/** Reads the table of a path; a lost or broken one is empty. @param trustCtime false: the rows come without ctimes */
export function readTable(stateDir: string, path: RepoPath, trustCtime = true): StatTable {
  const file = tablePath(stateDir, path)
  const bytes = readIfThere(file)
  if (!bytes) return emptyTable()
  try {
    const table = parseTable(bytes, path, trustCtime)
    if (!table) return emptyTable()
    const changes = readIfThere(`${file}.changes`)
    if (changes) applyChanges(table, JSON.parse(changes.toString('utf8')) as Changes, trustCtime)
    return table
  } catch {
    // Derived data: whatever is wrong with it, the files themselves are read again.
    return emptyTable()
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

/** What a later command changed in a table: written beside it, because the whole table of a large folder takes longer than the command. */
interface Changes extends Summary {
  base: string
  boot: string
  written: number
  rows: [string, StatRow][]
  gone: string[]
}

/** Beyond this many changed rows, or an eighth of all, the whole table is written. */
const MAX_CHANGES = 2000

function applyChanges(table: StatTable, changes: Changes, trustCtime: boolean): void {
  if (changes.base !== table.base?.id) return
  const age = ageOf(changes)
  for (const [path, row] of changes.rows) {
    if (!trustCtime) row.ctime = 0
    table.rows.set(path, settle(row, age, table))
  }
  for (const path of changes.gone) table.rows.delete(path)
  table.recorded = new Map(changes.recorded)
  table.computed = changes.computed
  table.held = changes.held
}

function ageOf(header: { boot: string; written: number }): { sameBoot: boolean; settles: boolean } {
  const sameBoot = header.boot === bootName()
  return { sameBoot, settles: sameBoot && Date.now() - header.written > SETTLE_MS }
}

/** An unsettled row is trusted in the boot that wrote it, for good once a later command a minute on has seen it; another boot reads it once. */
function settle(row: StatRow, age: { sameBoot: boolean; settles: boolean }, table: StatTable): StatRow {
  if (!row.unsettled) return row
  if (age.settles) table.dirty = true
  else if (age.sameBoot) return row
  return { ...row, racy: row.racy || !age.sameBoot, unsettled: !age.settles }
}

/** The header of a table's file, from its first 16 bytes and the JSON behind them; undefined for another file. */
export function readHeader(start: Buffer, json: Buffer): { path: RepoPath } | undefined {
  if (start.toString('latin1', 0, 8) !== MAGIC) return undefined
  return { path: (JSON.parse(json.toString('utf8')) as Header).path as RepoPath }
}

/** Four bytes of the SHA-256: a power loss may have left zeros in the middle of a file that was not flushed, and an oid of zeros would be believed. */
function checkOf(bytes: Buffer): number {
  return Number.parseInt(oidOfBytes(bytes.subarray(16)).slice(0, 8), 16)
}

function parseTable(bytes: Buffer, path: RepoPath, trustCtime: boolean): StatTable | undefined {
  if (bytes.length < 16 || bytes.toString('latin1', 0, 8) !== MAGIC || bytes.readUInt32LE(12) !== checkOf(bytes)) return undefined
  const headerLength = bytes.readUInt32LE(8)
  const header = JSON.parse(bytes.toString('utf8', 16, 16 + headerLength)) as Header
  if (header.path !== path) return undefined
  const { count } = header
  let at = 16 + headerLength
  at += (8 - (at % 8)) % 8
  const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + count * NUMBER_BYTES))
  const fingerprints = new BigUint64Array(numbers.buffer)
  at += count * NUMBER_BYTES
  const oids = bytes.subarray(at, at + count * 32)
  at += count * 32
  const flags = bytes.subarray(at, at + count)
  const names = bytes.toString('utf8', at + count).split('\0')
  if (names.length !== count + (count === 0 ? 1 : 0)) return undefined
  const age = ageOf(header)
  const rows = new TrackedRows()
  const table: StatTable = {
    rows,
    recorded: new Map(header.recorded),
    computed: header.computed,
    held: header.held,
    dirty: false,
  }
  const hex = oids.toString('hex')
  const unsettled: string[] = []
  for (let i = 0; i < count; i++) {
    const flag = flags[i]!
    const row: StatRow = {
      kind: KINDS[flag & 3]!,
      oid: hex.slice(i * 64, i * 64 + 64) as Oid,
      size: numbers[i * NUMBERS]!,
      files: numbers[i * NUMBERS + 1]!,
      mtime: numbers[i * NUMBERS + 2]!,
      ctime: trustCtime ? numbers[i * NUMBERS + 4]! : 0,
      inode: numbers[i * NUMBERS + 3]!,
      recorded: (flag & 4) !== 0,
      racy: (flag & 8) !== 0,
      unsettled: (flag & 16) !== 0,
      unsaved: (flag & 32) !== 0,
    }
    if ((flag & 64) !== 0) {
      row.files = 0
      row.fingerprint = fingerprints[i * NUMBERS + 1]!.toString(16).padStart(16, '0')
    }
    rows.set(names[i]!, row)
    if (row.unsettled) unsettled.push(names[i]!)
  }
  table.base = { id: header.id, size: rows.size, rows: rows.track() }
  for (const path of unsettled) {
    const row = rows.get(path)!
    const settled = settle(row, age, table)
    if (settled !== row) rows.set(path, settled)
  }
  return table
}

/** Writes a table, or only what changed in it; not flushed, because a lost one costs only time. */
export function writeTable(stateDir: string, path: RepoPath, table: StatTable): void {
  const file = tablePath(stateDir, path)
  const changes = changesOf(table)
  if (changes) writeFileAtomic(`${file}.changes`, JSON.stringify(changes), { flush: false })
  else {
    const id = randomUUID()
    // Derived, so a folder in its place goes, too.
    if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory()) rmSync(file, { recursive: true })
    writeFileAtomic(file, formatTable(path, table, id), { flush: false })
    faultPoint('rows: delete')
    rmSync(`${file}.changes`, { force: true, recursive: true })
    const { rows } = table
    table.base = rows instanceof TrackedRows ? { id, size: rows.size, rows: rows.track() } : undefined
  }
  table.dirty = false
}

const summaryOf = ({ recorded, computed, held }: StatTable): Summary => ({ recorded: [...recorded], computed, held })

/** What differs from the table's file; undefined where that is too much, or there is no file. */
function changesOf(table: StatTable): Changes | undefined {
  const { base, rows } = table
  if (!base || base.rows !== rows) return undefined
  const before = base.rows.before!
  const changed: [string, StatRow][] = []
  const gone: string[] = []
  for (const [path, old] of before) {
    const row = rows.get(path)
    if (row && row !== old) changed.push([path, row])
    else if (!row && old) gone.push(path)
  }
  if (changed.length + gone.length > Math.min(MAX_CHANGES, base.size / 8)) return undefined
  return {
    base: base.id,
    boot: bootName(),
    written: Date.now(),
    rows: changed,
    gone,
    ...summaryOf(table),
  }
}

function formatTable(path: RepoPath, table: StatTable, id: string): Buffer {
  const count = table.rows.size
  const header: Header = { path, id, boot: bootName(), written: Date.now(), count, ...summaryOf(table) }
  const head = Buffer.from(JSON.stringify(header))
  const start = 16 + head.length + ((8 - ((16 + head.length) % 8)) % 8)
  const names = Buffer.from([...table.rows.keys()].join('\0'))
  const bytes = Buffer.alloc(start + count * (NUMBER_BYTES + 33) + names.length)
  bytes.write(MAGIC, 0, 'latin1')
  bytes.writeUInt32LE(head.length, 8)
  head.copy(bytes, 16)
  const numbers = new Float64Array(count * NUMBERS)
  const fingerprints = new BigUint64Array(numbers.buffer)
  const oidsAt = start + count * NUMBER_BYTES
  const flagsAt = oidsAt + count * 32
  let i = 0
  for (const row of table.rows.values()) {
    numbers[i * NUMBERS] = row.size
    if (row.fingerprint === undefined) numbers[i * NUMBERS + 1] = row.files
    else fingerprints[i * NUMBERS + 1] = BigInt(`0x${row.fingerprint}`)
    numbers[i * NUMBERS + 2] = row.mtime
    numbers[i * NUMBERS + 3] = row.inode
    numbers[i * NUMBERS + 4] = row.ctime
    bytes.write(row.oid, oidsAt + i * 32, 32, 'hex')
    bytes[flagsAt + i] =
      KINDS.indexOf(row.kind) |
      (row.recorded ? 4 : 0) |
      (row.racy ? 8 : 0) |
      (row.unsettled ? 16 : 0) |
      (row.unsaved ? 32 : 0) |
      (row.fingerprint ? 64 : 0)
    i++
  }
  Buffer.from(numbers.buffer).copy(bytes, start)
  names.copy(bytes, flagsAt + count)
  bytes.writeUInt32LE(checkOf(bytes), 12)
  return bytes
}
