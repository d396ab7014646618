import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import { CHUNKING } from '../../src/store/chunker.ts'
import { placesOf, readContent } from '../../src/store/content.ts'
import { KEYS } from '../../src/store/layout.ts'
import { openStore } from '../../src/store/open-store.ts'
import { openIndex } from '../../src/store/pack-index.ts'
import { formatRecipe } from '../../src/store/recipe.ts'
import { rewritePacks } from '../../src/store/rewrite-pack.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { keysOf } from '../contract/blobs.ts'
import { addAll, alter, flipped } from '../contract/store.ts'
import { noise } from './noise.ts'

let root: string
let blobs: Blobs
const open = () => openStore(blobs, { role: 'remote', purpose: 'write' })
const bytesOf = async (key: string) => Buffer.from(await blobs.get(key))

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mlv-rewrite-'))
  blobs = createDirBlobs({ root })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** A large object as a recipe over two chunks. */
async function addChunked(pieces: Buffer[]): Promise<{ oid: Oid; chunks: Oid[] }> {
  const store = await open()
  const writer = store.writer()
  const oid = oidOfBytes(Buffer.concat(pieces))
  const chunks = pieces.map((piece) => ({ oid: oidOfBytes(piece), length: piece.length }))
  for (const [i, piece] of pieces.entries()) await writer.addChunk(chunks[i]!.oid, piece)
  await writer.addRecipe(oid, chunks)
  await writer.finish()
  return { oid, chunks: chunks.map((chunk) => chunk.oid) }
}

async function everyByte(): Promise<Buffer> {
  const keys = await keysOf(blobs, '')
  return Buffer.concat(await Promise.all(keys.map(bytesOf)))
}

