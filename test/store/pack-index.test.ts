import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { createPackBuilder, type EntryType } from '../../src/store/pack.ts'
import { formatIndex, groupPacks, type IndexedPack, MAX_ENTRIES, openIndex, parseIndexKey } from '../../src/store/pack-index.ts'

/** A pack of objects whose oids are given: an index never looks at the bytes. */
function packOf(oids: readonly Oid[], type: EntryType = 'bytes'): IndexedPack {
  const builder = createPackBuilder(1 << 20)
  for (const oid of oids) {
    builder.reserve(2)!.write('xy')
    builder.keep(oid, 2, type === 'bytes' ? 2 : 99, type)
  }
  const { bytes, table, count } = builder.seal()
  return { oid: oidOfBytes(bytes), table, count }
}

const oidWith = (start: string, end = '') => (start.padEnd(64 - end.length, '0') + end) as Oid
const hex = fc.string({ unit: 'grapheme-ascii' }).map((text) => oidOfBytes(text))

describe('an index', () => {
  test('property: finds every entry of every pack, and no other', () => {
    fc.assert(
      fc.property(fc.array(fc.array(hex, { minLength: 1, maxLength: 40 }), { maxLength: 5 }), hex, (groups, other) => {
        const packs = groups.map((oids) => packOf(oids))
        const index = openIndex(formatIndex(packs))
        const all = packs.flatMap((pack, i) =>
          groups[i]!.map((oid, row) => ({ oid, pack: pack.oid, offset: row * 2, length: 2, size: 2, type: 'bytes' })),
        )
        const text = (items: object[]) => items.map((item) => JSON.stringify(item, Object.keys(item).sort())).sort()
        expect(text([...index.entries()])).toEqual(text(all))
        for (const { oid } of all) expect(text(index.find(oid))).toEqual(text(all.filter((entry) => entry.oid === oid)))
        expect(index.find(other).length).toBe(all.filter(({ oid }) => oid === other).length)
        expect(index.count).toBe(all.length)
      }),
    )
  })

  test('an empty one finds nothing', () => {
    const index = openIndex(formatIndex([]))
    for (const start of ['00', '7f', 'ff']) expect(index.find(oidWith(start))).toEqual([])
    expect([...index.entries()]).toEqual([])
  })

  test('the edges of the fan-out: every first byte has its entries, its neighbours have theirs', () => {
    const oids = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0')).flatMap((start) => [
      oidWith(start),
      `${start}${'f'.repeat(62)}` as Oid,
    ])
    const index = openIndex(formatIndex([packOf(oids)]))
    for (const oid of oids) expect(index.find(oid).length).toBe(1)
    for (let byte = 0; byte < 256; byte++) expect(index.find(oidWith(byte.toString(16).padStart(2, '0'), '1'))).toEqual([])
    const alone = openIndex(formatIndex([packOf([oidWith('ff')])]))
    expect([alone.find(oidWith('ff')).length, alone.find(oidWith('fe')).length, alone.find(oidWith('00')).length]).toEqual([
      1, 0, 0,
    ])
  })

  test('oids that share their first bytes are told apart', () => {
    const oids = Array.from({ length: 100 }, (_, i) => oidWith('abcdef12', ((i * 37) % 100).toString(16).padStart(4, '0')))
    const index = openIndex(formatIndex([packOf(oids)]))
    expect([...index.entries()].map(({ oid }) => oid)).toEqual([...oids].sort())
    for (const oid of oids) expect(index.find(oid).map((entry) => entry.oid)).toEqual([oid])
  })

  test('an object in several packs, and twice in one, is found at every place', () => {
    const [a, b] = [packOf([oidWith('aa'), oidWith('bb'), oidWith('aa')]), packOf([oidWith('aa')], 'recipe')]
    const found = openIndex(formatIndex([a, b])).find(oidWith('aa'))
    expect(found.map(({ type }) => type).sort()).toEqual(['bytes', 'bytes', 'recipe'])
    expect(new Set(found.map(({ pack }) => pack))).toEqual(new Set([a.oid, b.oid]))
  })

  test('equal content makes equal bytes, in whatever order it comes', () => {
    const packs = [packOf([oidWith('aa'), oidWith('bb')]), packOf([oidWith('aa')]), packOf([oidWith('cc')])]
    const old = [oidWith('01'), oidWith('02')]
    expect(formatIndex(packs, old).equals(formatIndex([...packs].reverse(), [...old].reverse()))).toBe(true)
    expect(openIndex(formatIndex(packs, old)).supersedes).toEqual(old)
  })

  test('packs are grouped so that every index stays below its limit', () => {
    const counts = [400_000, 700_000, 300_000, 1, 600_000, MAX_ENTRIES, 0]
    const groups = groupPacks(counts.map((count) => ({ count })))
    expect(groups.flat().map(({ count }) => count)).toEqual(counts)
    for (const group of groups) expect(group.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(MAX_ENTRIES)
    expect(groups.length).toBe(4)
    expect([groupPacks([]), groupPacks([{ count: 0 }])]).toEqual([[], [[{ count: 0 }]]])
  })
})

