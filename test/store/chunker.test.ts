import { createCipheriv, createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Oid } from '../../src/base/oid.ts'
import { CHUNKING, COARSE_FROM, createCutter, LONGEST_CHUNK } from '../../src/store/chunker.ts'
import { MAX_OBJECT_BYTES, PACK_BYTES } from '../../src/store/layout.ts'
import { formatRecipe } from '../../src/store/recipe.ts'

const MIB = 1024 * 1024

/** Deterministic noise that any program can make: the AES-256-CTR key stream of SHA-256(seed), with a counter of zero. */
function noise(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

function cut(...pieces: Uint8Array[]): number[] {
  const cutter = createCutter()
  const lengths = pieces.flatMap((piece) => cutter.push(piece))
  const last = cutter.end()
  return last === undefined ? lengths : [...lengths, last]
}

const GOLDEN_16 = [
  1452325, 962610, 1081975, 2007755, 1173206, 1209439, 1156137, 1336972, 1167942, 1414839, 1154572, 1134824, 1366063, 158557,
]
const GOLDEN_192_COUNT = 160
const GOLDEN_192 = 'f35e40b1c48e74d6fb603b6587d5e439a80dda0e7f836b1a98ea8dc80ed503e1'
const GOLDEN_TEXT = [1070342, 893042, 1396525, 1188176, 1501292, 1161884, 1515556, 699066, 1191816, 605190]

/** The docstring of CHUNKING, word by word and byte by byte. */
function cutPlainly(bytes: Uint8Array): number[] {
  const gear = Array.from({ length: 256 }, (_, byte) => createHash('sha256').update(`mlv gear ${byte}`).digest().readUInt32BE(0))
  const lengths: number[] = []
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(bytes.length, start + CHUNKING.max)
    let hash = 0
    for (let i = start + CHUNKING.min; i < end; i++) {
      hash = (hash * 2 + gear[bytes[i]!]!) % 2 ** 32
      const mask = i < start + CHUNKING.normal ? 0x7ffffe00 : 0x7fffe000
      if ((hash & mask) === 0) end = i + 1
    }
    lengths.push(end - start)
    start = end
  }
  return lengths
}

describe('the far part of a huge object', () => {
  test('is cut into longer chunks, as the document says', () => {
    const bytes = noise('coarse', 160 * MIB)
    const gear = Array.from({ length: 256 }, (_, byte) => createHash('sha256').update(`mlv gear ${byte}`).digest().readInt32BE(0))
    const lengths: number[] = []
    for (let start = 0; start < bytes.length; ) {
      const coarse = start >= 8 * MIB
      const [min, normal, max] = coarse ? [16_777_216, 20_971_520, 31_457_280] : [524_288, 1_048_576, 4_194_304]
      let end = Math.min(bytes.length, start + max!)
      let hash = 0
      for (let i = start + min!; i < end; i++) {
        hash = ((hash << 1) + gear[bytes[i]!]!) | 0
        const early = i < start + normal!
        const mask = coarse ? (early ? 0x7fffffe0 : 0x7ffffe00) : early ? 0x7ffffe00 : 0x7fffe000
        if ((hash & mask) === 0) end = i + 1
      }
      lengths.push(end - start)
      start = end
    }
    const cutter = createCutter(8 * MIB)
    const found = [...cutter.push(bytes.subarray(0, 33 * MIB)), ...cutter.push(bytes.subarray(33 * MIB))]
    const last = cutter.end()
    expect(last === undefined ? found : [...found, last]).toEqual(lengths)
    expect(Math.max(...lengths)).toBeGreaterThan(16 * MIB)
    expect(Math.max(...lengths)).toBeLessThanOrEqual(LONGEST_CHUNK)
    // The next stream begins with short chunks again.
    expect(cutter.push(bytes.subarray(0, 8 * MIB))[0]).toBe(lengths[0])
  })

  test('makes the longest recipe that there can be fit a pack', () => {
    const oid = 'f'.repeat(64) as Oid
    const line = (length: number) => formatRecipe([{ oid, length }]).split('\n')[1]!.length + 1
    const near = (COARSE_FROM / CHUNKING.min) * line(CHUNKING.min)
    const far = ((MAX_OBJECT_BYTES - COARSE_FROM) / (16 * MIB)) * line(16 * MIB)
    expect(near + far + 100).toBeLessThan(PACK_BYTES - 64)
  })
})

function chunksOf(bytes: Uint8Array): Set<string> {
  const oids = new Set<string>()
  let start = 0
  for (const length of cut(bytes)) {
    oids.add(
      createHash('sha256')
        .update(bytes.subarray(start, start + length))
        .digest('hex'),
    )
    start += length
  }
  return oids
}

