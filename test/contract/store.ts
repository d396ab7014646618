import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import { formatDescription, KEYS, newDescription } from '../../src/store/layout.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { type OpenOptions, openStore } from '../../src/store/open-store.ts'
import { formatIndex, openIndex } from '../../src/store/pack-index.ts'
import { noise } from '../store/noise.ts'
import { keysOf } from './blobs.ts'

const MIB = 1 << 20

export async function addAll(store: ObjectStore, contents: readonly (Buffer | string)[]): Promise<Oid[]> {
  const writer = store.writer()
  const oids: Oid[] = []
  for (const content of contents) {
    const bytes = Buffer.from(content as string)
    oids.push(oidOfBytes(bytes))
    await writer.add(oids.at(-1)!, bytes)
  }
  await writer.finish()
  return oids
}

/** Puts the bytes of one key through a change, as a broken disk or a foreign hand would. */
export async function alter(blobs: Blobs, key: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await blobs.put(key, change(Buffer.from(await blobs.get(key))))
}

export const flipped = (at: number) => (bytes: Buffer) => {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 1
  return copy
}

export async function setDescription(blobs: Blobs, change: Record<string, unknown>): Promise<void> {
  await blobs.put(KEYS.description, Buffer.from(formatDescription({ ...newDescription(), ...change })))
}

