import { mkdtempSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { BlobInfo, Blobs } from '../../src/store/blobs.ts'
import { readContent } from '../../src/store/content.ts'
import { formatDescription, KEYS } from '../../src/store/layout.ts'
import { GRACE_MS, planMerge } from '../../src/store/merge-indexes.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createPackBuilder } from '../../src/store/pack.ts'
import { formatIndex, formatMergedIndex, type IndexedPack, openIndex } from '../../src/store/pack-index.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { keysOf } from '../contract/blobs.ts'
import { addAll } from '../contract/store.ts'

const folder = mkdtempSync(join(tmpdir(), 'mlv-merge-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let places = 0
const newPlace = () => join(folder, `place ${++places}`)

/** A client of a folder that notes which keys it was asked for. */
function watched(root: string): { blobs: Blobs; gets: string[] } {
  const real = createDirBlobs({ root })
  const gets: string[] = []
  const get: Blobs['get'] = (key, options) => {
    gets.push(key)
    return real.get(key, options)
  }
  return { blobs: { ...real, get }, gets }
}

/** A client of a place that is no folder, so that its listings may be old. */
function bucketAt(root: string): Blobs {
  return { ...createDirBlobs({ root }), filePath: undefined }
}

/** Lists index/ as it is now, however often it is asked later. */
async function withOldListing(real: Blobs): Promise<Blobs> {
  const listed: BlobInfo[] = []
  for await (const info of real.list('index/')) listed.push(info)
  return {
    ...real,
    async *list(prefix) {
      yield* prefix === 'index/' ? listed : real.list(prefix)
    },
  }
}

const openAt = (root: string, purpose: 'read' | 'write' = 'write') =>
  openStore(createDirBlobs({ root }), { role: 'remote', purpose })

/** As one command after the other: each opens the store, writes one object, and merges when it has answered. */
async function writeOneByOne(
  root: string,
  from: number,
  to: number,
  { each = 1, open = () => createDirBlobs({ root }) }: { each?: number; open?: () => Blobs } = {},
): Promise<Oid[]> {
  const oids: Oid[] = []
  for (let i = from; i < to; i++) {
    const store = await openStore(open(), { role: 'remote', purpose: 'write' })
    oids.push(
      ...(await addAll(
        store,
        Array.from({ length: each }, (_, n) => (n === 0 ? `object ${i}` : `object ${i} ${n}`)),
      )),
    )
    await store.mergeIndexes()
  }
  return oids
}

async function expectAll(store: ObjectStore, oids: readonly Oid[]): Promise<void> {
  const given: Oid[] = []
  await store.readEach(oids, (oid) => void given.push(oid))
  expect([...given].sort()).toEqual([...oids].sort())
  for (const oid of oids) expect(store.has(oid)).toBe(true)
}

const indexKeys = (root: string) => keysOf(createDirBlobs({ root }), 'index/')

describe('the plan', () => {
  const indexes = (...counts: number[]) => counts.map((count, i) => ({ oid: `${i}` as Oid, count }))

  test('seven of a tier stay, eight become one', () => {
    expect(planMerge(indexes(1, 1, 1, 1, 1, 1, 1))).toEqual([])
    expect(planMerge(indexes(1, 1, 1, 1, 1, 1, 1, 1)).length).toBe(8)
  })

  test('a full tier takes those below it along, and leaves those above', () => {
    const middle = Array.from({ length: 8 }, () => 5000)
    expect(planMerge(indexes(...middle, 3, 40_000, 300_000)).map(({ count }) => count)).toEqual([3, ...middle])
  })

  test('large ones are left alone, and no index grows beyond its limit', () => {
    expect(planMerge(indexes(...Array.from({ length: 20 }, () => 300_000)))).toEqual([])
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 60 }), (counts) => {
        const chosen = planMerge(indexes(...counts))
        expect(chosen.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(1_000_000)
        expect(chosen.length === 0 || chosen.length >= 3).toBe(true)
      }),
    )
  })

  test('property: writing one by one never leaves more than seven of each tier, and rewrites an entry a few times only', () => {
    let open: { oid: Oid; count: number }[] = []
    let next = 0
    let rewritten = 0
    for (let i = 0; i < 20_000; i++) {
      open.push({ oid: `${next++}` as Oid, count: 3 })
      for (let group = planMerge(open); group.length > 0; group = planMerge(open)) {
        const count = group.reduce((sum, index) => sum + index.count, 0)
        rewritten += count
        open = [...open.filter((index) => !group.includes(index)), { oid: `${next++}` as Oid, count }]
      }
      expect(open.length).toBeLessThanOrEqual(21)
    }
    expect(open.reduce((sum, { count }) => sum + count, 0)).toBe(60_000)
    // An entry of the lowest tier is written with its up to 4,096 neighbours each time seven commands have added three: about 100 times.
    expect(rewritten / 60_000).toBeLessThan(120)
  })
})

