import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { oidOfBytes } from '../../src/base/oid.ts'
import type { Blobs } from '../../src/store/blobs.ts'

const text = (value: string) => Buffer.from(value)

export async function keysOf(blobs: Blobs, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const blob of blobs.list(prefix)) keys.push(blob.key)
  return keys
}

/** What every place must do that can be read. `open` gives a place that holds `content`. */
export function readingContract(name: string, open: (content: Record<string, Uint8Array>) => Promise<Blobs>): void {
  describe(`${name}, reading`, () => {
    const large = randomBytes(5 << 20)
    let blobs: Blobs
    beforeAll(async () => {
      blobs = await open({
        'mlv.json': text('{}'),
        empty: new Uint8Array(0),
        digits: text('0123456789'),
        'index/b': text('b'),
        'index/a': text('a'),
        'index.old': text('x'),
        'index-new': text('x'),
        'packs/ab/1': large,
        'packs/abc/2': text('2'),
        'packs/ab/3': text('3'),
      })
    })

    test.each([
      [{}, '0123456789'],
      [{ start: 3 }, '3456789'],
      [{ end: 4 }, '0123'],
      [{ start: 2, end: 5 }, '234'],
      [{ start: 9, end: 10 }, '9'],
      [{ start: 7, end: 99 }, '789'],
      [{ start: 10 }, ''],
      [{ start: 99 }, ''],
      [{ start: 99, end: 120 }, ''],
      [{ start: 4, end: 4 }, ''],
      [{ start: 0, end: 0 }, ''],
    ])('the range %j of ten digits is "%s"', async (range, expected) => {
      expect(Buffer.from(await blobs.get('digits', range)).toString()).toBe(expected)
    })

    test('an empty blob is zero bytes, whole and in part', async () => {
      expect((await blobs.get('empty')).length).toBe(0)
      expect((await blobs.get('empty', { start: 0, end: 10 })).length).toBe(0)
    })

    test('5 MiB come back whole, and in parts across the middle', async () => {
      expect(large.equals(await blobs.get('packs/ab/1'))).toBe(true)
      const [start, end] = [1_234_567, 4_765_432]
      expect(large.subarray(start, end).equals(await blobs.get('packs/ab/1', { start, end }))).toBe(true)
    })

    test('many reads at once do not mix up', async () => {
      const starts = Array.from({ length: 100 }, (_, i) => i * 40_000)
      const parts = await Promise.all(starts.map((start) => blobs.get('packs/ab/1', { start, end: start + 1000 })))
      for (const [i, part] of parts.entries()) expect(large.subarray(starts[i]!, starts[i]! + 1000).equals(part)).toBe(true)
    })

    test('a key that is not there is BLOB_MISSING, whatever the range, and has no head', async () => {
      await expect(blobs.get('nothing')).rejects.toMatchObject({
        code: 'BLOB_MISSING',
        message: expect.stringContaining('nothing'),
      })
      await expect(blobs.get('no/such/folder', { start: 1 })).rejects.toMatchObject({ code: 'BLOB_MISSING' })
      await expect(blobs.get('nothing', { start: 1, end: 1 })).rejects.toMatchObject({ code: 'BLOB_MISSING' })
      expect(await blobs.head('nothing')).toBeUndefined()
      expect(await blobs.head('index')).toBeUndefined()
    })

    test('head tells key, size and a time of this decade', async () => {
      const found = await blobs.head('packs/ab/1')
      expect(found).toMatchObject({ key: 'packs/ab/1', size: large.length })
      expect(found!.modified).toBeGreaterThan(Date.UTC(2020))
    })

    test('list takes any beginning of a key, not only folders, in the order of keys', async () => {
      expect(await keysOf(blobs, '')).toEqual([
        'digits',
        'empty',
        'index-new',
        'index.old',
        'index/a',
        'index/b',
        'mlv.json',
        'packs/ab/1',
        'packs/ab/3',
        'packs/abc/2',
      ])
      expect(await keysOf(blobs, 'index/')).toEqual(['index/a', 'index/b'])
      expect(await keysOf(blobs, 'index')).toEqual(['index-new', 'index.old', 'index/a', 'index/b'])
      expect(await keysOf(blobs, 'packs/ab')).toEqual(['packs/ab/1', 'packs/ab/3', 'packs/abc/2'])
      expect(await keysOf(blobs, 'packs/ab/3')).toEqual(['packs/ab/3'])
      expect(await keysOf(blobs, 'none/')).toEqual([])
      expect(await keysOf(blobs, 'digits/')).toEqual([])
    })

    test('list tells sizes', async () => {
      for await (const blob of blobs.list('packs/ab/1')) expect(blob).toMatchObject({ key: 'packs/ab/1', size: large.length })
    })

    test('an aborted signal ends every call with its reason', async () => {
      const signal = AbortSignal.abort(new Error('enough'))
      await expect(blobs.get('digits', { signal })).rejects.toThrow('enough')
      await expect(blobs.head('digits', signal)).rejects.toThrow('enough')
      await expect(blobs.list('', signal)[Symbol.asyncIterator]().next()).rejects.toThrow('enough')
    })

    test('a signal that comes while bytes flow ends them with its reason, and the place goes on working', async () => {
      const abort = new AbortController()
      const reads = Array.from({ length: 20 }, () => blobs.get('packs/ab/1', { signal: abort.signal }))
      setTimeout(() => abort.abort(new Error('enough')), 3)
      for (const outcome of await Promise.allSettled(reads))
        if (outcome.status === 'rejected') expect(outcome.reason.message).toBe('enough')
      expect((await blobs.get('digits')).length).toBe(10)
    })
  })
}

