import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { partBytes, partsOf, s3Tag } from '../../src/store/parts.ts'

async function* pieces(...list: Buffer[]): AsyncGenerator<Buffer> {
  yield* list
}

describe('a blob in parts', () => {
  it('has at most 10,000 of them, whatever its size', () => {
    expect([partBytes(0), partBytes(1 << 30), partBytes(160 * 2 ** 30)]).toEqual([16 << 20, 16 << 20, 17 << 20])
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 * 2 ** 40 }), (size) => {
        expect(Math.ceil(size / partBytes(size))).toBeLessThanOrEqual(10_000)
      }),
    )
  })

  it('is cut into equal parts, and loses nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 })), fc.integer({ min: 1, max: 30 }), async (list, length) => {
        const parts: Buffer[] = []
        for await (const part of partsOf(pieces(...list.map((bytes) => Buffer.from(bytes))), length)) parts.push(part)
        expect(Buffer.concat(parts)).toEqual(Buffer.concat(list))
        expect(parts.slice(0, -1).every((part) => part.length === length)).toBe(true)
        expect(parts.every((part) => part.length > 0 && part.length <= length)).toBe(true)
      }),
    )
  })

  it('is called by S3 what this says', async () => {
    const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest()
    const small = Buffer.from('small')
    expect(await s3Tag(pieces(small), small.length)).toBe(`"${md5(small).toString('hex')}"`)
    const [first, second] = [Buffer.alloc(16 << 20, 1), Buffer.alloc(7, 2)]
    const tag = `"${md5(Buffer.concat([md5(first), md5(second)])).toString('hex')}-2"`
    expect(await s3Tag(pieces(Buffer.concat([first, second])), first.length + 7)).toBe(tag)
  })
})
