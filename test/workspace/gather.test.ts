import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadFingerprint } from '../../src/base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { KEYS } from '../../src/store/layout.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { gatherObjects } from '../../src/workspace/gather.ts'
import { addAll, alter, flipped } from '../contract/store.ts'
import { type Folder, writeFolder } from '../store/page-store.ts'

beforeAll(loadFingerprint)
const folder = mkdtempSync(join(tmpdir(), 'mlv-gather-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let stores = 0
const openNew = () => openStore(createDirBlobs({ root: join(folder, String(++stores)) }), { role: 'cache', purpose: 'write' })

async function treeIn(store: ObjectStore, content: Folder) {
  const pages = new Map<Oid, Buffer>()
  const root = writeFolder(content, (oid, bytes) => void pages.set(oid, Buffer.from(bytes)))
  await addAll(store, [...pages.values()])
  return { entry: { kind: 'tree' as const, ...root }, pages }
}

const world: Folder = { a: 'A', sub: { b: 'B', deep: { c: 'C' } }, subway: { d: 'D' }, z: 'link:a' }
const texts = (objects: ReadonlyMap<Oid, unknown>) =>
  ['A', 'B', 'C', 'D', 'a'].filter((content) => objects.has(oidOfBytes(content)))

describe('gatherObjects', () => {
  test('finds every page and file of a tree, and single files, each once', async () => {
    const store = await openNew()
    const { entry, pages } = await treeIn(store, world)
    const single = { kind: 'file' as const, oid: oidOfBytes('single'), size: 6 }
    const { objects, unreadable } = await gatherObjects(
      [entry, entry, single].map((item) => ({ entry: item, part: '' })),
      [store],
    )
    expect(unreadable).toEqual([])
    expect(objects.size).toBe(pages.size + 5 + 1)
    for (const oid of pages.keys()) expect(objects.get(oid)).toEqual({ oid, size: undefined })
    expect(objects.get(oidOfBytes('B'))).toEqual({ oid: oidOfBytes('B'), size: 1 })
  })

  test.each([
    ['sub', ['B', 'C']],
    ['sub/deep', ['C']],
    ['sub/deep/c', ['C']],
    ['a', ['A']],
    ['nothing', []],
  ])('of the part "%s" only what lies there', async (part, expected) => {
    const store = await openNew()
    const { entry } = await treeIn(store, world)
    expect(texts((await gatherObjects([{ entry, part }], [store])).objects)).toEqual(expected)
  })

  test('two parts of one tree are both found', async () => {
    const store = await openNew()
    const { entry } = await treeIn(store, world)
    const { objects } = await gatherObjects(
      [
        { entry, part: 'sub/deep' },
        { entry, part: 'subway' },
      ],
      [store],
    )
    expect(texts(objects)).toEqual(['C', 'D'])
  })

  test('what one store lacks, the next one gives', async () => {
    const [first, second] = [await openNew(), await openNew()]
    const { entry, pages } = await treeIn(second, world)
    await addAll(first, [pages.get(entry.oid)!])
    const { objects, unreadable } = await gatherObjects([{ entry, part: '' }], [first, second])
    expect([texts(objects).length, unreadable]).toEqual([5, []])
  })

  test('a page that no store can give is named, and hides nothing else', async () => {
    const store = await openNew()
    const { entry, pages } = await treeIn(store, world)
    const sub = [...pages].find(([, bytes]) => bytes.includes('\tb\n'))![0]
    const place = store.locate(sub)!
    await alter(store.blobs, KEYS.pack(place.pack), flipped(place.offset + 20))
    const { objects, unreadable } = await gatherObjects([{ entry, part: '' }], [store])
    expect(unreadable).toEqual([{ oid: sub, folder: 'sub' }])
    expect([texts(objects), objects.has(sub)]).toEqual([['A', 'D', 'a'], false])
  })

  test('a file that holds the text of a page does not hide the tree', async () => {
    const store = await openNew()
    const { pages } = await treeIn(store, { inside: 'A' })
    const text = [...pages.values()][0]!.toString()
    const { entry } = await treeIn(store, { 'a file like it': text, sub: { inside: 'A' } })
    expect(texts((await gatherObjects([{ entry, part: '' }], [store])).objects)).toEqual(['A'])
  })
})
