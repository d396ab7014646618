import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { BlobInfo, Blobs } from '../../src/store/blobs.ts'
import { CHUNKING } from '../../src/store/chunker.ts'
import { planCollect } from '../../src/store/collect.ts'
import { applyCollect, undoCollect } from '../../src/store/collect-apply.ts'
import { KEYS } from '../../src/store/layout.ts'
import { type OpenOptions, openStore } from '../../src/store/open-store.ts'
import { readRecords } from '../../src/store/record.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { keysOf } from '../contract/blobs.ts'
import { addAll, alter, flipped } from '../contract/store.ts'
import { noise } from './noise.ts'

const DAY = 24 * 3600 * 1000
const GRACE = 30 * DAY

let root: string
let blobs: Blobs
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mlv-collect-'))
  blobs = createDirBlobs({ root })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const open = (role: OpenOptions['role'] = 'remote', place = blobs) => openStore(place, { role, purpose: 'write' })
const oid = (text: string | Buffer) => oidOfBytes(Buffer.from(text as string))
const packs = () => keysOf(blobs, 'packs/')
const records = async () => {
  const found = []
  for await (const record of readRecords(blobs, KEYS.condemned)) found.push(record)
  return found
}

/** Lets days pass for all that is there. */
function pass(days: number): void {
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const time = statSync(path).mtimeMs / 1000 - days * 24 * 3600
    utimesSync(path, time, time)
  }
}

async function collect(live: Iterable<Oid>, options: { grace?: number; place?: Blobs } = {}) {
  const store = await open('remote', options.place)
  const plan = await planCollect(store, new Set(live), { grace: options.grace ?? GRACE })
  return { plan, done: await applyCollect(store, plan) }
}

const has = async (...texts: string[]) => {
  const store = await open()
  return texts.map((text) => store.has(oid(text)))
}

