import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { oidOfBytes } from '../../src/base/oid.ts'
import { createLooseObjects } from '../../src/store/loose.ts'
import { noise } from './noise.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mlv-loose-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

async function storeFile(bytes: Buffer, options?: Parameters<ReturnType<typeof createLooseObjects>['storeFile']>[1]) {
  writeFileSync(join(root, 'source'), bytes)
  const source = await open(join(root, 'source'))
  try {
    return await createLooseObjects(root).storeFile(source, options)
  } finally {
    await source.close()
  }
}

describe('whole objects', () => {
  test.each([0, 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 13 << 20])(
    '%i bytes are copied, hashed on the way, and read-only',
    async (size) => {
      const bytes = noise('loose', size)
      let told = 0
      const stored = await storeFile(bytes, {
        onBytes: (count) => {
          told += count
        },
      })
      expect(stored).toEqual({ oid: oidOfBytes(bytes), size })
      expect(told).toBe(size)
      const objects = createLooseObjects(root)
      expect([objects.has(stored.oid), objects.size(stored.oid)]).toEqual([true, size])
      expect(objects.path(stored.oid)).toBe(join(root, 'objects', stored.oid.slice(0, 2), stored.oid))
      expect(statSync(objects.path(stored.oid)).mode & 0o777).toBe(0o444)
      expect(readFileSync(objects.path(stored.oid)).equals(bytes)).toBe(true)
      expect(readdirSync(join(root, 'tmp'))).toEqual([])
    },
  )

  test('storing twice is fine', async () => {
    const bytes = noise('twice', 100)
    expect(await storeFile(bytes)).toEqual(await storeFile(bytes))
  })

  test('a store that was just written to knows what it has', async () => {
    const objects = createLooseObjects(root)
    const bytes = noise('known', 100)
    const oid = oidOfBytes(bytes)
    expect(objects.has(oid)).toBe(false)
    const piece = async function* () {
      yield bytes
    }
    await objects.storeStream(oid, piece())
    objects.flush()
    expect(objects.has(oid)).toBe(true)
    objects.setAside(oid)
    expect([objects.has(oid), existsSync(`${objects.path(oid)}.corrupt`)]).toEqual([false, true])
    objects.setAside(oid)
    expect(objects.size(oid)).toBeUndefined()
  })

  test('a source that fails half way leaves nothing', async () => {
    const objects = createLooseObjects(root)
    const failing = async function* () {
      yield noise('half', 1 << 20)
      throw new Error('the line broke')
    }
    await expect(objects.storeStream(oidOfBytes('whole'), failing())).rejects.toThrow('the line broke')
    expect(readdirSync(root)).toEqual(['tmp'])
    expect(readdirSync(join(root, 'tmp'))).toEqual([])
  })

  test('an aborted copy leaves nothing', async () => {
    const abort = new AbortController()
    const copying = storeFile(noise('aborted', 20 << 20), {
      signal: abort.signal,
      onBytes: () => abort.abort(new Error('enough')),
    })
    await expect(copying).rejects.toThrow('enough')
    expect(readdirSync(join(root, 'tmp'))).toEqual([])
    expect(existsSync(join(root, 'objects'))).toBe(false)
  })
})