describe('a merged index', () => {
  const packOf = (oids: readonly Oid[]): IndexedPack => {
    const builder = createPackBuilder(1 << 16)
    for (const oid of oids) {
      builder.reserve(2)!.write('xy')
      builder.keep(oid, 2, 2, 'bytes')
    }
    const { bytes, table, count } = builder.seal()
    return { oid: oidOfBytes(bytes), table, count }
  }
  const pack = fc
    .array(
      fc.nat().map((n) => oidOfBytes(`${n}`)),
      { minLength: 1, maxLength: 10 },
    )
    .map(packOf)

  test('property: is the index over all their packs, whichever of them list one twice', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(pack, { maxLength: 4 }), { maxLength: 5 }),
        fc.array(pack, { maxLength: 2 }),
        (groups, shared) => {
          const once = (packs: IndexedPack[]) => [...new Map(packs.map((item) => [item.oid, item])).values()]
          const parts = groups.map((packs) => openIndex(formatIndex(once([...packs, ...shared]))))
          const supersedes = parts.map(({ oid }) => oid)
          const whole = groups.length === 0 ? [] : once([...groups.flat(), ...shared])
          expect(formatMergedIndex(parts, supersedes).equals(formatIndex(whole, supersedes))).toBe(true)
        },
      ),
    )
  })

  test('an index that lists a pack without its entries hides none of them', () => {
    const sound = packOf([oidOfBytes('a'), oidOfBytes('b')])
    const lying = openIndex(formatIndex([{ ...sound, table: sound.table.subarray(0, 0), count: 0 }]))
    const honest = openIndex(formatIndex([sound]))
    for (const order of [
      [lying, honest],
      [honest, lying],
    ])
      expect(openIndex(formatMergedIndex(order, [])).count).toBe(2)
  })
})

