import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import { KEYS } from '../../src/store/layout.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { type OpenOptions, openStore } from '../../src/store/open-store.ts'
import { parsePackTable, ROW_BYTES, readRow } from '../../src/store/pack.ts'
import { applyTransfer, planTransfer, type TransferOptions, type Wanted } from '../../src/store/transfer.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { keysOf } from '../contract/blobs.ts'
import { addAll, alter, flipped } from '../contract/store.ts'
import { noise } from './noise.ts'

const MIB = 1 << 20
const folder = mkdtempSync(join(tmpdir(), 'mlv-transfer-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let places = 0
let root: string
beforeEach(() => {
  root = join(folder, `place ${++places}`)
})

const openCache = (name = 'cache', purpose: OpenOptions['purpose'] = 'write') =>
  openStore(createDirBlobs({ root: join(root, name), trustOids: true }), { role: 'cache', purpose })
const openRemote = (purpose: OpenOptions['purpose'] = 'write', blobs: Blobs = createDirBlobs({ root: join(root, 'remote') })) =>
  openStore(blobs, { role: 'remote', purpose, stateDir: join(root, 'state') })

async function* pieces(bytes: Buffer) {
  for (let at = 0; at < bytes.length; at += 3 * MIB) yield bytes.subarray(at, at + 3 * MIB)
}

/** Stores as `add` does: small objects in packs, large ones whole. */
async function fill(cache: ObjectStore, contents: readonly (Buffer | string)[]): Promise<Wanted[]> {
  const all = contents.map((content) => Buffer.from(content as string))
  await addAll(
    cache,
    all.filter((bytes) => bytes.length < MIB),
  )
  for (const bytes of all) if (bytes.length >= MIB) await cache.loose!.storeStream(oidOfBytes(bytes), pieces(bytes))
  cache.loose!.flush()
  return all.map((bytes) => ({ oid: oidOfBytes(bytes), size: bytes.length }))
}

const send = (from: ObjectStore, to: ObjectStore, wanted: Wanted[], options?: TransferOptions) =>
  applyTransfer(planTransfer(from, to, wanted), from, to, options)

async function hashOf(store: ObjectStore, oid: Oid): Promise<Oid> {
  const read: Buffer[] = []
  for await (const piece of store.stream(oid)) read.push(piece)
  return oidOfBytes(Buffer.concat(read))
}

const never = (what: string): never => {
  throw new Error(what)
}
async function entriesOf(blobs: Blobs) {
  const entries = []
  for (const key of await keysOf(blobs, 'packs/')) {
    const bytes = Buffer.from(await blobs.get(key))
    const { table, count } = parsePackTable(bytes, oidOfBytes(bytes), bytes.length)!
    for (let row = 0; row < count; row++) entries.push(readRow(table, row * ROW_BYTES, never))
  }
  return entries
}

describe('a mixed set', () => {
  const sizes = [0, 10, 300, MIB - 1, MIB, 5 * MIB, 16 * MIB - 1, 16 * MIB, 20 * MIB, 40 * MIB]
  const contents = sizes.map((size) => noise(`mixed ${size}`, size))

  test('travels to a remote in packs and chunks, and back into another cache', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, contents)
    const remote = await openRemote()
    let told = 0
    const sent = await send(cache, remote, [...wanted, ...wanted], {
      onBytes: (count) => {
        told += count
      },
    })
    const total = sizes.reduce((sum, size) => sum + size, 0)
    expect(sent).toMatchObject({ objects: sizes.length, bytes: total, saved: 0, failed: [] })
    expect(told).toBe(total)
    expect(sent.written).toBeGreaterThan(total)
    expect(sent.written).toBeLessThan(total + 100_000)

    const entries = await entriesOf(remote.blobs)
    const recipes = entries.filter(({ type }) => type === 'recipe')
    expect(recipes.map(({ size }) => size / MIB).sort()).toEqual([16, 20, 40])
    for (const { oid, size } of wanted.filter((item) => item.size! < 16 * MIB))
      expect(entries).toContainEqual(expect.objectContaining({ oid, size, type: 'bytes' }))
    expect(await keysOf(remote.blobs, 'objects/')).toEqual([])
    for (const key of await keysOf(remote.blobs, 'packs/'))
      expect((await remote.blobs.head(key))!.size).toBeLessThanOrEqual(32 * MIB)

    expect(planTransfer(cache, remote, wanted)).toEqual({
      packs: [],
      small: [],
      large: [],
      foreign: [],
      missing: [],
      purged: [],
      bytes: 0,
    })
    const reader = await openRemote('read')
    const other = await openCache('other')
    expect(await send(reader, other, wanted)).toMatchObject({ objects: sizes.length, bytes: total, failed: [] })
    for (const { oid, size } of wanted) {
      expect(await hashOf(other, oid)).toBe(oid)
      expect(other.loose!.has(oid)).toBe(size! >= MIB)
    }
    expect(await send(reader, other, wanted)).toMatchObject({ objects: 0, written: 0 })
  })

  test('a megabyte inserted in the middle of a large file sends little', async () => {
    const cache = await openCache()
    const old = noise('large', 64 * MIB)
    const now = Buffer.concat([old.subarray(0, 30 * MIB), noise('inserted', MIB), old.subarray(30 * MIB)])
    const [first, second] = await fill(cache, [old, now])
    await send(cache, await openRemote(), [first!])
    const remote = await openRemote()
    const sent = await send(cache, remote, [second!])
    expect(sent.written).toBeLessThan(5 * MIB)
    expect(sent.saved).toBeGreaterThan(60 * MIB)
    expect(await hashOf(await openRemote('read'), second!.oid)).toBe(second!.oid)
    expect(await hashOf(remote, first!.oid)).toBe(first!.oid)
  })

  test('chunks that two files share are sent once in the same transfer', async () => {
    const cache = await openCache()
    const shared = noise('shared', 30 * MIB)
    const wanted = await fill(cache, [shared, Buffer.concat([shared, Buffer.from('and more')])])
    const sent = await send(cache, await openRemote(), wanted)
    expect(sent.saved).toBeGreaterThan(25 * MIB)
    expect(sent.written).toBeLessThan(36 * MIB)
  })
})