/** What every place must do that can be written to. `open` gives an empty place. */
export function blobsContract(name: string, open: () => Promise<Blobs>): void {
  readingContract(name, async (content) => {
    const blobs = await open()
    for (const [key, bytes] of Object.entries(content)) await blobs.put(key, bytes)
    return blobs
  })

  describe(`${name}, writing`, () => {
    let blobs: Blobs
    beforeAll(async () => {
      blobs = await open()
    })

    test('what put has written is there for get, head and list', async () => {
      expect(await blobs.put('a/b/c', text('one'))).toBe('written')
      expect(Buffer.from(await blobs.get('a/b/c')).toString()).toBe('one')
      expect(await blobs.head('a/b/c')).toMatchObject({ size: 3 })
      expect(await keysOf(blobs, 'a/')).toEqual(['a/b/c'])
    })

    test('put replaces what was there, longer or shorter', async () => {
      for (const value of ['one', 'a longer one', 'x', '']) {
        expect(await blobs.put('replaced', text(value))).toBe('written')
        expect(Buffer.from(await blobs.get('replaced')).toString()).toBe(value)
      }
    })

    test('with ifAbsent the first stays', async () => {
      expect(await blobs.put('first/key', text('one'), { ifAbsent: true })).toBe('written')
      expect(await blobs.put('first/key', text('two'), { ifAbsent: true })).toBe('present')
      expect(Buffer.from(await blobs.get('first/key')).toString()).toBe('one')
    })

    test('of many writers of one absent key at once at least one writes, and the blob is one of theirs', async () => {
      const values = Array.from({ length: 8 }, (_, i) => `writer ${i}`.padEnd(100_000))
      const outcomes = await Promise.all(values.map((value) => blobs.put('race', text(value), { ifAbsent: true })))
      expect(outcomes.filter((outcome) => outcome === 'written').length).toBeGreaterThan(0)
      expect(values).toContain(Buffer.from(await blobs.get('race')).toString())
    })

    test('a reader beside a writer sees the old bytes or the new, never a part', async () => {
      const values = [Buffer.alloc(3_000_000, 'a'), Buffer.alloc(2_000_000, 'b')]
      await blobs.put('torn', values[0]!)
      let isWriting = true
      const writer = (async () => {
        for (let i = 0; i < 6; i++) await blobs.put('torn', values[(i + 1) % 2]!)
        isWriting = false
      })()
      while (isWriting) {
        const seen = Buffer.from(await blobs.get('torn'))
        expect(values.some((value) => value.equals(seen))).toBe(true)
        await sleep(1)
      }
      await writer
    })

    test('32 MiB go in one piece and come back', async () => {
      const bytes = randomBytes(32 << 20)
      expect(await blobs.put('large', bytes, { oid: oidOfBytes(bytes), ifAbsent: true })).toBe('written')
      expect(oidOfBytes(await blobs.get('large'))).toBe(oidOfBytes(bytes))
    })

    test('bytes that are not what the oid says are refused and never seen', async () => {
      const oid = oidOfBytes('something else')
      await expect(blobs.put('wrong', text('bytes'), { oid })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
      await expect(blobs.put('wrong', text('bytes'), { oid, ifAbsent: true })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
      expect(await blobs.head('wrong')).toBeUndefined()
      expect(await keysOf(blobs, 'wrong')).toEqual([])
    })

    test('delete removes one, and finds nothing wrong with an absent one', async () => {
      await blobs.put('gone/1', text('1'))
      await blobs.put('gone/2', text('2'))
      await blobs.delete('gone/1')
      await blobs.delete('gone/1')
      await blobs.delete('never/was')
      expect(await keysOf(blobs, 'gone/')).toEqual(['gone/2'])
      await expect(blobs.get('gone/1')).rejects.toMatchObject({ code: 'BLOB_MISSING' })
      expect(await blobs.put('gone/1', text('again'), { ifAbsent: true })).toBe('written')
    })

    test('1,100 keys are all listed, in order, once', async () => {
      const keys = Array.from({ length: 1100 }, (_, i) => `many/${oidOfBytes(String(i)).slice(0, 20)}`).sort()
      for (let i = 0; i < keys.length; i += 50) await Promise.all(keys.slice(i, i + 50).map((key) => blobs.put(key, text(key))))
      expect(await keysOf(blobs, 'many/')).toEqual(keys)
    })

    test('an aborted put leaves nothing', async () => {
      const abort = new AbortController()
      const put = blobs.put('aborted', randomBytes(8 << 20), { signal: abort.signal })
      abort.abort(new Error('enough'))
      await expect(put).rejects.toThrow('enough')
      expect(await blobs.head('aborted')).toBeUndefined()
    })
  })
}
