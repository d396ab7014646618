import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { oidOfBytes } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import type { Entry } from '../../src/workspace/entry.ts'
import { emptyTable, isUnchanged, kindOf, type StatRow, type StatTable } from '../../src/workspace/stat-table.ts'
import { readTable, tablePath, writeTable } from '../../src/workspace/stat-table-file.ts'

const DATA = 'data' as RepoPath
let state: string
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'mlv-stat-'))
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(state, { recursive: true, force: true })
})

const row = (change: Partial<StatRow> = {}): StatRow => ({
  ...{
    kind: 'file',
    oid: oidOfBytes('x'),
    size: 1,
    files: 0,
    mtime: 1_700_000_000_123.456,
    ctime: 1_700_000_000_124.5,
    inode: 77,
  },
  ...{ recorded: false, racy: false, unsettled: false, unsaved: false },
  ...change,
})

function tableOf(rows: Record<string, StatRow>, more: Partial<StatTable> = {}): StatTable {
  return { ...emptyTable(), rows: new Map(Object.entries(rows)), ...more }
}

const read = () => readTable(state, DATA)

describe('a table', () => {
  const name = fc.string({ unit: 'binary', minLength: 1 }).filter((text) => !text.includes('\0') && text !== '__proto__')
  const plainRow: fc.Arbitrary<StatRow> = fc.record({
    kind: fc.constantFrom('file', 'exec', 'link', 'tree'),
    oid: fc.string().map((text) => oidOfBytes(text)),
    size: fc.maxSafeNat(),
    files: fc.maxSafeNat(),
    mtime: fc.double({ noNaN: true, noDefaultInfinity: true }).map((time) => time + 0),
    ctime: fc.double({ noNaN: true, noDefaultInfinity: true }).map((time) => time + 0),
    inode: fc.maxSafeNat(),
    recorded: fc.boolean(),
    racy: fc.boolean(),
    unsettled: fc.boolean(),
    unsaved: fc.boolean(),
  })
  const fingerprint = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => value.toString(16).padStart(16, '0'))
  const largeRow = fc.tuple(plainRow, fingerprint).map(([made, print]) => ({ ...made, files: 0, fingerprint: print }))
  const anyRow: fc.Arbitrary<StatRow> = fc.oneof(plainRow, largeRow)
  const entry: fc.Arbitrary<Entry> = fc.constantFrom(
    { kind: 'file', oid: oidOfBytes('1'), size: 3 } as const,
    { kind: 'tree', oid: oidOfBytes('2'), size: 3, files: 2 } as const,
  )

  test('property: what is written is read', () => {
    const rows = fc.uniqueArray(fc.tuple(name, anyRow), { selector: ([text]) => text, maxLength: 30 })
    const recorded = fc.uniqueArray(fc.tuple(name, entry), { selector: ([text]) => text, maxLength: 5 })
    fc.assert(
      fc.property(rows, recorded, fc.option(entry, { nil: undefined }), (made, noted, computed) => {
        const table: StatTable = { rows: new Map(made), recorded: new Map(noted), computed, dirty: true }
        writeTable(state, DATA, table)
        expect(table.dirty).toBe(false)
        const again = read()
        expect({ ...again, rows: new Map(again.rows), base: undefined }).toEqual({ ...table, dirty: false, base: undefined })
      }),
    )
  })

  test('property: changes to a large one are read, too, however often it is changed', () => {
    const edit = fc.tuple(fc.nat({ max: 450 }), fc.option(anyRow, { nil: undefined }))
    fc.assert(
      fc.property(fc.array(fc.array(edit, { maxLength: 30 }), { maxLength: 6 }), (commands) => {
        rmSync(join(state, 'stat'), { recursive: true, force: true })
        const first = tableOf(Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`file ${i}`, row({ size: i })])))
        writeTable(state, DATA, first)
        const expected = new Map(first.rows)
        for (const edits of commands) {
          const table = read()
          for (const [i, changed] of edits) {
            for (const rows of [table.rows, expected]) {
              if (changed) rows.set(`file ${i}`, changed)
              else rows.delete(`file ${i}`)
            }
          }
          writeTable(state, DATA, table)
        }
        expect(new Map(read().rows)).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })

  test('a small change of a large one is written beside it, a large change rewrites it', () => {
    const file = tablePath(state, DATA)
    writeTable(state, DATA, tableOf(Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`file ${i}`, row()]))))
    const whole = readFileSync(file)
    const table = read()
    table.rows.set('file 7', row({ size: 7 }))
    writeTable(state, DATA, table)
    expect(readFileSync(file).equals(whole)).toBe(true)
    expect(existsSync(`${file}.changes`)).toBe(true)
    const again = read()
    for (let i = 0; i < 100; i++) again.rows.set(`file ${i}`, row({ size: i }))
    writeTable(state, DATA, again)
    expect(existsSync(`${file}.changes`)).toBe(false)
    expect(read().rows.get('file 99')!.size).toBe(99)
  })

  test('one process may write it again and again: whole, then what changed since', () => {
    const table = tableOf({}, { rows: emptyTable().rows })
    for (let i = 0; i < 400; i++) table.rows.set(`file ${i}`, row())
    writeTable(state, DATA, table)
    table.rows.set('file 7', row({ size: 7 }))
    table.rows.delete('file 8')
    writeTable(state, DATA, table)
    expect(existsSync(`${tablePath(state, DATA)}.changes`)).toBe(true)
    expect([read().rows.get('file 7')!.size, read().rows.has('file 8'), read().rows.size]).toEqual([7, false, 399])
    table.rows.set('file 8', row({ size: 8 }))
    writeTable(state, DATA, table)
    expect(new Map(read().rows)).toEqual(new Map(table.rows))
  })

  test('changes to another writing of the table are not applied', () => {
    const file = tablePath(state, DATA)
    const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`file ${i}`, row()]))
    writeTable(state, DATA, tableOf(many))
    const table = read()
    table.rows.delete('file 1')
    writeTable(state, DATA, table)
    const changes = readFileSync(`${file}.changes`)
    writeTable(state, DATA, tableOf(many))
    writeFileSync(`${file}.changes`, changes)
    expect(read().rows.has('file 1')).toBe(true)
  })

  test('none is an empty one', () => {
    expect(read()).toEqual(emptyTable())
  })
})