describe('faults', () => {
  test('missing and corrupt objects are named and keep no other back', async () => {
    const cache = await openCache()
    const large = noise('large', 17 * MIB)
    const broken = noise('broken', 17 * MIB)
    const wanted = await fill(cache, ['a', 'b', 'c', large, broken])
    const { pack, offset } = cache.locate(oidOfBytes('b'))!
    await alter(cache.blobs, KEYS.pack(pack), flipped(offset))
    const path = cache.loose!.path(oidOfBytes(broken))
    chmodSync(path, 0o644)
    writeFileSync(path, flipped(5 * MIB)(broken))

    const absent = { oid: oidOfBytes('absent'), size: 6 }
    const remote = await openRemote()
    const plan = planTransfer(cache, remote, [absent, ...wanted])
    expect(plan.missing).toEqual([absent])
    const sent = await applyTransfer(plan, cache, remote)
    expect(sent.failed.map(({ oid, error }) => [oid, (error as { code?: string }).code])).toEqual([
      [oidOfBytes('b'), 'OBJECT_CORRUPT'],
      [oidOfBytes(broken), 'OBJECT_CORRUPT'],
    ])
    expect(sent.objects).toBe(3)
    const reader = await openRemote('read')
    for (const content of ['a', 'c', large]) expect(await hashOf(reader, oidOfBytes(content))).toBe(oidOfBytes(content))
    for (const content of ['b', broken]) expect(reader.has(oidOfBytes(content))).toBe(false)
    // What is corrupt in a cache counts as missing there, so that it can be fetched again.
    const later = await openCache()
    expect([later.has(oidOfBytes('b')), later.has(oidOfBytes(broken))]).toEqual([false, false])
    expect(readdirSync(join(path, '..'))).toEqual([`${oidOfBytes(broken)}.corrupt`])
    await fill(later, ['b', broken])
    expect(await send(later, await openRemote(), wanted)).toMatchObject({ objects: 2, failed: [] })
  })

  test('an object that vanished since it was planned is named', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, ['small', noise('vanishing', 2 * MIB)])
    const remote = await openRemote()
    const plan = planTransfer(cache, remote, wanted)
    rmSync(cache.loose!.path(wanted[1]!.oid))
    const sent = await applyTransfer(plan, cache, remote)
    expect(sent.failed).toMatchObject([{ oid: wanted[1]!.oid, error: { code: 'OBJECT_MISSING' } }])
    expect(sent.objects).toBe(1)
  })

  test('an object larger than its tree says is named and does not fill the memory', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, ['small', noise('huge', 33 * MIB)])
    const sent = await send(cache, await openRemote(), [wanted[0]!, { ...wanted[1]!, size: 5 }])
    expect(sent.failed).toMatchObject([{ oid: wanted[1]!.oid, error: { code: 'TREE_INVALID' } }])
    expect(sent.objects).toBe(1)
  })

  test('an object smaller than its tree says arrives all the same', async () => {
    const cache = await openCache()
    const [small] = await fill(cache, ['small'])
    const remote = await openRemote()
    await send(cache, remote, [{ ...small!, size: 50 * MIB }])
    expect((await remote.read(small!.oid)).toString()).toBe('small')
  })

  test('a corrupt chunk on the remote is found before the file gets its name', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, [noise('chunked', 20 * MIB), 'other'])
    await send(cache, await openRemote(), wanted)
    const remote = await openRemote('read')
    const chunk = (await entriesOf(remote.blobs)).find(({ type, size }) => type === 'bytes' && size > 5)!
    for (const key of await keysOf(remote.blobs, 'packs/'))
      if ((await remote.blobs.head(key))!.size > MIB) await alter(remote.blobs, key, flipped(chunk.offset + 100))
    const other = await openCache('other')
    const got = await send(remote, other, wanted)
    expect(got.failed).toMatchObject([{ oid: wanted[0]!.oid, error: { code: 'OBJECT_CORRUPT' } }])
    expect([other.has(wanted[0]!.oid), other.has(wanted[1]!.oid)]).toEqual([false, true])
    expect(readdirSync(join(root, 'other', 'tmp'))).toEqual([])
  })

  test('an interrupted transfer throws; the next sends what was not indexed', async () => {
    const cache = await openCache()
    const first = await fill(cache, ['a', noise('first', 17 * MIB)])
    const second = await fill(cache, ['b', noise('second', 17 * MIB)])
    await send(cache, await openRemote(), first)
    const abort = new AbortController()
    const interrupted = send(cache, await openRemote(), second, {
      signal: abort.signal,
      onBytes: () => abort.abort(new Error('enough')),
    })
    await expect(interrupted).rejects.toThrow()
    const remote = await openRemote()
    expect(second.map(({ oid }) => remote.has(oid))).toEqual([false, false])
    const plan = planTransfer(cache, remote, [...first, ...second])
    expect([...plan.small, ...plan.large].map(({ oid }) => oid)).toEqual(second.map(({ oid }) => oid))
    expect(await applyTransfer(plan, cache, remote)).toMatchObject({ objects: 2, saved: 0, failed: [] })
    for (const { oid } of [...first, ...second]) expect(await hashOf(remote, oid)).toBe(oid)
  })

  test('a destination that cannot be written to ends the transfer with its error', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, ['a'])
    const remote = await openRemote()
    rmSync(join(root, 'remote'), { recursive: true })
    writeFileSync(join(root, 'remote'), 'a file where the folder was')
    await expect(send(cache, remote, wanted)).rejects.toThrow()
  })
})