describe('a store that is written to again and again', () => {
  test('keeps few indexes in use, and a new reader reads little more than these', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 60)
    // 60 commands: one index of 57 objects and three of one each.
    expect((await indexKeys(root)).length).toBe(4)
    const { blobs, gets } = watched(root)
    const reader = await openStore(blobs, { role: 'remote', purpose: 'read' })
    expect(gets.filter((key) => key.startsWith('index/')).length).toBe(4)
    await expectAll(reader, oids)
  })

  test('merges what was merged before', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 130, { each: 3 })
    expect((await indexKeys(root)).length).toBeLessThan(9)
    await expectAll(await openAt(root, 'read'), oids)
  })

  test('where the listing does not show the merged index, what it repeats is deleted a grace period later, by the clock of the store', async () => {
    const root = newPlace()
    const late = (): Blobs => {
      const real = bucketAt(root)
      const written = new Set<string>()
      return {
        ...real,
        async put(key, bytes, options) {
          written.add(key)
          return real.put(key, bytes, options)
        },
        async *list(prefix) {
          for await (const info of real.list(prefix)) if (!written.has(info.key)) yield info
        },
      }
    }
    const oids = await writeOneByOne(root, 0, 9, { open: late })
    const before = await indexKeys(root)
    expect(before.length).toBe(10)
    const age = (ms: number) => {
      const when = (Date.now() - ms) / 1000
      for (const key of before) utimesSync(join(root, key), when, when)
    }
    age(GRACE_MS - 60_000)
    oids.push(...(await writeOneByOne(root, 9, 10)))
    expect((await indexKeys(root)).length).toBe(11)
    age(GRACE_MS + 60_000)
    oids.push(...(await writeOneByOne(root, 10, 11)))
    // The merged one, and one of each command that came after it.
    expect((await indexKeys(root)).length).toBe(4)
    await expectAll(await openAt(root, 'read'), oids)
  })

  test('a clock that is a day ahead on one machine deletes nothing that is not repeated', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 12)
    for (const key of (await indexKeys(root)).slice(0, 3))
      utimesSync(join(root, key), Date.now() / 1000 + 90_000, Date.now() / 1000 + 90_000)
    oids.push(...(await writeOneByOne(root, 12, 20)))
    await expectAll(await openAt(root, 'read'), oids)
  })

  test('a reader that opened it before a merge and its deletions reads on, and finds what is new', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 7)
    const reader = await openAt(root, 'read')
    oids.push(...(await writeOneByOne(root, 7, 8)))
    for (const key of await indexKeys(root))
      if (openIndex(Buffer.from(await reader.blobs.get(key))).supersedes.length === 0) await reader.blobs.delete(key)
    await expectAll(reader, oids.slice(0, 7))
    await reader.refresh()
    await expectAll(reader, oids)
  })

  test('a reader whose listing is older than a merge and its deletions lists again', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 7)
    const real = createDirBlobs({ root })
    let isStale = true
    const late: Blobs = {
      ...real,
      async *list(prefix) {
        const listed = []
        for await (const info of real.list(prefix)) listed.push(info)
        if (prefix === 'index/' && isStale) {
          isStale = false
          oids.push(...(await writeOneByOne(root, 7, 8)))
          for (const { key } of listed) await real.delete(key)
        }
        yield* listed
      },
    }
    await expectAll(await openStore(late, { role: 'remote', purpose: 'read' }), oids)
  })

  test('in a bucket, a reader whose listing is older than many merges finds what took the place of what was listed', async () => {
    const root = newPlace()
    const open = () => bucketAt(root)
    const oids = await writeOneByOne(root, 0, 5, { open })
    const late = await withOldListing(open())
    await writeOneByOne(root, 5, 30, { open })
    const listed = await keysOf(late, 'index/')
    const left = await indexKeys(root)
    expect(listed.filter((key) => left.includes(key))).toEqual([])
    await expectAll(await openStore(late, { role: 'remote', purpose: 'read' }), oids)
    // One who deletes reads the same, and one who writes finds what it wrote although another one has merged it.
    const content = await readContent(late)
    expect(content.indexes.map(({ key }) => key)).toEqual(left.filter((key) => content.indexes.some((one) => one.key === key)))
    const writer = await openStore(late, { role: 'remote', purpose: 'write' })
    oids.push(...(await addAll(writer, ['mine'])))
    await writeOneByOne(root, 30, 50, { open })
    await writer.refresh()
    await expectAll(writer, oids)
  })

  test('a record that leads astray is not believed', async () => {
    const root = newPlace()
    const open = () => bucketAt(root)
    const oids = await writeOneByOne(root, 0, 5, { open })
    const listed = (await indexKeys(root)).map((key) => key.slice('index/'.length) as Oid)
    const late = await withOldListing(open())
    await open().delete(KEYS.index(listed[0]!))
    for (const text of [listed[1], listed[0], oidOfBytes('nothing'), '../../mlv.json', '']) {
      await open().put(KEYS.superseded(listed[0]!), Buffer.from(`${text}\n`))
      const reader = await openStore(late, { role: 'remote', purpose: 'read' })
      expect(oids.filter((oid) => reader.has(oid)).length).toBe(4)
      await expect(readContent(late)).rejects.toMatchObject({ code: 'REMOTE_FAILED' })
    }
  })

  test('records are deleted with a merge a grace period later', async () => {
    const root = newPlace()
    const open = () => bucketAt(root)
    await writeOneByOne(root, 0, 8, { open })
    const records = () => keysOf(open(), 'superseded/')
    const before = await records()
    expect(before.length).toBe(8)
    const when = (Date.now() - GRACE_MS) / 1000 - 60
    for (const key of before.slice(1)) utimesSync(join(root, key), when, when)
    await writeOneByOne(root, 8, 15, { open })
    const after = await records()
    expect(after.length).toBe(9)
    expect(after.filter((key) => before.includes(key))).toEqual([before[0]])
  })

  test('of two that merge the same at once, the one that comes too late takes back its own index, and not the other one', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 7)
    const real = createDirBlobs({ root })
    let other: ObjectStore | undefined
    const raced: Blobs = {
      ...real,
      async put(key, bytes, options) {
        const done = await real.put(key, bytes, options)
        const isMerged = key.startsWith('index/') && openIndex(Buffer.from(bytes)).supersedes.length > 0
        if (isMerged) await other?.mergeIndexes()
        return done
      },
    }
    const store = await openStore(raced, { role: 'remote', purpose: 'write' })
    oids.push(...(await addAll(store, ['object 7'])))
    other = await openAt(root)
    await addAll(other, ['object 7'])
    await store.mergeIndexes()
    await expectAll(await openAt(root, 'read'), oids)
    expect((await indexKeys(root)).length).toBe(1)
  })

  test('one whose machine slept while it merged takes nothing back: others have deleted what the merged index repeats', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 7)
    const real = createDirBlobs({ root })
    const begun = Date.now()
    onTestFinished(() => void vi.useRealTimers())
    const slow: Blobs = {
      ...real,
      async put(key, bytes, options) {
        const done = await real.put(key, bytes, options)
        if (!key.startsWith('index/') || openIndex(Buffer.from(bytes)).supersedes.length === 0) return done
        const when = (begun - GRACE_MS) / 1000 - 60
        utimesSync(join(root, key), when, when)
        oids.push(...(await writeOneByOne(root, 10, 11)))
        vi.useFakeTimers({ toFake: ['Date'], now: begun + GRACE_MS })
        return done
      },
    }
    const store = await openStore(slow, { role: 'remote', purpose: 'write' })
    oids.push(...(await addAll(store, ['object 7'])))
    await store.mergeIndexes()
    expect((await indexKeys(root)).length).toBe(2)
    await expectAll(await openAt(root, 'read'), oids)
  })

  test('several that write and merge at once lose nothing', async () => {
    const root = newPlace()
    await openAt(root)
    const all = await Promise.all([0, 1, 2, 3].map((writer) => writeOneByOne(root, writer * 100, writer * 100 + 15)))
    await expectAll(await openAt(root, 'read'), all.flat())
  })

  test('chunk indexes are merged apart', async () => {
    const root = newPlace()
    const chunks: Oid[] = []
    for (let i = 0; i < 9; i++) {
      const store = await openAt(root)
      await store.loadChunkIndexes()
      const writer = store.writer()
      chunks.push(oidOfBytes(`chunk ${i}`))
      await writer.addChunk(chunks.at(-1)!, Buffer.from(`chunk ${i}`))
      await writer.finish()
      await store.mergeIndexes()
    }
    const { blobs, gets } = watched(root)
    const reader = await openStore(blobs, { role: 'remote', purpose: 'read' })
    await reader.loadChunkIndexes()
    expect(chunks.every((oid) => reader.hasChunk(oid) && !reader.has(oid))).toBe(true)
    expect((await indexKeys(root)).every((key) => key.endsWith('-chunks'))).toBe(true)
    expect(gets.length).toBeLessThan(8)
  })
})

