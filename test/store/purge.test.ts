import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import { KEYS } from '../../src/store/layout.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open-store.ts'
import { applyStorePurge, planStorePurge } from '../../src/store/purge.ts'
import { formatRecord } from '../../src/store/record.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'

let top: string
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'mlv-purge-'))
})
afterEach(() => rmSync(top, { recursive: true, force: true }))

const chunk = (name: string) => Buffer.from(`chunk ${name}, of a large object`)
const CHUNKS = { own: chunk('own'), common: chunk('common'), both: chunk('both'), other: chunk('other') }
const large = (...names: (keyof typeof CHUNKS)[]) => Buffer.concat(names.map((name) => CHUNKS[name]))

const DOOMED = [Buffer.from('secret'), large('own', 'common', 'both'), CHUNKS.other]
const LIVING = [Buffer.from('plain'), large('common', 'other'), CHUNKS.both, Buffer.from('beside the secret')]
/** What of the doomed is nowhere else. */
const GONE = [Buffer.from('secret'), CHUNKS.own]

const openAt = (blobs: Blobs, purpose: 'read' | 'write' = 'write') => openStore(blobs, { role: 'remote', purpose })

/** A remote with all of it, in several packs and indexes: chunks that only one object needs, that two need, that are objects themselves. */
async function fill(root: string): Promise<void> {
  const store = await openAt(createDirBlobs({ root }))
  const add = async (work: (writer: ReturnType<ObjectStore['writer']>) => Promise<void>) => {
    const writer = store.writer()
    await work(writer)
    await writer.finish()
  }
  const addLarge = (...names: (keyof typeof CHUNKS)[]) =>
    add(async (writer) => {
      for (const name of names) await writer.addChunk(oidOfBytes(CHUNKS[name]), CHUNKS[name])
      const chunks = names.map((name) => ({ oid: oidOfBytes(CHUNKS[name]), length: CHUNKS[name].length }))
      await writer.addRecipe(oidOfBytes(large(...names)), chunks)
    })
  await add(async (writer) => {
    for (const bytes of [DOOMED[0]!, DOOMED[2]!, LIVING[3]!]) await writer.add(oidOfBytes(bytes), bytes)
  })
  await addLarge('own', 'common', 'both')
  await addLarge('common', 'other')
  await add(async (writer) => {
    for (const bytes of [LIVING[0]!, LIVING[2]!]) await writer.add(oidOfBytes(bytes), bytes)
  })
}

async function readAll(store: ObjectStore, oid: Oid): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of store.stream(oid)) pieces.push(piece)
  return Buffer.concat(pieces)
}

async function purge(blobs: Blobs): Promise<ReturnType<typeof applyStorePurge>> {
  const store = await openAt(blobs)
  return applyStorePurge(store, await planStorePurge(store, [DOOMED.map(oidOfBytes)]))
}

async function expectLiving(root: string): Promise<void> {
  const store = await openAt(createDirBlobs({ root }), 'read')
  for (const bytes of LIVING) expect((await readAll(store, oidOfBytes(bytes))).toString()).toBe(bytes.toString())
}

async function expectGone(root: string): Promise<void> {
  const store = await openAt(createDirBlobs({ root }), 'read')
  for (const bytes of DOOMED) {
    const oid = oidOfBytes(bytes)
    expect([store.has(oid), store.isPurged(oid)]).toEqual([false, true])
    await expect(readAll(store, oid)).rejects.toMatchObject({
      code: 'OBJECT_PURGED',
      message: expect.stringContaining(`purged/${oid}`),
    })
  }
  for (const item of readdirSync(root, { withFileTypes: true, recursive: true }))
    if (item.isFile()) {
      const text = readFileSync(join(item.parentPath, item.name), 'latin1')
      for (const bytes of GONE) expect(text.replaceAll('beside the secret', '')).not.toContain(bytes.toString())
    }
}

/** Blobs whose process dies before its n-th write or deletion. */
function dying(blobs: Blobs, n: number): Blobs {
  let done = 0
  const count = () => {
    if (++done >= n) throw new Error('died')
  }
  return {
    ...blobs,
    put: async (key, bytes, options) => {
      count()
      return blobs.put(key, bytes, options)
    },
    delete: async (key, signal) => {
      count()
      return blobs.delete(key, signal)
    },
  }
}