describe('requests', () => {
  /** A real place that writes down what it is asked. */
  function recording(blobs: Blobs) {
    const asked: string[] = []
    const note = (verb: string, key: string) =>
      asked.push(`${verb} ${key.replace(/[0-9a-f]{64}/g, 'OID').replace(/\/[0-9a-f]{2}\//, '/')}`)
    const recorded: Blobs = {
      url: blobs.url,
      get: (key, options) => {
        note('get', key)
        return blobs.get(key, options)
      },
      put: (key, bytes, options) => {
        note('put', key)
        return blobs.put(key, bytes, options)
      },
      list: (prefix, signal) => {
        note('list', prefix)
        return blobs.list(prefix, signal)
      },
      head: (key, signal) => {
        note('head', key)
        return blobs.head(key, signal)
      },
      delete: (key, signal) => {
        note('delete', key)
        return blobs.delete(key, signal)
      },
    }
    return { recorded, asked }
  }

  test('one changed file among 70,000 takes four, and one more for each index not seen before', async () => {
    const cache = await openCache()
    const contents = Array.from({ length: 70_000 }, (_, i) => `object ${i}`)
    const wanted = await fill(cache, contents)
    const place = createDirBlobs({ root: join(root, 'remote') })
    await send(cache, await openRemote('write', place), wanted)

    const change = async (name: string) => {
      const { recorded, asked } = recording(place)
      const added = await fill(cache, [name])
      const remote = await openRemote('write', recorded)
      await send(cache, remote, [...wanted, ...added])
      expect(remote.has(added[0]!.oid)).toBe(true)
      return asked
    }
    expect(await change('one more')).toEqual(['get mlv.json', 'list index/', 'put packs/OID', 'put index/OID'])
    rmSync(join(root, 'state'), { recursive: true })
    expect(await change('and one')).toEqual([
      'get mlv.json',
      'list index/',
      'get index/OID',
      'get index/OID',
      'put packs/OID',
      'put index/OID',
    ])
    expect(await change('and another')).toHaveLength(4)
  })

  test('copies of indexes are kept beside the clone, and a broken copy is read again', async () => {
    const cache = await openCache()
    await send(cache, await openRemote(), await fill(cache, ['a']))
    const { id } = (await openRemote('read')).description
    const copies = join(root, 'state', 'indexes', id)
    const [copy] = readdirSync(copies)
    writeFileSync(join(copies, copy!), 'broken')
    expect((await openRemote('read')).has(oidOfBytes('a'))).toBe(true)
    expect(statSync(join(copies, copy!)).size).toBeGreaterThan(1000)
    await createDirBlobs({ root: join(root, 'remote') }).delete(`index/${copy}`)
    expect((await openRemote('read')).has(oidOfBytes('a'))).toBe(false)
    expect(readdirSync(copies)).toEqual([])
  })
})