describe('rewriting packs', () => {
  test('leaves objects out, keeps their neighbours, and no byte of what was left out stays', async () => {
    const [a, b, c] = await addAll(await open(), ['first', 'second secret', 'third'])
    await addAll(await open(), ['apart'])
    const before = await keysOf(blobs, 'packs/')
    const result = await rewritePacks(await open(), new Set([b!]))
    expect(result).toMatchObject({ objects: 2, corrupt: [] })
    expect(result.packs).toHaveLength(1)
    const store = await open()
    expect([store.has(a!), store.has(b!), store.has(c!)]).toEqual([true, false, true])
    expect((await store.read(a!)).toString()).toBe('first')
    expect((await store.read(c!)).toString()).toBe('third')
    expect(store.has(oidOfBytes(Buffer.from('apart')))).toBe(true)
    const after = await keysOf(blobs, 'packs/')
    expect(after.filter((key) => before.includes(key))).toHaveLength(1)
    const all = await everyByte()
    expect(all.includes('second secret')).toBe(false)
    expect(all.includes(Buffer.from(b!, 'hex'))).toBe(false)
  })

  test('does nothing where no pack holds one, and can be repeated', async () => {
    const [a, b] = await addAll(await open(), ['one', 'two'])
    await rewritePacks(await open(), new Set([b!]))
    const keys = await keysOf(blobs, '')
    expect(await rewritePacks(await open(), new Set([b!]))).toMatchObject({ packs: [], objects: 0, written: 0 })
    expect(await keysOf(blobs, '')).toEqual(keys)
    expect((await open()).has(a!)).toBe(true)
  })

  test('deletes a pack of which nothing stays, with the index that named it', async () => {
    const [a] = await addAll(await open(), ['alone'])
    await rewritePacks(await open(), new Set([a!]))
    expect(await keysOf(blobs, 'packs/')).toEqual([])
    expect(await keysOf(blobs, 'index/')).toEqual([])
  })

  test('keeps chunks apart from objects, and takes out recipes and chunks', async () => {
    const [head, tail, other] = ['head', 'tail', 'other'].map((seed) => noise(seed, CHUNKING.min))
    const first = await addChunked([head!, tail!])
    const second = await addChunked([head!, other!])
    const result = await rewritePacks(await open(), new Set([first.oid, first.chunks[1]!]))
    expect(result.corrupt).toEqual([])
    const store = await open()
    expect(store.has(first.oid)).toBe(false)
    expect(await store.read(second.oid)).toEqual(Buffer.concat([head!, other!]))
    await store.loadChunkIndexes()
    expect([store.hasChunk(first.chunks[1]!), store.hasChunk(first.chunks[0]!)]).toEqual([false, true])
    expect(store.has(first.chunks[0]!)).toBe(false)
    expect((await everyByte()).includes(tail!)).toBe(false)
    expect((await everyByte()).includes(formatRecipe([{ oid: first.chunks[0]!, length: head!.length }]).split('\n')[1]!)).toBe(
      true,
    )
  })

  test('loses no neighbour whose bytes were altered on their way, and no chunk of a recipe that was', async () => {
    const [head, tail] = ['head', 'tail'].map((seed) => noise(seed, CHUNKING.min))
    const chunks = [head!, tail!].map((piece) => ({ oid: oidOfBytes(piece), length: piece.length }))
    const [large, kept, secret] = [Buffer.concat([head!, tail!]), Buffer.from('kept'), Buffer.from('secret')]
    const writer = (await open()).writer()
    for (const [i, piece] of [head!, tail!].entries()) await writer.addChunk(chunks[i]!.oid, piece)
    for (const bytes of [kept, secret]) await writer.add(oidOfBytes(bytes), bytes)
    await writer.addRecipe(oidOfBytes(large), chunks)
    await writer.finish()
    const { pack } = (await open()).locate(oidOfBytes(kept))!
    expect((await open()).locate(oidOfBytes(large))!.pack).toBe(pack)
    let faults = 0
    const line: Blobs = {
      ...blobs,
      async get(key, range) {
        const bytes = Buffer.from(await blobs.get(key, range))
        if (key !== KEYS.pack(pack) || range?.start !== undefined || faults++ > 0) return bytes
        bytes.write('kepT', bytes.indexOf(kept))
        const digit = bytes.indexOf(chunks[1]!.oid)
        bytes.write(bytes[digit] === 0x30 ? '1' : '0', digit)
        return bytes
      },
    }
    const store = await openStore(line, { role: 'remote', purpose: 'write' })
    expect(await rewritePacks(store, new Set([oidOfBytes(secret)]))).toMatchObject({ packs: [pack], corrupt: [] })
    expect(faults).toBeGreaterThan(0)
    const after = await open()
    expect(await after.read(oidOfBytes(kept))).toEqual(kept)
    expect(await after.read(oidOfBytes(large))).toEqual(large)
  })

  test('reaches a pack that no index names, as an interrupted push leaves one', async () => {
    const [a, b] = await addAll(await open(), ['kept', 'to go'])
    await addAll(await open(), ['so that there is an index'])
    const own = (await readContent(blobs)).indexes.find(({ index }) => index.has(a!))!
    await blobs.delete(own.key)
    await rewritePacks(await open(), new Set([b!]))
    expect((await everyByte()).includes('to go')).toBe(false)
    expect((await open()).has(a!)).toBe(true)
  })

  test('does not carry on what does not hash to its name', async () => {
    const [a, b, c] = await addAll(await open(), ['sound', 'rotten', 'to go'])
    const pack = (await keysOf(blobs, 'packs/'))[0]!
    await alter(blobs, pack, flipped('sound'.length))
    const result = await rewritePacks(await open(), new Set([c!]))
    expect(result.corrupt.map(({ oid }) => oid)).toEqual([b])
    const store = await open()
    expect([store.has(a!), store.has(b!), store.has(c!)]).toEqual([true, false, false])
  })

  test('takes a merged index that names many packs apart and keeps its other packs', async () => {
    const oids: Oid[] = []
    for (const text of ['a', 'b', 'c']) oids.push(...(await addAll(await open(), [text, `${text}${text}`])))
    await rewritePacks(await open(), new Set([oids[0]!]))
    const content = await readContent(blobs)
    for (const { index } of content.indexes)
      for (const [pack, table] of index.tables()) {
        expect(content.packs.has(pack)).toBe(true)
        expect([...placesOf(table)].map(({ oid }) => oid).every((oid) => index.has(oid))).toBe(true)
      }
    const store = await open()
    expect(oids.map((oid) => store.has(oid))).toEqual([false, true, true, true, true, true])
  })
})

describe('tables of an index', () => {
  test('are those of the packs, whatever the order of oids', async () => {
    await addAll(await open(), ['', 'some', 'more', 'bytes', noise('x', 1000)])
    const index = openIndex(await bytesOf((await keysOf(blobs, 'index/'))[0]!))
    const [pack, { table, count }] = [...index.tables()][0]!
    const bytes = await bytesOf(KEYS.pack(pack))
    expect(count).toBe(5)
    expect(bytes.subarray(bytes.length - 16 - table.length, bytes.length - 16)).toEqual(table)
  })
})
