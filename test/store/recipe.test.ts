import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { formatRecipe, parseRecipe } from '../../src/store/recipe.ts'

const OBJECT = oidOfBytes('the object')
const A = oidOfBytes('a')
const parse = (text: string, size: number) => parseRecipe(Buffer.from(text), OBJECT, size)

test('property: parse ∘ format is the identity', () => {
  const chunk = fc.record({ oid: fc.string().map((text) => oidOfBytes(text)), length: fc.integer({ min: 1, max: 4 << 20 }) })
  fc.assert(
    fc.property(fc.array(chunk), (chunks) => {
      const size = chunks.reduce((sum, { length }) => sum + length, 0)
      expect(parse(formatRecipe(chunks), size)).toEqual(chunks)
    }),
  )
})

describe('refused', () => {
  test.each<[string, string, number]>([
    ['nothing', '', 0],
    ['another format', `mlv-recipe 2 3\n${A} 3\n`, 3],
    ['another size than the pack says', `mlv-recipe 1 3\n${A} 3\n`, 4],
    ['chunks that do not add up', `mlv-recipe 1 4\n${A} 3\n`, 4],
    ['a chunk of no bytes', `mlv-recipe 1 0\n${A} 0\n`, 0],
    ['a negative chunk', `mlv-recipe 1 3\n${A} 4\n${A} -1\n`, 3],
    ['a leading zero', `mlv-recipe 1 3\n${A} 03\n`, 3],
    ['a chunk of 11 digits', `mlv-recipe 1 10000000000\n${A} 10000000000\n`, 10_000_000_000],
    ['an upper-case oid', `mlv-recipe 1 3\n${A.toUpperCase()} 3\n`, 3],
    ['a chunk that is the object itself', `mlv-recipe 1 3\n${OBJECT} 3\n`, 3],
    ['no final newline', `mlv-recipe 1 3\n${A} 3`, 3],
    ['CRLF', `mlv-recipe 1 3\r\n${A} 3\r\n`, 3],
    ['an empty line', `mlv-recipe 1 3\n${A} 3\n\n`, 3],
    ['words after a chunk', `mlv-recipe 1 3\n${A} 3 x\n`, 3],
  ])('%s', (_, text, size) => {
    const expected = { code: 'OBJECT_CORRUPT', message: expect.stringContaining(OBJECT) }
    expect(() => parse(text, size)).toThrow(expect.objectContaining(expected))
  })

  test('a long one is read to its end', () => {
    const chunks = Array.from({ length: 100_000 }, (_, i) => ({ oid: oidOfBytes(String(i % 7)) as Oid, length: 1 }))
    expect(parse(formatRecipe(chunks), 100_000).length).toBe(100_000)
  })
})