describe('refused', () => {
  const good = formatIndex([packOf([oidWith('aa'), oidWith('bb')])], [oidWith('01')])
  const name = oidOfBytes(good)
  const refuse = (bytes: Buffer, oid?: Oid) =>
    expect(() => {
      for (const _ of openIndex(bytes, oid).entries());
    }).toThrow(expect.objectContaining({ code: 'INDEX_CORRUPT' }))

  test('any flipped byte', () => {
    fc.assert(
      fc.property(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const bytes = Buffer.from(good)
        bytes[at]! ^= mask
        refuse(bytes, name)
      }),
    )
  })

  test('one cut short, or with more behind it', () => {
    for (const bytes of [good.subarray(0, -1), good.subarray(1), Buffer.alloc(0), Buffer.concat([good, Buffer.alloc(1)])]) {
      refuse(bytes, name)
      refuse(bytes)
    }
  })

  /** Header: 24 bytes, a pack, a superseded index; then the fan-out and two entries of 52 bytes. */
  const fan = 24 + 64
  const entry = fan + 1024
  test.each<[string, (bytes: Buffer) => unknown]>([
    ['another magic', (bytes) => bytes.write('mlvindx2')],
    ['a count that the length does not bear out', (bytes) => bytes.writeUInt32LE(3, 16)],
    ['4 billion entries', (bytes) => bytes.writeUInt32LE(0xffffffff, 16)],
    ['4 billion packs', (bytes) => bytes.writeUInt32LE(0xffffffff, 8)],
    ['a fan-out that goes down', (bytes) => bytes.writeUInt32LE(2, fan)],
    ['a fan-out beyond the entries', (bytes) => bytes.writeUInt32LE(3, fan + 255 * 4)],
    ['a fan-out that ends early', (bytes) => bytes.writeUInt32LE(1, fan + 255 * 4)],
    ['an entry in a pack it does not list', (bytes) => bytes.writeUInt32LE(1, entry + 48)],
    ['an entry of unknown type', (bytes) => bytes.writeUInt8(3, entry + 46)],
    ['an entry of unknown codec', (bytes) => bytes.writeUInt8(1, entry + 47)],
    ['an entry whose lengths differ', (bytes) => bytes.writeUInt32LE(9, entry + 40)],
  ])('by a hostile hand, with the right name: %s', (_, change) => {
    const bytes = Buffer.from(good)
    change(bytes)
    refuse(bytes)
  })
})

test.each([
  [`index/${oidWith('ab')}`, { oid: oidWith('ab'), chunks: false }],
  [`index/${oidWith('ab')}-chunks`, { oid: oidWith('ab'), chunks: true }],
  [`index/${oidWith('ab')}.tmp`, undefined],
  [`index/${oidWith('AB')}`, undefined],
  [`index/x/${oidWith('ab')}`, undefined],
  ['index/', undefined],
])('the key %s', (key, expected) => {
  expect(parseIndexKey(key)).toEqual(expected)
})
