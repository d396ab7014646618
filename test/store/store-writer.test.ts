import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { keysOf } from '../contract/blobs.ts'
import { noise } from './noise.ts'

const root = mkdtempSync(join(tmpdir(), 'mlv-writer-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const open = (name: string) =>
  openStore(createDirBlobs({ root: join(root, name), trustOids: true }), { role: 'cache', purpose: 'write' })

test('more than a million tiny objects get indexes of at most a million entries each', async () => {
  const store = await open('tiny')
  const writer = store.writer()
  // Names alone matter here: a writer believes them.
  const oids = Array.from({ length: 1_050_000 }, (_, i) => createHash('md5').update(String(i)).digest('hex').repeat(2) as Oid)
  for (const oid of oids) {
    for (;;) {
      const room = writer.reserve(1)
      if (room instanceof Promise) {
        await room
        continue
      }
      break
    }
    writer.keep(oid, 1)
  }
  await writer.finish()
  const later = await open('tiny')
  expect((await keysOf(later.blobs, 'index/')).length).toBe(2)
  for (let i = 0; i < oids.length; i += 997) expect(later.has(oids[i]!)).toBe(true)
})

test('packs on their way are never more than asked for', async () => {
  const blobs = createDirBlobs({ root: join(root, 'bounded') })
  let flying = 0
  let most = 0
  const store = await openStore(
    {
      ...blobs,
      put: async (key, bytes, options) => {
        if (key.startsWith('packs/')) most = Math.max(most, ++flying)
        const outcome = await blobs.put(key, bytes, options)
        if (key.startsWith('packs/')) flying--
        return outcome
      },
    },
    { role: 'cache', purpose: 'write' },
  )
  const writer = store.writer({ concurrency: 2 })
  const contents = Array.from({ length: 16 }, (_, i) => noise(`bounded ${i}`, (10 << 20) + i))
  await Promise.all(contents.map((bytes) => writer.add(oidOfBytes(bytes), bytes)))
  await writer.finish()
  expect(most).toBe(2)
  for (const bytes of contents) expect(store.has(oidOfBytes(bytes))).toBe(true)
})

test('a pack that cannot be written fails the writer, now or at the end', async () => {
  const blobs = createDirBlobs({ root: join(root, 'failing') })
  const store = await openStore(
    {
      ...blobs,
      put: (key, bytes, options) =>
        key.startsWith('packs/') ? Promise.reject(new Error('no room')) : blobs.put(key, bytes, options),
    },
    { role: 'cache', purpose: 'write' },
  )
  const writer = store.writer()
  await writer.add(oidOfBytes('x'), Buffer.from('x'))
  await expect(writer.finish()).rejects.toThrow('no room')
  expect(store.has(oidOfBytes('x'))).toBe(false)
  expect(await keysOf(blobs, 'index/')).toEqual([])
})