describe('a version of a large file', () => {
  const old = noise('version', 60 * MIB)
  const now = Buffer.concat([old.subarray(0, 20 * MIB), noise('inserted', MIB), old.subarray(20 * MIB)])

  async function pushed(): Promise<Wanted[]> {
    const cache = await openCache('source')
    const wanted = await fill(cache, [old, now])
    await send(cache, await openRemote(), wanted)
    return wanted
  }

  /** A remote that counts the bytes it gives. */
  function counting() {
    const blobs = createDirBlobs({ root: join(root, 'remote') })
    const seen = { bytes: 0 }
    const get: Blobs['get'] = async (key, options) => {
      const bytes = await blobs.get(key, options)
      seen.bytes += bytes.length
      return bytes
    }
    return { seen, blobs: { ...blobs, get } }
  }

  test('is assembled from one that the cache holds', async () => {
    const [first, second] = await pushed()
    const cache = await openCache()
    await send(await openRemote('read'), cache, [first!])
    const { seen, blobs } = counting()
    const done = await send(await openRemote('read', blobs), cache, [second!])
    expect(done).toMatchObject({ objects: 1, bytes: now.length, failed: [] })
    expect(done.saved).toBeGreaterThan(55 * MIB)
    expect(seen.bytes).toBeLessThan(5 * MIB)
    expect(await hashOf(cache, second!.oid)).toBe(second!.oid)
  })

  test('is assembled from a file of the workspace; one that has changed since spares what it still holds', async () => {
    const [first, second] = await pushed()
    const path = join(root, 'model.bin')
    const altered = Buffer.from(old)
    altered[50 * MIB]! ^= 1
    for (const [name, content] of Object.entries({
      whole: old,
      altered,
      truncated: old.subarray(0, 40 * MIB),
      gone: undefined,
    })) {
      rmSync(path, { force: true })
      if (content) writeFileSync(path, content)
      const cache = await openCache(name)
      const done = await send(await openRemote('read'), cache, [second!], { versions: () => [{ oid: first!.oid, path }] })
      expect(done).toMatchObject({ objects: 1, failed: [] })
      if (name === 'whole') expect(done.saved).toBeGreaterThan(55 * MIB)
      if (name === 'gone') expect(done.saved).toBe(0)
      expect(await hashOf(cache, second!.oid)).toBe(second!.oid)
    }
  })

  test('that an earlier version stored whole in a pack stays readable', async () => {
    const large = noise('whole', 20 * MIB)
    const oid = oidOfBytes(large)
    const writer = (await openRemote()).writer()
    await writer.add(oid, large)
    await writer.finish()
    const cache = await openCache()
    expect(await send(await openRemote('read'), cache, [{ oid, size: large.length }])).toMatchObject({ objects: 1, failed: [] })
    expect(await hashOf(cache, oid)).toBe(oid)
  })

  test('with a long row of zeros reads it once', async () => {
    const cache = await openCache('source')
    const zeros = Buffer.concat([Buffer.alloc(40 * MIB), noise('end', 2 * MIB)])
    const wanted = await fill(cache, [zeros])
    await send(cache, await openRemote(), wanted)
    const { seen, blobs } = counting()
    const other = await openCache()
    await send(await openRemote('read', blobs), other, wanted)
    expect(seen.bytes).toBeLessThan(7 * MIB)
    expect(await hashOf(other, wanted[0]!.oid)).toBe(wanted[0]!.oid)
  })
})