describe('a broken table is an empty one', () => {
  beforeEach(() =>
    writeTable(
      state,
      DATA,
      tableOf({ a: row(), b: row({ kind: 'exec' }) }, { computed: { kind: 'tree', oid: oidOfBytes('t'), size: 1, files: 2 } }),
    ),
  )

  test('any flipped byte', () => {
    const file = tablePath(state, DATA)
    const good = readFileSync(file)
    fc.assert(
      fc.property(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const bytes = Buffer.from(good)
        bytes[at]! ^= mask
        writeFileSync(file, bytes)
        expect(read().rows.size).toBe(0)
      }),
      { numRuns: 300 },
    )
  })

  test('any length too short, and zeros to the end', () => {
    const file = tablePath(state, DATA)
    const good = readFileSync(file)
    for (let length = 0; length < good.length; length++) {
      writeFileSync(file, good.subarray(0, length))
      expect(read().rows.size).toBe(0)
      writeFileSync(file, Buffer.concat([good.subarray(0, length), Buffer.alloc(good.length - length)]))
      expect(read().rows.size).toBe(0)
    }
  })

  test.each(['', '{', 'null', '[]', '{"base":1}', '\0\0\0\0'])('changes that are %j', (text) => {
    writeFileSync(`${tablePath(state, DATA)}.changes`, text)
    const { rows } = read()
    expect([0, 2]).toContain(rows.size)
    if (rows.size === 2) expect(rows.get('a')).toEqual(row())
  })

  test('that of another path', () => {
    const other = 'other' as RepoPath
    writeFileSync(tablePath(state, other), readFileSync(tablePath(state, DATA)))
    expect(readTable(state, other)).toEqual(emptyTable())
  })
})

