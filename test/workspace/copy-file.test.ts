import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { copyToNew } from '../../src/workspace/copy-file.ts'
import { noise } from '../store/noise.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mlv-copy-file-'))
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})

describe('a copy of a large file', () => {
  const bytes = noise('copied', (64 << 20) + 3)

  /** Stands in for the system's next read, as a disk that has a bad part answers. */
  async function readsOnce(answer: (buffer: Buffer, at: number, length: number, position: number) => number) {
    const probe = await open(join(folder, 'probe'), 'w')
    const reads = vi.spyOn(Object.getPrototypeOf(probe), 'read')
    await probe.close()
    reads.mockImplementationOnce(async (...args) => ({ bytesRead: answer(...(args as [Buffer, number, number, number])) }))
  }

  it('has every byte where a read gives less than was asked for', async () => {
    writeFileSync(join(folder, 'from'), bytes)
    await readsOnce((buffer, at, _length, position) => bytes.copy(buffer, at, position, position + 1000))
    await copyToNew(join(folder, 'from'), join(folder, 'to'))
    expect(readFileSync(join(folder, 'to')).equals(bytes)).toBe(true)
  })
})