describe('a collection', () => {
  test('condemns in its first pass what nothing needs, and deletes it in the second, a grace period later', async () => {
    await addAll(await open(), ['kept'])
    await addAll(await open(), ['dead'])
    pass(40)
    const first = await collect([oid('kept')])
    expect(first.plan.condemn.packs).toHaveLength(1)
    expect(first.plan.dead).toEqual({ objects: 1, bytes: 4 })
    expect(await packs()).toHaveLength(2)
    expect(await has('kept', 'dead')).toEqual([true, false])
    // It can still be read.
    expect((await (await open()).read(oid('dead'))).toString()).toBe('dead')

    pass(29)
    const early = await collect([oid('kept')])
    expect(early.done).toMatchObject({ deleted: 0, condemned: 0 })
    expect(early.plan.waiting.packs).toHaveLength(1)
    expect(await packs()).toHaveLength(2)

    pass(2)
    const second = await collect([oid('kept')])
    expect(second.done.deleted).toBeGreaterThan(0)
    expect(await packs()).toHaveLength(1)
    expect(await keysOf(blobs, 'index/')).toHaveLength(1)
    expect(await has('kept', 'dead')).toEqual([true, false])
    expect(await records()).toMatchObject([{ deleted: true }])

    // The record of the deletion outlives it by a grace period.
    pass(29)
    await collect([oid('kept')])
    expect(await records()).toHaveLength(1)
    pass(2)
    await collect([oid('kept')])
    expect(await records()).toEqual([])
    expect(await has('kept')).toEqual([true])
  })

  test('leaves alone what is younger than the grace period', async () => {
    await addAll(await open(), ['old'])
    pass(31)
    await addAll(await open(), ['young'])
    const { plan } = await collect([])
    expect(plan.condemn.packs).toHaveLength(1)
    expect(await has('old', 'young')).toEqual([false, true])
  })

  test('writes mostly dead packs again, and leaves mostly live ones', async () => {
    const big = ['a', 'b', 'c', 'd'].map((seed) => noise(seed, 10_000))
    await addAll(await open(), big)
    await addAll(await open(), [...big.slice(0, 1), 'small', noise('e', 30_000)])
    pass(31)
    const live = [oid(big[1]!), oid('small'), oid(noise('e', 30_000))]
    const { plan, done } = await collect(live)
    expect(plan.rewrite.packs).toHaveLength(1)
    expect(done.corrupt).toEqual([])
    const store = await open()
    for (const item of live) expect(store.has(item)).toBe(true)
    expect(store.has(oid(big[2]!))).toBe(false)
    pass(31)
    await collect(live)
    expect(await packs()).toHaveLength(2)
    const later = await open()
    for (const item of live) expect(oidOfBytes(await later.read(item))).toBe(item)
  })

  test('keeps what became needed between its passes', async () => {
    await addAll(await open(), ['back again'])
    pass(31)
    await collect([])
    expect(await has('back again')).toEqual([false])
    pass(31)
    const { plan } = await collect([oid('back again')])
    expect(plan.spare.packs).toHaveLength(1)
    expect(await has('back again')).toEqual([true])
    expect(await records()).toEqual([])
  })

  test('can be taken back until its second pass', async () => {
    await addAll(await open(), ['dead'])
    pass(31)
    await collect([])
    expect(await undoCollect(await open())).toBe(1)
    expect(await has('dead')).toEqual([true])
  })

  test('keeps chunks that a recipe needs, and drops recipes together with their chunks', async () => {
    const pieces = ['x', 'y', 'z'].map((seed) => noise(seed, CHUNKING.min))
    const store = await open()
    const add = async (parts: Buffer[]) => {
      const writer = store.writer()
      for (const part of parts) await writer.addChunk(oid(part), part)
      await writer.addRecipe(
        oid(Buffer.concat(parts)),
        parts.map((part) => ({ oid: oid(part), length: part.length })),
      )
      await writer.finish()
      return oid(Buffer.concat(parts))
    }
    const dead = await add([pieces[0]!, pieces[1]!])
    const live = await add([pieces[2]!, pieces[0]!])
    pass(31)
    await collect([live])
    pass(31)
    await collect([live])
    const after = await open()
    await after.loadChunkIndexes()
    expect(after.has(dead)).toBe(false)
    expect(pieces.map((piece) => after.hasChunk(oid(piece)))).toEqual([true, false, true])
    expect(await after.read(live)).toEqual(Buffer.concat([pieces[2]!, pieces[0]!]))
  })

  test('does not leave a recipe behind whose chunks it takes, in a pack that is mostly needed', async () => {
    const pieces = ['x', 'y'].map((seed) => noise(seed, CHUNKING.min))
    const large = oid(Buffer.concat(pieces))
    const other = noise('other', 100_000)
    const writer = (await open()).writer()
    for (const piece of pieces) await writer.addChunk(oid(piece), piece)
    await writer.addRecipe(
      large,
      pieces.map((piece) => ({ oid: oid(piece), length: piece.length })),
    )
    await writer.add(oid(other), other)
    await writer.finish()
    pass(31)
    await collect([oid(other)])
    const store = await open()
    expect([store.has(large), store.has(oid(other))]).toEqual([false, true])
  })

  test('deletes old packs that no index names, and keeps one that alone holds what is needed', async () => {
    const lost: string[] = []
    for (const text of ['left behind', 'needed']) {
      await addAll(await open(), [text])
      const index = (await keysOf(blobs, 'index/'))[0]!
      lost.push(index)
      await addAll(await open(), ['something else'])
      for (const key of await keysOf(blobs, 'index/')) if (key === index) await blobs.delete(key)
    }
    await addAll(await open(), ['named'])
    for (const key of lost) await blobs.delete(key)
    pass(31)
    await collect([oid('needed'), oid('named'), oid('something else')])
    pass(31)
    await collect([oid('needed'), oid('named'), oid('something else')])
    const all = await Promise.all((await packs()).map(async (key) => Buffer.from(await blobs.get(key)).toString('latin1')))
    expect(all.some((text) => text.includes('left behind'))).toBe(false)
    expect(all.some((text) => text.includes('needed'))).toBe(true)
  })

  test('says what proves wrong while it copies, so that it is written again', async () => {
    const rotten = noise('rotten', 1000)
    await addAll(await open(), ['sound', rotten, noise('dead', 50_000)])
    await alter(blobs, (await packs())[0]!, flipped(10))
    pass(31)
    const { done } = await collect([oid('sound'), oid(rotten)])
    expect(done.corrupt).toEqual([oid(rotten)])
    const store = await open()
    expect([store.has(oid('sound')), store.has(oid(rotten))]).toEqual([true, false])
    await addAll(store, [rotten])
    pass(31)
    await collect([oid('sound'), oid(rotten)])
    expect(await (await open()).read(oid(rotten))).toEqual(rotten)
  })

  test('takes the time of the store, whatever the clock of whoever collects', async () => {
    const skewed = (days: number): Blobs => {
      const shift = (info: BlobInfo) => ({ ...info, modified: info.modified + days * DAY })
      return {
        ...blobs,
        url: blobs.url,
        async head(key) {
          const info = await blobs.head(key)
          return info && shift(info)
        },
        async *list(prefix) {
          for await (const info of blobs.list(prefix)) yield shift(info)
        },
      }
    }
    await addAll(await open(), ['young'])
    for (const days of [-1, 1, -400, 400]) {
      const { plan } = await collect([], { grace: DAY / 2, place: skewed(days) })
      expect(plan.condemn.packs).toEqual([])
    }
    pass(1)
    for (const days of [-400, 400]) {
      const plan = await planCollect(await open('remote', skewed(days)), new Set(), { grace: DAY / 2 })
      expect(plan.condemn.packs).toHaveLength(1)
    }
  })
})