describe('unsettled rows', () => {
  const MINUTE = 60_000
  const start = Date.now()
  const writeAt = (time: number, table: StatTable) => {
    vi.useFakeTimers({ now: time, toFake: ['Date'] })
    writeTable(state, DATA, table)
  }
  const readAt = (time: number) => {
    vi.useFakeTimers({ now: time, toFake: ['Date'] })
    return read()
  }
  const flags = (table: StatTable) => [...table.rows.values()].map(({ racy, unsettled }) => ({ racy, unsettled }))

  test('are trusted at once in the same boot, and settle for good when a command sees them a minute on', () => {
    writeAt(start, tableOf({ a: row({ unsettled: true }) }))
    expect(flags(readAt(start + MINUTE / 2))).toEqual([{ racy: false, unsettled: true }])
    const settled = readAt(start + 2 * MINUTE)
    expect(flags(settled)).toEqual([{ racy: false, unsettled: false }])
    expect(settled.dirty).toBe(true)
  })

  test('stay settled in the next boot, also in a large table', () => {
    for (const count of [1, 400]) {
      const rows = Object.fromEntries(Array.from({ length: count }, (_, i) => [`file ${i}`, row({ unsettled: i === 0 })]))
      rmSync(join(state, 'stat'), { recursive: true, force: true })
      writeAt(start, tableOf(rows))
      writeAt(start + 2 * MINUTE, readAt(start + 2 * MINUTE))
      reboot()
      expect(flags(readAt(start + 3 * MINUTE))[0]).toEqual({ racy: false, unsettled: false })
    }
  })

  test('of another boot are read again once', () => {
    writeAt(start, tableOf({ a: row({ unsettled: true }), b: row() }))
    reboot()
    const later = readAt(start + 2 * MINUTE)
    expect(flags(later)).toEqual([
      { racy: true, unsettled: true },
      { racy: false, unsettled: false },
    ])
    later.rows.set('a', row())
    writeAt(start + 2 * MINUTE, later)
    expect(flags(readAt(start + 3 * MINUTE))).toEqual(Array(2).fill({ racy: false, unsettled: false }))
  })

  /** Makes what is on disk look written by an earlier boot of this machine. */
  function reboot(): void {
    const file = tablePath(state, DATA)
    const bootId = JSON.parse(headerOf(readFileSync(file))).boot as string
    const other = bootId.replace(/[0-9a-f]/g, (digit) => (digit === '0' ? '1' : '0'))
    for (const path of [file, `${file}.changes`]) {
      if (!existsSync(path)) continue
      const bytes = Buffer.from(readFileSync(path, 'latin1').replace(bootId, other), 'latin1')
      if (path === file) bytes.writeUInt32LE(Number.parseInt(oidOfBytes(bytes.subarray(16)).slice(0, 8), 16), 12)
      writeFileSync(path, bytes)
    }
  }
  const headerOf = (bytes: Buffer) => bytes.toString('utf8', 16, 16 + bytes.readUInt32LE(8))
})

describe('whether a file is what its row says', () => {
  function fileWith(content: string) {
    const path = join(state, 'file')
    writeFileSync(path, content)
    utimesSync(path, 1_700_000_000, 1_700_000_000)
    const stats = lstatSync(path)
    return { path, stats, known: row({ size: stats.size, mtime: stats.mtimeMs, ctime: stats.ctimeMs, inode: stats.ino }) }
  }

  test('it is, with the same size, times, inode and kind', () => {
    const { stats, known } = fileWith('text')
    expect(isUnchanged(known, stats)).toBe(true)
  })

  test('the ctime does not count where nobody looked at it, and of a link to an object that nobody wrote to', () => {
    const { path, stats, known } = fileWith('text')
    expect(isUnchanged({ ...known, ctime: 0 }, stats)).toBe(true)
    linkSync(path, `${path}.link`)
    const now = lstatSync(path)
    expect(isUnchanged({ ...known, ctime: now.ctimeMs - 1 }, now)).toBe(false)
    const linked = () => isUnchanged({ ...known, mtime: 1e12, ctime: 1 }, lstatSync(path))
    utimesSync(path, 1e9, 1e9)
    expect(linked()).toBe(false)
    chmodSync(path, 0o444)
    expect(linked()).toBe(true)
    rmSync(`${path}.link`)
    expect(linked()).toBe(false)
  })

  test.each<[string, Partial<StatRow>]>([
    ['another size', { size: 5 }],
    ['another time', { mtime: 1_700_000_000_000.5 }],
    ['another ctime', { ctime: 1_700_000_000_000.5 }],
    ['another inode', { inode: 1 }],
    ['another kind', { kind: 'exec' }],
    ['a row as young as its file', { racy: true }],
    ['a row of a folder', { kind: 'tree' }],
  ])('it is not: %s', (_, change) => {
    const { stats, known } = fileWith('text')
    expect(isUnchanged({ ...known, ...change }, stats)).toBe(false)
    expect(isUnchanged(undefined, stats)).toBe(false)
  })

  test('kinds: a file, an executable, a link', () => {
    const { path, stats } = fileWith('text')
    expect(kindOf(stats)).toBe('file')
    writeFileSync(`${path}.sh`, '', { mode: 0o755 })
    symlinkSync('file', `${path}.link`)
    expect([kindOf(lstatSync(`${path}.sh`)), kindOf(lstatSync(`${path}.link`))]).toEqual(['exec', 'link'])
  })
})
