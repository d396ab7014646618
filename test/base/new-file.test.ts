import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createNewFile } from '../../src/base/new-file.ts'
import { PAGE_BYTES, sharedBuffer } from '../../src/base/pages.ts'
import { noise } from '../store/noise.ts'

const MIB = 1 << 20

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mlv-new-file-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Writes pieces, each from a buffer that is overwritten as soon as it may be. @param inPlace they lie in memory as they will lie on the disk */
async function write(path: string, pieces: readonly number[], size?: number, inPlace = false): Promise<Buffer> {
  const all = noise('new file', Math.max(1, ...pieces) + 1)
  const written = await createNewFile(path, 0o444, size)
  const expected: Buffer[] = []
  try {
    for (const [i, length] of pieces.entries()) {
      const at = inPlace ? expected.reduce((sum, before) => sum + before.length, 0) % PAGE_BYTES : 1
      const piece = sharedBuffer(at + length).subarray(at)
      all.copy(piece, 0, i % 2, (i % 2) + length)
      expected.push(Buffer.from(piece))
      await written.write(piece)
      piece.fill(0)
    }
    await written.end()
    await written.sync()
  } finally {
    await written.close()
  }
  return Buffer.concat(expected)
}

describe('a new file', () => {
  it('holds the pieces it was given, whatever their lengths', async () => {
    const lengths = fc.oneof(
      fc.nat(70_000),
      fc.constantFrom(16 << 10, 48 << 10, 64 << 10, MIB, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(lengths, { maxLength: 6 }), fc.boolean(), fc.boolean(), async (pieces, isKnown, inPlace) => {
        const path = join(folder, 'file')
        rmSync(path, { force: true })
        const size = isKnown ? pieces.reduce((sum, length) => sum + length, 0) : undefined
        const expected = await write(path, pieces, size, inPlace)
        expect(readFileSync(path).equals(expected)).toBe(true)
        expect(statSync(path).mode & 0o777).toBe(0o444)
      }),
      { numRuns: 60 },
    )
  })

  it('is no longer than its pieces where only the last of them had to be filled up', async () => {
    const path = join(folder, 'file')
    const expected = await write(path, [MIB + (16 << 10), 48 << 10], undefined, true)
    expect(statSync(path).size).toBe(expected.length)
    expect(readFileSync(path).equals(expected)).toBe(true)
  })

  it.runIf(existsSync('/dev/shm'))('is written in memory as well, where no disk lies below', async () => {
    const memory = mkdtempSync('/dev/shm/mlv-new-file-')
    try {
      const expected = await write(join(memory, 'file'), [3 * MIB, 3 * MIB + 5])
      expect(readFileSync(join(memory, 'file')).equals(expected)).toBe(true)
    } finally {
      rmSync(memory, { recursive: true })
    }
  })

  it('never writes over one that is there', async () => {
    const path = join(folder, 'file')
    writeFileSync(path, 'mine')
    await expect(createNewFile(path, 0o444, 8 * MIB)).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(createNewFile(path, 0o444, 1)).rejects.toMatchObject({ code: 'EEXIST' })
    expect(readFileSync(path, 'utf8')).toBe('mine')
  })

  it('of which nothing was written is empty', async () => {
    await write(join(folder, 'file'), [])
    expect(readFileSync(join(folder, 'file')).length).toBe(0)
  })

  it('closed twice gives neither its memory nor its number to two others', async () => {
    for (const size of [3 * MIB, 10]) {
      const path = (name: string) => join(folder, `${name}-${size}`)
      const first = await createNewFile(path('first'), 0o444, size === 10 ? size : undefined)
      await first.close()
      const others = [await createNewFile(path('one'), 0o444, size === 10 ? size : undefined)]
      await first.close()
      others.push(await createNewFile(path('two'), 0o444, size === 10 ? size : undefined))
      for (const [i, other] of others.entries()) await other.write(Buffer.alloc(size, i + 1))
      for (const other of others) await other.end()
      for (const other of others) await other.close()
      expect(readFileSync(path('one')).equals(Buffer.alloc(size, 1))).toBe(true)
      expect(readFileSync(path('two')).equals(Buffer.alloc(size, 2))).toBe(true)
    }
  })

  it('holds its pieces in order where the disk takes nothing past the page cache after all', async () => {
    const probe = await open(join(folder, 'probe'), 'w')
    const writes = vi.spyOn(Object.getPrototypeOf(probe), 'write')
    await probe.close()
    try {
      for (const pieces of [[3 * MIB, 5, 2 * MIB + 7], [5 * MIB + 1], [2 * MIB, 70_000, 9 * MIB], [100]]) {
        const path = join(folder, 'file')
        rmSync(path, { force: true })
        writes.mockRejectedValueOnce(Object.assign(new Error('EINVAL: invalid argument, write'), { code: 'EINVAL' }))
        const expected = await write(path, pieces)
        expect(readFileSync(path).equals(expected)).toBe(true)
      }
    } finally {
      writes.mockRestore()
    }
  })
})
