import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { PACK_BYTES } from '../../src/store/layout.ts'
import { createPackBuilder, type PackBuilder, parsePackTable, ROW_BYTES, readRow, type SealedPack } from '../../src/store/pack.ts'
import { noise } from './noise.ts'

function fill(builder: PackBuilder, contents: readonly Uint8Array[]): void {
  for (const bytes of contents) {
    builder.reserve(bytes.length)!.set(bytes)
    builder.keep(oidOfBytes(bytes), bytes.length, bytes.length, 'bytes')
  }
}

function packOf(...contents: (string | Uint8Array)[]): SealedPack {
  const builder = createPackBuilder(4096)
  fill(
    builder,
    contents.map((content) => Buffer.from(content as string)),
  )
  return builder.seal()
}

const never = (what: string): never => {
  throw new Error(what)
}
const parse = (bytes: Buffer) => parsePackTable(bytes, oidOfBytes(bytes), bytes.length)
const rows = ({ table, count }: { table: Buffer; count: number }) =>
  Array.from({ length: count }, (_, row) => readRow(table, row * ROW_BYTES, never))

describe('a pack', () => {
  test('property: lists what was kept, each at its place', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 30 }), (contents) => {
        const sealed = packOf(...contents)
        const parsed = parse(sealed.bytes)!
        expect(parsed.table.equals(sealed.table)).toBe(true)
        for (const [i, entry] of rows(parsed).entries()) {
          expect(entry).toMatchObject({ oid: oidOfBytes(contents[i]!), size: contents[i]!.length, type: 'bytes' })
          expect(Buffer.from(contents[i]!).equals(sealed.bytes.subarray(entry.offset, entry.offset + entry.length))).toBe(true)
        }
      }),
    )
  })

  test('is filled to the last byte of 32 MiB', () => {
    const builder = createPackBuilder()
    const first = noise('first', 1000)
    fill(builder, [first])
    const room = PACK_BYTES - 1000 - 2 * ROW_BYTES - 16
    expect(builder.reserve(room + 1)).toBeUndefined()
    const last = noise('last', room)
    fill(builder, [last])
    expect(builder.reserve(0)).toBeUndefined()
    const sealed = builder.seal()
    expect(sealed.bytes.length).toBe(PACK_BYTES)
    expect(rows(parse(sealed.bytes)!).map(({ oid }) => oid)).toEqual([first, last].map((bytes) => oidOfBytes(bytes)))
  })

  test('reserved room that is not kept is given again', () => {
    const builder = createPackBuilder(4096)
    builder.reserve(100)!.fill(1)
    fill(builder, [Buffer.from('kept')])
    expect(builder.count).toBe(1)
    expect(builder.seal().bytes.toString('latin1', 0, 4)).toBe('kept')
    expect(builder.count).toBe(0)
  })

  test('a recipe keeps its own length and the size of the object', () => {
    const builder = createPackBuilder(4096)
    builder.reserve(3)!.write('rec')
    builder.keep(oidOfBytes('large'), 3, 2 ** 47, 'recipe')
    expect(rows(parse(builder.seal().bytes)!)).toEqual([
      { oid: oidOfBytes('large'), offset: 0, length: 3, size: 2 ** 47, type: 'recipe' },
    ])
  })

  test('the table is found in the end of the pack alone, when that holds it', () => {
    const sealed = packOf('a', 'b', 'c')
    const { bytes } = sealed
    const oid = oidOfBytes(bytes)
    const need = 3 * ROW_BYTES + 16
    expect(rows(parsePackTable(bytes.subarray(-need), oid, bytes.length)!).length).toBe(3)
    expect(parsePackTable(bytes.subarray(-need + 1), oid, bytes.length)).toBeUndefined()
    expect(parsePackTable(bytes.subarray(-16), oid, bytes.length)).toBeUndefined()
  })
})

describe('refused', () => {
  /** Changes the table of a pack of "aaa", "bbb" and "cc", whose rows begin at byte 8. */
  const lie = (change: (bytes: Buffer, row: (i: number) => number) => void) => {
    const bytes = Buffer.from(packOf('aaa', 'bbb', 'cc').bytes)
    change(bytes, (i) => 8 + i * ROW_BYTES)
    return bytes
  }

  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['15 bytes', Buffer.alloc(15)],
    ['another magic', lie((bytes) => bytes.write('mlvpack2', bytes.length - 8))],
    ['a pack cut short', packOf('aaa').bytes.subarray(0, -1)],
    ['a pack whose beginning is gone', packOf('aaa').bytes.subarray(1)],
    ['a count that is not that of the table', lie((bytes) => bytes.writeUInt32LE(2, bytes.length - 16))],
    ['a count of 4 billion', lie((bytes) => bytes.writeUInt32LE(0xffffffff, bytes.length - 16))],
    [
      'a table larger than the pack',
      lie((bytes) => bytes.writeUInt32LE(100, bytes.length - 16) && bytes.writeUInt32LE(100 * ROW_BYTES, bytes.length - 12)),
    ],
    ['a gap', lie((bytes, row) => bytes.writeUInt32LE(4, row(1) + 32))],
    ['an overlap', lie((bytes, row) => bytes.writeUInt32LE(2, row(1) + 32))],
    [
      'a row too few',
      lie((bytes) => bytes.writeUInt32LE(2, bytes.length - 16) && bytes.writeUInt32LE(2 * ROW_BYTES, bytes.length - 12)),
    ],
    [
      'a last object that reaches into the table',
      lie((bytes, row) => bytes.writeUInt32LE(3, row(2) + 36) && bytes.writeUInt32LE(3, row(2) + 40)),
    ],
    [
      'an object of 4 GiB',
      lie((bytes, row) => bytes.writeUInt32LE(0xffffffff, row(0) + 36) && bytes.writeUInt32LE(0xffffffff, row(0) + 40)),
    ],
    ['bytes of another size than they have', lie((bytes, row) => bytes.writeUInt32LE(4, row(0) + 40))],
    ['an unknown type', lie((bytes, row) => bytes.writeUInt8(3, row(1) + 46))],
    ['an unknown codec', lie((bytes, row) => bytes.writeUInt8(1, row(1) + 47))],
  ])('%s', (_, bytes) => {
    const oid = oidOfBytes(bytes) as Oid
    expect(() => parse(bytes)).toThrow(expect.objectContaining({ code: 'PACK_CORRUPT', message: expect.stringContaining(oid) }))
  })
})