describe('a pack whose objects are all wanted', () => {
  const contents = Array.from({ length: 40 }, (_, i) => noise(`packed ${i}`, MIB / 2))

  test('travels as it is, both ways, under its own name', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, contents)
    const packs = await keysOf(cache.blobs, 'packs/')
    const remote = await openRemote()
    const plan = planTransfer(cache, remote, wanted)
    expect(plan).toMatchObject({ small: [], large: [], missing: [], bytes: 20 * MIB })
    const sent = await applyTransfer(plan, cache, remote)
    expect(sent).toMatchObject({ objects: 40, bytes: 20 * MIB, failed: [] })
    expect(await keysOf(remote.blobs, 'packs/')).toEqual(packs)
    const other = await openCache('other')
    expect(await send(await openRemote('read'), other, wanted)).toMatchObject({ objects: 40, failed: [] })
    expect(await keysOf(other.blobs, 'packs/')).toEqual(packs)
    for (const { oid } of wanted) expect(await hashOf(other, oid)).toBe(oid)
  })

  test('is packed anew when one object is not wanted, or when it is small', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, contents)
    const remote = await openRemote()
    expect(planTransfer(cache, remote, wanted.slice(1))).toMatchObject({ packs: [], small: wanted.slice(1) })
    const tiny = await openCache('tiny')
    const few = await fill(tiny, contents.slice(0, 3))
    expect(planTransfer(tiny, remote, few).packs).toEqual([])
  })

  test('that proves wrong is taken apart: what is whole comes, the rest is named', async () => {
    const cache = await openCache()
    const wanted = await fill(cache, contents)
    await send(cache, await openRemote(), wanted)
    const { blobs } = await openRemote('read')
    const [key] = await keysOf(blobs, 'packs/')
    await alter(blobs, key!, flipped(1000))
    const other = await openCache('other')
    const done = await send(await openRemote('read'), other, wanted)
    expect(done.objects).toBe(39)
    expect(done.failed).toHaveLength(1)
    expect(done.failed[0]!.error).toMatchObject({ code: 'OBJECT_CORRUPT' })
    for (const { oid } of wanted) if (other.has(oid)) expect(await hashOf(other, oid)).toBe(oid)
  })
})