/** What every store must do, wherever its blobs lie. `openPlace` gives an empty place, and each call of what it gives another client of it. */
export function storeContract(name: string, role: OpenOptions['role'], openPlace: () => Promise<() => Promise<Blobs>>): void {
  describe(name, () => {
    let connect: () => Promise<Blobs>
    let blobs: Blobs
    const clients: Blobs[] = []
    const open = async (purpose: OpenOptions['purpose'] = 'write') => {
      const client = await connect()
      clients.push(client)
      return openStore(client, { role, purpose })
    }
    beforeEach(async () => {
      connect = await openPlace()
      blobs = await connect()
      clients.push(blobs)
    })
    afterEach(() => {
      for (const client of clients.splice(0)) client.close?.()
    })

    describe('writing and reading', () => {
      test('objects of every size come back, in this process and the next', async () => {
        const sizes = [0, 1, 300, MIB - 1, MIB, MIB + 1, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1]
        const contents = sizes.map((size) => noise(`size ${size}`, size))
        const store = await open()
        const oids = await addAll(store, contents)
        for (const reader of [store, await open('read')]) {
          for (const [i, oid] of oids.entries()) {
            expect(reader.has(oid)).toBe(true)
            expect(oidOfBytes(await reader.read(oid))).toBe(oid)
            expect(reader.locate(oid)).toMatchObject({ type: 'bytes', size: sizes[i] })
          }
          const given = new Map<Oid, number>()
          await reader.readEach(oids, (oid, bytes) => void given.set(oid, bytes.length))
          expect(given).toEqual(new Map(oids.map((oid, i) => [oid, sizes[i]!])))
        }
      })

      test('nothing counts as stored before finish', async () => {
        const store = await open()
        const bytes = Buffer.from('content')
        const oid = oidOfBytes(bytes)
        const writer = store.writer()
        await writer.add(oid, bytes)
        expect([writer.has(oid), store.has(oid)]).toEqual([true, false])
        await writer.finish()
        expect(store.has(oid)).toBe(true)
        expect((await open()).has(oid)).toBe(true)
      })

      test('a writer that never finishes leaves nothing visible, though its packs are there', async () => {
        const store = await open()
        const writer = store.writer()
        const contents = Array.from({ length: 5 }, (_, i) => noise(`lost ${i}`, 12 * MIB))
        for (const bytes of contents) await writer.add(oidOfBytes(bytes), bytes)
        const fresh = await open()
        for (const bytes of contents) expect(fresh.has(oidOfBytes(bytes))).toBe(false)
        expect(await keysOf(blobs, 'index/')).toEqual([])
        expect(await addAll(fresh, contents)).toEqual(contents.map(oidOfBytes))
        for (const bytes of contents) expect((await fresh.read(oidOfBytes(bytes))).equals(bytes)).toBe(true)
      })

      test('two writers at once, with objects in common, do not disturb each other', async () => {
        const [a, b] = [await open(), await open()]
        const shared = ['both', 'same']
        await Promise.all([addAll(a, [...shared, 'of a']), addAll(b, ['of b', ...shared])])
        const reader = await open('read')
        for (const content of [...shared, 'of a', 'of b'])
          expect((await reader.read(oidOfBytes(content))).toString()).toBe(content)
        await a.refresh()
        expect(a.has(oidOfBytes('of b'))).toBe(true)
      })

      test('many adds at once share packs and lose nothing', async () => {
        const store = await open()
        const writer = store.writer({ concurrency: 2 })
        const contents = Array.from({ length: 40 }, (_, i) => noise(`at once ${i}`, 2 * MIB + i))
        await Promise.all(contents.map((bytes) => writer.add(oidOfBytes(bytes), bytes)))
        await writer.finish()
        const reader = await open('read')
        for (const bytes of contents) expect((await reader.read(oidOfBytes(bytes))).equals(bytes)).toBe(true)
      })

      test('equal objects make equal packs and indexes, so the second writer adds nothing', async () => {
        await addAll(await open(), ['a', 'b'])
        const before = await keysOf(blobs, '')
        await addAll(await open(), ['a', 'b'])
        expect(await keysOf(blobs, '')).toEqual(before)
      })

      test('a writer with nothing to write writes nothing', async () => {
        await (await open()).writer().finish()
        expect(await keysOf(blobs, '')).toEqual(['mlv.json'])
      })

      test('room is filled in place, and what is not kept is given back', async () => {
        const store = await open()
        const writer = store.writer()
        for (const [content, isKept] of [
          ['dropped', false],
          ['kept', true],
          ['kept too', true],
        ] as const) {
          const room = writer.reserve(Buffer.byteLength(content)) as Buffer
          room.write(content)
          if (isKept) writer.keep(oidOfBytes(content), room.length)
        }
        await writer.finish()
        expect((await store.read(oidOfBytes('kept too'))).toString()).toBe('kept too')
        expect(store.has(oidOfBytes('dropped'))).toBe(false)
      })

      test('a large object is read from chunks, in pieces, and another recipe shares them', async () => {
        const store = await open()
        const chunks = [noise('one', MIB), noise('two', MIB), noise('three', 100)]
        const writer = store.writer()
        for (const bytes of chunks) await writer.addChunk(oidOfBytes(bytes), bytes)
        const listed = chunks.map((bytes) => ({ oid: oidOfBytes(bytes), length: bytes.length }))
        const whole = Buffer.concat(chunks)
        const twice = Buffer.concat([...chunks, ...chunks, chunks[1]!])
        await writer.addRecipe(oidOfBytes(whole), listed)
        await writer.addRecipe(oidOfBytes(twice), [...listed, ...listed, listed[1]!])
        await writer.finish()
        const reader = await open('read')
        for (const bytes of [whole, twice]) {
          const oid = oidOfBytes(bytes)
          expect(reader.locate(oid)).toMatchObject({ type: 'recipe', size: bytes.length })
          const pieces: Buffer[] = []
          for await (const piece of reader.stream(oid)) pieces.push(piece)
          expect(Buffer.concat(pieces).equals(bytes)).toBe(true)
          expect((await reader.read(oid)).equals(bytes)).toBe(true)
        }
      })

      test('bytes win over a recipe', async () => {
        const store = await open()
        const oid = oidOfBytes('whole')
        const writer = store.writer()
        await writer.addChunk(oidOfBytes('who'), Buffer.from('who'))
        await writer.addChunk(oidOfBytes('le'), Buffer.from('le'))
        await writer.addRecipe(oid, [
          { oid: oidOfBytes('who'), length: 3 },
          { oid: oidOfBytes('le'), length: 2 },
        ])
        await writer.finish()
        expect(store.locate(oid)!.type).toBe('recipe')
        await addAll(store, ['whole'])
        expect(store.locate(oid)!.type).toBe('bytes')
        expect((await open()).locate(oid)!.type).toBe('bytes')
      })

      test('a chunk is no object: whether chunk indexes were read changes no answer', async () => {
        const writer = (await open()).writer()
        await writer.addChunk(oidOfBytes('piece'), Buffer.from('piece'))
        await writer.finish()
        const store = await open()
        expect([store.has(oidOfBytes('piece')), store.hasChunk(oidOfBytes('piece'))]).toEqual([false, false])
        await store.loadChunkIndexes()
        expect([store.has(oidOfBytes('piece')), store.hasChunk(oidOfBytes('piece'))]).toEqual([false, true])
        expect(store.locate(oidOfBytes('piece'))).toBeUndefined()
      })

      test('property: what was added is there, and nothing else', async () => {
        const store = await open()
        const added = new Set<string>()
        await fc.assert(
          fc.asyncProperty(fc.array(fc.string(), { maxLength: 20 }), fc.string(), async (contents, other) => {
            await addAll(store, contents)
            for (const content of contents) added.add(content)
            const given = new Map<Oid, string>()
            await store.readEach(contents.map(oidOfBytes), (oid, bytes) => void given.set(oid, bytes.toString()))
            expect(given).toEqual(new Map(contents.map((content) => [oidOfBytes(content), content])))
            expect(store.has(oidOfBytes(other))).toBe(added.has(other))
          }),
          { numRuns: 15 },
        )
      })

      test('an aborted signal ends reading and writing with its reason', async () => {
        const store = await open()
        const [oid] = await addAll(store, ['content'])
        const signal = AbortSignal.abort(new Error('enough'))
        await expect(store.read(oid!, { signal })).rejects.toThrow('enough')
        const writer = store.writer({ signal })
        await writer.add(oidOfBytes('new'), Buffer.from('new'))
        await expect(writer.finish()).rejects.toThrow('enough')
        expect((await open()).has(oidOfBytes('new'))).toBe(false)
      })
    })

    describe('what is missing', () => {
      test('an absent object is named, with the command that may bring it', async () => {
        const store = await open()
        const oid = oidOfBytes('absent')
        const expected = {
          code: 'OBJECT_MISSING',
          message: expect.stringContaining(oid),
          hint: expect.stringContaining('mlv pull'),
        }
        await expect(store.read(oid)).rejects.toMatchObject(expected)
        await expect(store.stream(oid).next()).rejects.toMatchObject(expected)
        expect([store.has(oid), store.locate(oid)]).toEqual([false, undefined])
      })

      test('an absent object does not keep the others back', async () => {
        const store = await open()
        const oids = await addAll(store, ['a', 'b'])
        const given: Oid[] = []
        const reading = store.readEach([oidOfBytes('absent'), ...oids], (oid) => void given.push(oid))
        await expect(reading).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
        expect(given.sort()).toEqual(oids.sort())
      })

      test('a place that is empty reads as an empty store and stays empty', async () => {
        const store = await open('read')
        expect(store.has(oidOfBytes('x'))).toBe(false)
        expect(await keysOf(blobs, '')).toEqual([])
      })

      test('a pack that was packed anew is found by listing again', async () => {
        await addAll(await open(), ['old neighbour', 'wanted'])
        const reader = await open('read')
        const [pack] = await keysOf(blobs, 'packs/')
        const [index] = await keysOf(blobs, 'index/')
        await addAll(await open(), ['wanted'])
        await blobs.delete(index!)
        await blobs.delete(pack!)
        expect((await reader.read(oidOfBytes('wanted'))).toString()).toBe('wanted')
        await expect(reader.read(oidOfBytes('old neighbour'))).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
      })

      test('a pack that is gone though its index names it makes its objects missing, until they are written again', async () => {
        const writing = await open()
        const oids = await addAll(writing, ['a', 'b'])
        const [other] = await addAll(writing, ['elsewhere'])
        await blobs.delete(KEYS.pack(writing.locate(oids[0]!)!.pack))
        const store = await open()
        const given: Oid[] = []
        const reading = store.readEach([...oids, other!], (oid) => void given.push(oid))
        await expect(reading).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
        expect(given).toEqual([other])
        expect(oids.map(store.has)).toEqual([false, false])
        await addAll(store, ['a', 'b'])
        for (const reader of [store, await open('read')]) {
          expect(oids.map(reader.has)).toEqual([true, true])
          expect((await reader.read(oids[0]!)).toString()).toBe('a')
        }
      })
    })

    describe('what is broken', () => {
      async function packOf(contents: readonly (string | Buffer)[]) {
        const store = await open()
        const oids = await addAll(store, contents)
        return { oids, pack: KEYS.pack(store.locate(oids[0]!)!.pack), places: oids.map((oid) => store.locate(oid)!) }
      }

      test('a flipped byte is found, set aside, and mended by writing the object again', async () => {
        const { oids, pack, places } = await packOf(['first', 'second', 'third'])
        await alter(blobs, pack, flipped(places[1]!.offset))
        const store = await open()
        await expect(store.read(oids[1]!)).rejects.toMatchObject({
          code: 'OBJECT_CORRUPT',
          message: expect.stringContaining(oids[1]!),
        })
        await store.setAside(oids[1]!)
        expect(oids.map(store.has)).toEqual([true, false, true])
        expect(oids.map((await open()).has)).toEqual([true, false, true])
        expect((await store.read(oids[2]!)).toString()).toBe('third')
        await addAll(store, ['second'])
        for (const reader of [store, await open()]) {
          expect(reader.has(oids[1]!)).toBe(true)
          expect((await reader.read(oids[1]!)).toString()).toBe('second')
        }
      })

      test('a broken pack that is written again under its own name is whole again', async () => {
        const { oids, pack, places } = await packOf(['alone'])
        await alter(blobs, pack, flipped(places[0]!.offset))
        const store = await open()
        await store.setAside(oids[0]!)
        expect(store.has(oids[0]!)).toBe(false)
        expect(await keysOf(blobs, 'corrupt/')).toEqual([KEYS.corrupt(places[0]!.pack)])
        await addAll(store, ['alone'])
        expect(await keysOf(blobs, 'packs/')).toEqual([pack])
        expect(await keysOf(blobs, 'corrupt/')).toEqual([])
        for (const reader of [store, await open('read')]) expect((await reader.read(oids[0]!)).toString()).toBe('alone')
      })

      test('setting aside a sound object changes nothing', async () => {
        const { oids } = await packOf(['sound'])
        const before = await keysOf(blobs, '')
        const store = await open()
        await store.setAside(oids[0]!)
        await store.setAside(oidOfBytes('absent'))
        expect(store.has(oids[0]!)).toBe(true)
        expect(await keysOf(blobs, '')).toEqual(before)
      })

      test('a broken copy does not matter where there is another', async () => {
        const { oids, pack, places } = await packOf(['twice', 'x'])
        await addAll(await open(), ['y', 'twice'])
        await alter(blobs, pack, flipped(places[0]!.offset))
        const store = await open('read')
        expect((await store.read(oids[0]!)).toString()).toBe('twice')
      })

      test.each([0, 20, 6_000])(
        'a pack cut off after %i bytes gives what is whole, and the rest is set aside at once',
        async (length) => {
          const { oids, pack } = await packOf(['first', 'second', noise('third', 5000), noise('fourth', 5000)])
          await alter(blobs, pack, (bytes) => bytes.subarray(0, length))
          const store = await open()
          const given: Oid[] = []
          await expect(store.readEach(oids, (oid) => void given.push(oid))).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
          const whole = { 0: 0, 20: 2, 6000: 3 }[length]!
          expect(new Set(given)).toEqual(new Set(oids.slice(0, whole)))
          if (whole < 4) await store.setAside(oids.at(-1)!)
          expect(oids.filter((await open()).has)).toEqual(oids.slice(0, whole))
        },
      )

      test.each([
        ['makes no sense', 3],
        ['names a chunk that is nowhere', 80],
      ])('a recipe that was altered and %s is told as corrupt, and its object is missing from then on', async (_, at) => {
        const store = await open()
        const writer = store.writer()
        for (const part of ['who', 'le']) await writer.addChunk(oidOfBytes(part), Buffer.from(part))
        const chunks = ['who', 'le'].map((part) => ({ oid: oidOfBytes(part), length: part.length }))
        await writer.addRecipe(oidOfBytes('whole'), chunks)
        await writer.finish()
        const { pack, offset } = store.locate(oidOfBytes('whole'))!
        await alter(store.blobs, KEYS.pack(pack), flipped(offset + at))
        const pieces = async () => {
          for await (const _piece of store.stream(oidOfBytes('whole')));
        }
        await expect(pieces()).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
        const later = await open()
        expect(later.has(oidOfBytes('whole'))).toBe(false)
        const again = later.writer()
        await again.addRecipe(oidOfBytes('whole'), chunks)
        await again.finish()
        expect((await (await open()).read(oidOfBytes('whole'))).toString()).toBe('whole')
      })

      test('a recipe that lies is refused', async () => {
        const store = await open()
        const writer = store.writer()
        await writer.addChunk(oidOfBytes('abc'), Buffer.from('abc'))
        await writer.addRecipe(oidOfBytes('other'), [{ oid: oidOfBytes('abc'), length: 3 }])
        await writer.addRecipe(oidOfBytes('length'), [{ oid: oidOfBytes('abc'), length: 6 }])
        await writer.addRecipe(oidOfBytes('missing'), [{ oid: oidOfBytes('gone'), length: 7 }])
        await writer.finish()
        const read = (content: string) => store.read(oidOfBytes(content))
        await expect(read('other')).rejects.toMatchObject({
          code: 'OBJECT_CORRUPT',
          message: expect.stringContaining(oidOfBytes('other')),
        })
        await expect(read('length')).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
        await expect(read('missing')).rejects.toMatchObject({
          code: 'OBJECT_MISSING',
          message: expect.stringContaining(oidOfBytes('gone')),
        })
      })

      test('a recipe of recipes is refused', async () => {
        const store = await open()
        const writer = store.writer()
        await writer.addChunk(oidOfBytes('abc'), Buffer.from('abc'))
        await writer.addChunk(oidOfBytes('def'), Buffer.from('def'))
        const inner = [
          { oid: oidOfBytes('abc'), length: 3 },
          { oid: oidOfBytes('def'), length: 3 },
        ]
        await writer.addRecipe(oidOfBytes('abcdef'), inner)
        await writer.addRecipe(oidOfBytes('abcdefabc'), [{ oid: oidOfBytes('abcdef'), length: 6 }, inner[0]!])
        await writer.finish()
        expect((await store.read(oidOfBytes('abcdef'))).toString()).toBe('abcdef')
        await expect(store.read(oidOfBytes('abcdefabc'))).rejects.toMatchObject({ code: 'OBJECT_MISSING' })
      })

      test('something large that is taken for small is refused before it fills the memory', async () => {
        const store = await open()
        const chunk = noise('large', 4 * MIB)
        const writer = store.writer()
        await writer.addChunk(oidOfBytes(chunk), chunk)
        const oid = oidOfBytes('claims to be large')
        await writer.addRecipe(
          oid,
          Array.from({ length: 9 }, () => ({ oid: oidOfBytes(chunk), length: chunk.length })),
        )
        await writer.finish()
        await expect(store.read(oid)).rejects.toMatchObject({ code: 'TREE_INVALID', message: expect.stringContaining(oid) })
      })

      test('a broken index is refused by readers of a remote, and made again from the packs by whoever may write', async () => {
        const { oids } = await packOf(['a', 'b'])
        await addAll(await open(), ['c'])
        const [index] = (await keysOf(blobs, 'index/')).filter((key) => key.length === 6 + 64)
        await alter(blobs, index!, flipped(40))
        if (role === 'remote')
          await expect(open('read')).rejects.toMatchObject({ code: 'INDEX_CORRUPT', hint: expect.stringContaining('mlv fsck') })
        for (const store of [await open('write'), await open('read')]) {
          for (const oid of [...oids, oidOfBytes('c')]) expect(oidOfBytes(await store.read(oid))).toBe(oid)
        }
      })

      test('a broken index of chunks is made again, too', async () => {
        const bytes = Buffer.concat([noise('left', MIB), noise('right', MIB)])
        const parts = [bytes.subarray(0, MIB), bytes.subarray(MIB)]
        const writer = (await open()).writer()
        for (const part of parts) await writer.addChunk(oidOfBytes(part), part)
        await writer.addRecipe(
          oidOfBytes(bytes),
          parts.map((part) => ({ oid: oidOfBytes(part), length: MIB })),
        )
        await writer.finish()
        const chunkIndex = (await keysOf(blobs, 'index/')).find((key) => key.endsWith('-chunks'))!
        await alter(blobs, chunkIndex, (old) => old.subarray(1))
        expect((await (await open()).read(oidOfBytes(bytes))).equals(bytes)).toBe(true)
        expect((await (await open('read')).read(oidOfBytes(bytes))).equals(bytes)).toBe(true)
      })
    })

    describe('mlv.json', () => {
      test('is written by the first writer and agreed upon by those at work together', async () => {
        const stores = await Promise.all([open(), open(), open()])
        expect(new Set(stores.map((store) => store.description.id)).size).toBe(1)
        expect(JSON.parse(Buffer.from(await blobs.get('mlv.json')).toString())).toMatchObject({
          format: 1,
          read_requires: [],
          write_requires: [],
          chunking: { algorithm: 'fastcdc-gear32', min: 524288, normal: 1048576, max: 4194304 },
        })
      })

      test.each<[string, Record<string, unknown>, string, string]>([
        ['a newer format', { format: 2 }, 'STORE_TOO_NEW', 'STORE_TOO_NEW'],
        ['an unknown feature for readers', { read_requires: ['zstd'] }, 'STORE_TOO_NEW', 'STORE_TOO_NEW'],
        ['an unknown feature for writers', { write_requires: ['leases'] }, 'opens', 'STORE_TOO_NEW'],
        ['a feature that is no text', { read_requires: [1] }, 'STORE_INVALID', 'STORE_INVALID'],
        ['no list of features', { write_requires: undefined }, 'STORE_INVALID', 'STORE_INVALID'],
        ['an id that leads elsewhere', { id: '../../x' }, 'STORE_INVALID', 'STORE_INVALID'],
        ['a format that is no number', { format: '1' }, 'STORE_INVALID', 'STORE_INVALID'],
        ['a format that is no whole number', { format: 0.5 }, 'STORE_INVALID', 'STORE_INVALID'],
        ['keys of later programs', { later: { a: 1 } }, 'opens', 'opens'],
      ])('%s', async (_, change, reading, writing) => {
        await setDescription(blobs, change)
        for (const [purpose, expected] of [
          ['read', reading],
          ['write', writing],
        ] as const) {
          const opened = open(purpose)
          if (expected === 'opens') await opened
          else await expect(opened).rejects.toMatchObject({ code: expected, message: expect.stringContaining(blobs.url) })
        }
      })

      test('says which features are not known', async () => {
        await setDescription(blobs, { read_requires: ['zstd', 'leases'] })
        await expect(open('read')).rejects.toMatchObject({
          message: expect.stringContaining('zstd, leases'),
          hint: expect.stringContaining('Update mlv'),
        })
      })

      test.each(['', 'hello', '{', 'null', '[]', '"text"', '{"name":"a-package","version":"1.0.0"}', '\u0000'])(
        'the text %j is not a store, and is left alone',
        async (text) => {
          await blobs.put('mlv.json', Buffer.from(text))
          for (const purpose of ['read', 'write'] as const)
            await expect(open(purpose)).rejects.toMatchObject({ code: 'STORE_INVALID' })
          expect(Buffer.from(await blobs.get('mlv.json')).toString()).toBe(text)
        },
      )

      test.each(['packs', 'index'])('lost, while %s/ is there: refused, also beside foreign files', async (folder) => {
        await blobs.put('README', Buffer.from('foreign'))
        await blobs.put(`${folder}/ab/${'ab'.repeat(32)}`, Buffer.from('x'))
        for (const purpose of ['read', 'write'] as const)
          await expect(open(purpose)).rejects.toMatchObject({
            code: 'STORE_INVALID',
            hint: expect.stringContaining('Restore mlv.json'),
          })
        expect(await blobs.head('mlv.json')).toBeUndefined()
      })

      test('keeps keys of later programs when a record is announced', async () => {
        await setDescription(blobs, { later: { a: 1 } })
        const store = await open()
        const [oid] = await addAll(store, ['x'])
        await alter(blobs, KEYS.pack(store.locate(oid!)!.pack), flipped(0))
        await store.setAside(oid!)
        expect(JSON.parse(Buffer.from(await blobs.get('mlv.json')).toString())).toMatchObject({
          later: { a: 1 },
          records: ['corrupt'],
        })
      })
    })

    describe('records of collectors', () => {
      const record = (value: unknown) => Buffer.from(JSON.stringify(value))
      const condemn = async (pack: Oid) => {
        const bytes = record({ packs: [pack] })
        const key = KEYS.condemned + oidOfBytes(bytes)
        await blobs.put(key, bytes)
        return key
      }

      test('condemned packs: presence ignores them, reads do not, and what is written again is present', async () => {
        const store = await open()
        const oids = await addAll(store, ['a', 'b'])
        const { pack } = store.locate(oids[0]!)!
        await condemn(pack)
        expect((await open()).has(oids[0]!)).toBe(true)
        await setDescription(blobs, { records: ['condemned'] })
        const later = await open()
        expect(oids.map(later.has)).toEqual([false, false])
        expect((await later.read(oids[1]!)).toString()).toBe('b')
        await addAll(later, ['a'])
        expect(oids.map(later.has)).toEqual([true, false])
        expect(oids.map((await open()).has)).toEqual([true, false])
        expect(later.locate(oids[0]!)!.pack).not.toBe(pack)
      })

      test('a withdrawn condemnation is forgotten by the next listing', async () => {
        const store = await open()
        const [oid] = await addAll(store, ['a'])
        const key = await condemn(store.locate(oid!)!.pack)
        await setDescription(blobs, { records: ['condemned'] })
        const later = await open()
        expect(later.has(oid!)).toBe(false)
        await blobs.delete(key)
        await later.refresh()
        expect(later.has(oid!)).toBe(true)
      })

      test('a record that was altered on its way is read again; one that lies there altered is named', async () => {
        const store = await open()
        const [oid] = await addAll(store, ['a'])
        const key = await condemn(store.locate(oid!)!.pack)
        await setDescription(blobs, { records: ['condemned'] })
        const client = await connect()
        clients.push(client)
        // Still JSON, of another pack.
        const at = Buffer.from(await blobs.get(key)).indexOf(store.locate(oid!)!.pack)
        const otherDigit = (bytes: Uint8Array) =>
          Buffer.concat([bytes.subarray(0, at), Buffer.from(bytes[at] === 0x30 ? '1' : '0'), bytes.subarray(at + 1)])
        let faults = 1
        const lying: Blobs = {
          ...client,
          get: async (asked, range) => {
            const bytes = await client.get(asked, range)
            return asked === key && faults-- > 0 ? otherDigit(bytes) : bytes
          },
        }
        expect((await openStore(lying, { role, purpose: 'write' })).has(oid!)).toBe(false)
        expect(faults).toBeLessThan(1)
        await alter(blobs, key, otherDigit)
        await expect(open()).rejects.toMatchObject({ code: 'STORE_INVALID', message: expect.stringContaining(key) })
      })

      test('a purged object is gone for good, wherever it lies', async () => {
        const store = await open()
        const oids = await addAll(store, ['secret', 'other'])
        await blobs.put(`purged/${oids[0]}`, record({}))
        await setDescription(blobs, { records: ['purged'] })
        const later = await open()
        const expected = { code: 'OBJECT_PURGED', message: expect.stringContaining(oids[0]!) }
        expect(oids.map(later.has)).toEqual([false, true])
        await expect(later.read(oids[0]!)).rejects.toMatchObject(expected)
        await expect(later.stream(oids[0]!).next()).rejects.toMatchObject(expected)
        expect((await later.read(oids[1]!)).toString()).toBe('other')
      })

      test('foreign files among the records are passed over, a broken record is named', async () => {
        await setDescription(blobs, { records: ['condemned', 'purged', 'corrupt', 'of later programs'] })
        for (const folder of ['condemned', 'purged', 'corrupt']) await blobs.put(`${folder}/README`, Buffer.from('foreign'))
        await open()
        const key = `condemned/${oidOfBytes('record')}`
        await blobs.put(key, Buffer.from('not JSON'))
        await expect(open()).rejects.toMatchObject({ code: 'STORE_INVALID', message: expect.stringContaining(key) })
      })
    })

    describe('indexes', () => {
      test('foreign files under index/ are ignored', async () => {
        const [oid] = await addAll(await open(), ['a'])
        for (const foreign of ['README', `${oid}.tmp`, `${oid}-chunks.bak`, oid!.toUpperCase(), `sub/${oid}`])
          await blobs.put(`index/${foreign}`, Buffer.from('foreign'))
        const store = await open()
        await store.loadChunkIndexes()
        expect(store.has(oid!)).toBe(true)
      })

      test('one that a larger one repeats is not needed; one that is only said to be repeated is', async () => {
        const store = await open()
        await addAll(store, ['a'])
        await addAll(store, ['b'])
        const old = await Promise.all(
          (await keysOf(blobs, 'index/')).map(async (key) => openIndex(Buffer.from(await blobs.get(key)))),
        )
        const packs = await Promise.all(
          ['a', 'b'].map(async (content) => {
            const { pack } = store.locate(oidOfBytes(content))!
            const bytes = Buffer.from(await blobs.get(KEYS.pack(pack)))
            return { oid: pack, table: bytes.subarray(-16 - 48, -16), count: 1 }
          }),
        )
        const put = async (bytes: Buffer) => {
          await blobs.put(KEYS.index(oidOfBytes(bytes)), bytes)
          return KEYS.index(oidOfBytes(bytes))
        }
        const lie = await put(
          formatIndex(
            [packs[0]!],
            old.map(({ oid }) => oid),
          ),
        )
        for (const content of ['a', 'b']) expect((await open()).has(oidOfBytes(content))).toBe(true)
        await blobs.delete(lie)
        await put(
          formatIndex(
            packs,
            old.map(({ oid }) => oid),
          ),
        )
        const merged = await open()
        for (const { oid } of old) await blobs.delete(KEYS.index(oid))
        await merged.refresh()
        for (const reader of [merged, await open()])
          for (const content of ['a', 'b']) expect((await reader.read(oidOfBytes(content))).toString()).toBe(content)
      })

      test('one that vanishes between listing and reading is passed over', async () => {
        await addAll(await open(), ['a'])
        const client = await connect()
        clients.push(client)
        const [key] = await keysOf(blobs, 'index/')
        // A real client; only the moment of the deletion is chosen.
        const racing: Blobs = {
          ...client,
          url: client.url,
          get: async (name, options) => {
            if (name === key) await blobs.delete(key)
            return client.get(name, options)
          },
        }
        const store = await openStore(racing, { role, purpose: 'read' })
        expect(store.has(oidOfBytes('a'))).toBe(false)
      })
    })
  })
}