describe('purging a store', () => {
  test('takes objects, recipes and the chunks that nothing else needs', async () => {
    const root = join(top, 'remote')
    await fill(root)
    const store = await openAt(createDirBlobs({ root }))
    const plan = await planStorePurge(store, [DOOMED.map(oidOfBytes)])
    // "both" is an object of its own, "common" and "other" are pieces of a living one.
    expect([...plan.leaveOut].sort()).toEqual([...DOOMED.slice(0, 2), CHUNKS.own].map(oidOfBytes).sort())
    expect(plan.keptChunks).toBe(3)
    await applyStorePurge(store, plan)
    await expectLiving(root)
    await expectGone(root)
    expect((await planStorePurge(store, [DOOMED.map(oidOfBytes)])).packed.count).toBe(0)
  })

  test('interrupted at any write leaves the rest readable, and is finished by the same call', async () => {
    const start = join(top, 'start')
    await fill(start)
    for (let n = 1; ; n++) {
      const root = join(top, `died ${n}`)
      cpSync(start, root, { recursive: true })
      const died = await purge(dying(createDirBlobs({ root }), n)).then(
        () => false,
        (error: Error) => error.message === 'died',
      )
      await expectLiving(root)
      // Also when it is killed again halfway.
      if (died) await purge(dying(createDirBlobs({ root }), 3)).catch(() => {})
      await purge(createDirBlobs({ root }))
      await expectLiving(root)
      await expectGone(root)
      rmSync(root, { recursive: true })
      if (!died) {
        expect(n).toBeGreaterThan(8)
        break
      }
    }
  })

  test('finds what an interrupted push left: packs that no index names', async () => {
    const root = join(top, 'remote')
    await fill(root)
    for (const name of readdirSync(join(root, 'index'))) rmSync(join(root, 'index', name))
    const store = await openAt(createDirBlobs({ root }))
    await applyStorePurge(store, await planStorePurge(store, [DOOMED.map(oidOfBytes)]))
    await expectGone(root)
  })

  test('knows no grace: what a collection has condemned is rewritten as well', async () => {
    const root = join(top, 'remote')
    await fill(root)
    const store = await openAt(createDirBlobs({ root }))
    const { pack } = store.locate(oidOfBytes(DOOMED[0]!))!
    await store.announce('condemned')
    const record = Buffer.from(formatRecord({ packs: [pack], objects: [] }))
    await store.blobs.put(`${KEYS.condemned}${oidOfBytes(record)}`, record)
    await purge(createDirBlobs({ root }))
    await expectGone(root)
  })

  test.each([
    ['names another chunk', (text: string) => text.replace(/\n./, (start) => (start === '\n0' ? '\n1' : '\n0'))],
    ['makes no sense', (text: string) => text.replace('recipe', 'recipf')],
  ])('takes no chunk of a living object whose recipe %s as it comes', async (_name, change) => {
    const root = join(top, 'remote')
    await fill(root)
    const blobs = createDirBlobs({ root })
    const living = (await openAt(blobs, 'read')).locate(oidOfBytes(LIVING[1]!))!
    let faults = 0
    const line: Blobs = {
      ...blobs,
      async get(key, range) {
        const bytes = await blobs.get(key, range)
        if (key !== KEYS.pack(living.pack) || range?.start !== living.offset || faults++ > 0) return bytes
        return Buffer.from(change(Buffer.from(bytes).toString('latin1')), 'latin1')
      },
    }
    const store = await openAt(line)
    await applyStorePurge(store, await planStorePurge(store, [[oidOfBytes(DOOMED[1]!)]]))
    expect(faults).toBeGreaterThan(0)
    expect(await readAll(await openAt(blobs, 'read'), oidOfBytes(LIVING[1]!))).toEqual(LIVING[1])
  })

  test('writes the records of what a page names before that of the page', async () => {
    const root = join(top, 'remote')
    await fill(root)
    const written: string[] = []
    const blobs = createDirBlobs({ root })
    const store = await openAt({
      ...blobs,
      put: async (key, bytes, options) => {
        if (key.startsWith(KEYS.purged)) written.push(key.slice(KEYS.purged.length))
        return blobs.put(key, bytes, options)
      },
    })
    const levels = [LIVING.slice(0, 2), LIVING.slice(2, 3), LIVING.slice(3)].map((level) => level.map(oidOfBytes))
    await applyStorePurge(store, await planStorePurge(store, levels))
    expect(written.slice(0, 2).sort()).toEqual([...levels[0]!].sort())
    expect(written.slice(2)).toEqual([...levels[1]!, ...levels[2]!])
  })
})