describe('writers beside a collection', () => {
  test('write again what is condemned, under another name of the pack', async () => {
    await addAll(await open(), ['same', 'pack'])
    pass(31)
    await collect([])
    const [condemned] = await packs()
    const store = await open()
    expect(store.has(oid('same'))).toBe(false)
    await addAll(store, ['same', 'pack'])
    expect(await packs()).toHaveLength(2)
    expect(await has('same', 'pack')).toEqual([true, true])
    pass(31)
    await collect([oid('same'), oid('pack')])
    expect(await packs()).not.toContain(condemned)
    expect((await (await open()).read(oid('pack'))).toString()).toBe('pack')
  })

  test('that have the store open learn from a refresh that something was condemned', async () => {
    await addAll(await open(), ['dead'])
    pass(31)
    const store = await open()
    expect(await store.refresh()).toBe(false)
    await collect([])
    expect(store.has(oid('dead'))).toBe(true)
    expect(await store.refresh()).toBe(true)
    expect(store.has(oid('dead'))).toBe(false)
    expect(await store.refresh()).toBe(false)
  })

  test('that merge indexes of what is being deleted bring nothing back', async () => {
    await addAll(await open(), ['kept'])
    await addAll(await open(), ['dead'])
    const stale = await Promise.all((await keysOf(blobs, 'index/')).map(async (key) => ({ key, bytes: await blobs.get(key) })))
    pass(31)
    await collect([oid('kept')])
    pass(31)
    await collect([oid('kept')])
    for (const { key, bytes } of stale) await blobs.put(key, bytes)
    expect(await has('kept', 'dead')).toEqual([true, false])
    pass(31)
    await collect([oid('kept')])
    expect(await records()).toEqual([])
    expect(await has('kept', 'dead')).toEqual([true, false])
  })
})

