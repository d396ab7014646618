import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
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
        onPiece: (piece) => {
          told += piece.length
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

  test('a file that is removed once it was opened is read from where it is open', async () => {
    const bytes = noise('removed', 100)
    writeFileSync(join(root, 'source'), bytes)
    const source = await open(join(root, 'source'))
    rmSync(join(root, 'source'))
    try {
      const stored = await createLooseObjects(root).storeFile(source, { path: join(root, 'source') })
      expect(stored).toEqual({ oid: oidOfBytes(bytes), size: 100 })
    } finally {
      await source.close()
    }
  })

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
      onPiece: () => abort.abort(new Error('enough')),
    })
    await expect(copying).rejects.toThrow('enough')
    expect(readdirSync(join(root, 'tmp'))).toEqual([])
    expect(existsSync(join(root, 'objects'))).toBe(false)
  })

  test('that its folder is shared with a group are readable for it, whatever the umask', async () => {
    chmodSync(root, 0o2775)
    const before = process.umask(0o077)
    try {
      const { oid } = await storeFile(noise('shared', 100))
      const objects = createLooseObjects(root)
      expect(statSync(objects.path(oid)).mode & 0o777).toBe(0o444)
      for (const folder of ['objects', `objects/${oid.slice(0, 2)}`, 'tmp'])
        expect(statSync(join(root, folder)).mode & 0o7777).toBe(0o2775)
    } finally {
      process.umask(before)
    }
  })

  // Only root may give files away.
  test.skipIf(process.getuid?.() !== 0)('of another user are hashed before they count as whole', async () => {
    const { oid } = await storeFile(noise('forged', 100))
    const objects = createLooseObjects(root)
    const path = objects.path(oid)
    const stats = statSync(path)
    rmSync(path)
    writeFileSync(path, 'forged', { mode: 0o444 })
    utimesSync(path, stats.atime, stats.mtime)
    expect([objects.isShared(oid), objects.check(oid)]).toEqual([false, true])
    chownSync(path, 12345, 12345)
    expect([objects.isShared(oid), objects.check(oid)]).toEqual([true, false])
  })

  test('count as shared where a group or everybody may put files', async () => {
    const { oid } = await storeFile(noise('shared', 100))
    const isShared = (mode: number) => {
      chmodSync(root, mode)
      return createLooseObjects(root).isShared(oid)
    }
    expect([0o700, 0o755, 0o775, 0o2775, 0o777].map(isShared)).toEqual([false, false, false, true, true])
  })

  test('are not said to be stored when the folder vanishes before their flush', async () => {
    const objects = createLooseObjects(join(root, 'cache'))
    const store = (text: string) =>
      objects.storeStream(
        oidOfBytes(text),
        (async function* () {
          yield Buffer.from(text)
        })(),
      )
    mkdirSync(join(root, 'cache'))
    await store('one')
    await store('two')
    renameSync(join(root, 'cache'), join(root, 'unmounted'))
    mkdirSync(join(root, 'cache'))
    expect(() => objects.flush()).toThrow(/was replaced/)
    await expect(store('three')).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
  })

  test('a store that takes no new file is named, not the file that is read', async () => {
    writeFileSync(join(root, 'file'), 'bytes')
    symlinkSync(join(root, 'file', 'below'), join(root, 'tmp'))
    const source = await open(join(root, 'file'))
    try {
      await expect(createLooseObjects(root).storeFile(source)).rejects.toMatchObject({
        code: 'FILE_UNWRITABLE',
        message: expect.stringContaining(join(root, 'tmp')),
      })
    } finally {
      await source.close()
    }
  })
})