describe('not merged', () => {
  test('an index that names a condemned pack: what is about to be deleted gets no new name', async () => {
    const root = newPlace()
    const [first, ...oids] = await writeOneByOne(root, 0, 7)
    const store = await openAt(root)
    const blobs = createDirBlobs({ root })
    const pack = store.locate(first!)!.pack
    const record = Buffer.from(JSON.stringify({ packs: [pack] }))
    await blobs.put(`${KEYS.condemned}${oidOfBytes(record)}`, record)
    await blobs.put(KEYS.description, Buffer.from(formatDescription({ ...store.description, records: ['condemned'] })))
    oids.push(...(await writeOneByOne(root, 7, 9)))
    const merged = []
    for (const key of await indexKeys(root)) {
      const index = openIndex(Buffer.from(await blobs.get(key)))
      if (index.supersedes.length > 0) merged.push(index)
    }
    expect(merged.length).toBe(1)
    expect(merged[0]!.packs).not.toContain(pack)
    const reader = await openAt(root, 'read')
    expect(reader.has(first!)).toBe(false)
    await expectAll(reader, oids)
  })

  test('an index that is deleted while it is merged: the merged one goes, too', async () => {
    const root = newPlace()
    const oids = await writeOneByOne(root, 0, 7)
    const real = createDirBlobs({ root })
    let victim = ''
    const raced: Blobs = {
      ...real,
      async put(key, bytes, options) {
        const done = await real.put(key, bytes, options)
        if (key.startsWith('index/') && openIndex(Buffer.from(bytes)).supersedes.length > 0) await real.delete(victim)
        return done
      },
    }
    victim = (await indexKeys(root))[0]!
    const store = await openStore(raced, { role: 'remote', purpose: 'write' })
    oids.push(...(await addAll(store, ['object 7'])))
    await store.mergeIndexes()
    const indexes = await Promise.all((await indexKeys(root)).map(async (key) => openIndex(Buffer.from(await real.get(key)))))
    expect(indexes.length).toBe(7)
    expect(indexes.flatMap(({ supersedes }) => supersedes)).toEqual([])
  })

  test('anything by a command that wrote nothing', async () => {
    const root = newPlace()
    for (let i = 0; i < 20; i++) await addAll(await openAt(root), [`object ${i}`])
    const before = await indexKeys(root)
    await (await openAt(root)).mergeIndexes()
    expect(await indexKeys(root)).toEqual(before)
    const store = await openAt(root)
    await addAll(store, ['one more'])
    await store.mergeIndexes()
    expect((await openAt(root, 'read')).has(oidOfBytes('object 3'))).toBe(true)
    expect((await indexKeys(root)).length).toBe(1)
  })
})

describe('an index that claims too much', () => {
  test('one smaller than what it says it repeats, or without its packs, hides nothing', async () => {
    const root = newPlace()
    const blobs = createDirBlobs({ root })
    const oids = await addAll(await openAt(root), ['a', 'b', 'c'])
    const [named] = await indexKeys(root)
    const liar = formatIndex([], [named!.slice('index/'.length) as Oid])
    await blobs.put(KEYS.index(oidOfBytes(liar)), liar)
    await expectAll(await openAt(root, 'read'), oids)
  })
})