describe('what the store format has fixed for ever', () => {
  test('the constants', () => {
    expect(CHUNKING).toEqual({ algorithm: 'fastcdc-gear32', min: 524_288, normal: 1_048_576, max: 4_194_304 })
  })

  test('the cuts of 16 MiB of noise', () => {
    expect(cut(noise('mlv chunks', 16 * MIB))).toEqual(GOLDEN_16)
  })

  test('the cuts of 192 MiB of noise, as the SHA-256 of their lengths joined by commas', () => {
    const lengths = cut(noise('mlv many chunks', 192 * MIB))
    expect(lengths.length).toBe(GOLDEN_192_COUNT)
    expect(createHash('sha256').update(lengths.join(',')).digest('hex')).toBe(GOLDEN_192)
  })

  test('the cuts of text, whose bytes are few', () => {
    const lines = Array.from({ length: 600_000 }, (_, i) => `${i},${(i * 7919) % 1000},penguin`).join('\n')
    expect(cut(Buffer.from(lines))).toEqual(GOLDEN_TEXT)
  })

  test('are those of the description, taken word by word', () => {
    const bytes = noise('mlv plain', 12 * MIB + 1)
    expect(cut(bytes)).toEqual(cutPlainly(bytes))
  })
})

describe('edges', () => {
  test.each([
    ['nothing', 0, []],
    ['one byte', 1, [1]],
    ['the shortest that is looked at', CHUNKING.min, [CHUNKING.min]],
    ['one byte short of the longest', CHUNKING.max - 1, [CHUNKING.max - 1]],
    ['exactly the longest', CHUNKING.max, [CHUNKING.max]],
    ['one byte more', CHUNKING.max + 1, [CHUNKING.max, 1]],
    ['twice the longest', 2 * CHUNKING.max, [CHUNKING.max, CHUNKING.max]],
  ])('zeros: %s', (_, length, lengths) => {
    expect(cut(new Uint8Array(length))).toEqual(lengths)
  })

  test('a chunk that is exactly the longest is told by push, and end has nothing left', () => {
    const cutter = createCutter()
    expect(cutter.push(new Uint8Array(CHUNKING.max))).toEqual([CHUNKING.max])
    expect(cutter.end()).toBeUndefined()
  })

  test('no piece at all, and empty pieces, make no chunk', () => {
    expect(cut()).toEqual([])
    expect(cut(new Uint8Array(0), new Uint8Array(0))).toEqual([])
  })

  test('a cutter that has ended starts afresh', () => {
    const bytes = noise('again', 3 * MIB)
    const cutter = createCutter()
    const first = [...cutter.push(bytes), cutter.end()]
    expect([...cutter.push(bytes), cutter.end()]).toEqual(first)
  })
})

test('every length lies between min and max, but for the last, and together they are the data', () => {
  const lengths = cut(noise('bounds', 64 * MIB))
  for (const length of lengths.slice(0, -1)) {
    expect(length).toBeGreaterThan(CHUNKING.min)
    expect(length).toBeLessThanOrEqual(CHUNKING.max)
  }
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(64 * MIB)
  expect((64 * MIB) / lengths.length / MIB).toBeCloseTo(1.17, 0)
})

test('the cuts do not depend on how the bytes are split into pieces', () => {
  const bytes = noise('pieces', 9 * MIB)
  const whole = cut(bytes)
  const borders = whole.map((_, i) => whole.slice(0, i + 1).reduce((sum, length) => sum + length, 0))
  // Splits near cuts, near min and near normal are where a mistake would show.
  const near = fc.tuple(
    fc.constantFrom(0, ...borders),
    fc.constantFrom(0, CHUNKING.min, CHUNKING.normal),
    fc.integer({ min: -3, max: 3 }),
  )
  const split = fc.oneof(
    fc.integer({ min: 0, max: bytes.length }),
    near.map(([border, more, off]) => Math.max(0, Math.min(bytes.length, border + more + off))),
  )
  fc.assert(
    fc.property(fc.array(split, { maxLength: 40 }), (splits) => {
      const sorted = [0, ...splits.sort((a, b) => a - b), bytes.length]
      expect(cut(...sorted.slice(1).map((end, i) => bytes.subarray(sorted[i], end)))).toEqual(whole)
    }),
    { numRuns: 60 },
  )
})

test('pieces of one byte give the same cuts', () => {
  const bytes = noise('single bytes', 3 * MIB)
  const cutter = createCutter()
  const lengths: number[] = []
  for (let i = 0; i < bytes.length; i++) lengths.push(...cutter.push(bytes.subarray(i, i + 1)))
  expect([...lengths, cutter.end()]).toEqual(cut(bytes))
})

describe('an edit changes the chunks around it and no others', () => {
  const before = noise('edited', 64 * MIB)
  const known = chunksOf(before)
  const middle = 32 * MIB + 12_345
  const added = (after: Uint8Array) => [...chunksOf(after)].filter((oid) => !known.has(oid)).length

  test('1 MiB inserted in the middle of 64 MiB adds at most 5 of about 55', () => {
    expect(known.size).toBeGreaterThan(45)
    expect(added(Buffer.concat([before.subarray(0, middle), noise('new', MIB), before.subarray(middle)]))).toBeLessThanOrEqual(5)
  })

  test('one byte inserted at the front adds at most 3', () => {
    expect(added(Buffer.concat([Buffer.from([1]), before]))).toBeLessThanOrEqual(3)
  })

  test('1 MiB cut out of the middle adds at most 3', () => {
    expect(added(Buffer.concat([before.subarray(0, middle), before.subarray(middle + MIB)]))).toBeLessThanOrEqual(3)
  })

  test('bytes appended change only the last', () => {
    expect(added(Buffer.concat([before, Buffer.from('more')]))).toBe(1)
  })
})