describe('whole objects of a cache', () => {
  const store = () => openStore(blobs, { role: 'cache', purpose: 'write', looseFrom: 1000 })
  const addWhole = async (bytes: Buffer) => {
    const cache = await store()
    await cache.loose!.storeStream(
      oid(bytes),
      (async function* () {
        yield bytes
      })(),
    )
    cache.loose!.flush()
  }

  test('go through both passes at once where the grace period is none', async () => {
    const [kept, dead] = [noise('kept', 2000), noise('dead', 2000)]
    for (const bytes of [kept, dead]) await addWhole(bytes)
    const live = new Set([oid(kept)])
    for (let turn = 0; turn < 2; turn++) {
      const cache = await store()
      await applyCollect(cache, await planCollect(cache, live, { grace: 0 }))
    }
    const cache = await store()
    expect([cache.has(oid(kept)), cache.has(oid(dead))]).toEqual([true, false])
    expect(await keysOf(blobs, 'objects/')).toEqual([KEYS.object(oid(kept))])
  })

  test('that were stored again after they were condemned stay', async () => {
    const bytes = noise('again', 2000)
    await addWhole(bytes)
    const first = await store()
    await applyCollect(first, await planCollect(first, new Set(), { grace: 0 }))
    expect((await store()).has(oid(bytes))).toBe(false)
    await new Promise((done) => setTimeout(done, 20))
    await addWhole(bytes)
    expect((await store()).has(oid(bytes))).toBe(true)
    const second = await store()
    const plan = await planCollect(second, new Set(), { grace: 0 })
    expect(plan.remove.objects).toEqual([])
    await applyCollect(second, plan)
    expect((await store()).has(oid(bytes))).toBe(true)
  })
})

describe('an epoch of a cache', () => {
  test('ends when somebody sets out to collect, when something is purged or proves wrong, and not before', async () => {
    await addAll(await open('cache'), ['kept', 'dead'])
    const epoch = (await open('cache')).epoch()
    const later = async () => (await open('cache')).isSound(epoch) && (await open('cache')).epoch() === epoch
    await addAll(await open('cache'), ['new'])
    expect(await later()).toBe(true)
    const store = await open('cache')
    await applyCollect(store, await planCollect(store, new Set([oid('kept')]), { grace: 0 }))
    expect([await later(), store.isSound(), store.isSound(epoch), store.isSound(store.epoch())]).toEqual([
      false,
      false,
      false,
      true,
    ])
    // Also where no record is left of what was done.
    pass(3)
    const before = (await open('cache')).epoch()
    const again = await open('cache')
    await applyCollect(again, await planCollect(again, new Set([oid('kept')]), { grace: 0 }))
    expect((await open('cache')).isSound(before)).toBe(false)
    const now = await open('cache')
    const whole = now.epoch()
    await blobs.put(KEYS.purged + oid('kept'), Buffer.from('{}\n'))
    await now.announce('purged')
    expect((await open('cache')).isSound(whole)).toBe(false)
    expect((await open()).epoch()).toBeUndefined()
  })

  test('what was stored again while a collection was planned is not deleted, and whoever stored it before its record is told', async () => {
    const path = join(root, 'object')
    writeFileSync(path, noise('large', 2 << 20))
    const name = oidOfBytes(noise('large', 2 << 20))
    const storeIt = async (store: Awaited<ReturnType<typeof open>>) => {
      const file = await openFile(path)
      await store.loose!.storeFile(file)
      await file.close()
    }
    await storeIt(await open('cache'))
    const first = await open('cache')
    await applyCollect(first, await planCollect(first, new Set(), { grace: -1 }))
    const collector = await open('cache')
    const plan = await planCollect(collector, new Set(), { grace: 0 })
    expect(plan.remove.objects).toEqual([name])
    await new Promise((done) => setTimeout(done, 20))
    const writer = await open('cache')
    await storeIt(writer)
    expect(writer.has(name)).toBe(true)
    await applyCollect(collector, plan)
    expect(await writer.refresh()).toBe(true)
    expect((await open('cache')).loose!.has(name)).toBe(true)
  })
})
