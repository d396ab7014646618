import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadFingerprint } from '../../src/base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { TreeEntry } from '../../src/store/tree.ts'
import { diffTrees, editPaths, findPath, reachableObjects, walkTree } from '../../src/store/tree-walk.ts'
import { createPages, type Folder, file, flatten, writeFolder } from './page-store.ts'

beforeAll(loadFingerprint)

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

/** Different leaf pages among those read. */
function leavesIn(read: Oid[], pages: Map<Oid, Uint8Array>): number {
  return [...new Set(read)].filter((oid) => Buffer.from(pages.get(oid)!).toString('latin1', 0, 15) === 'mlv-tree 1 leaf').length
}

const many = (count: number): Folder =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${i}`.padStart(5, '0'), `${i}`]))
const world: Folder = { a: 'A', b: { c: 'C', d: { e: 'exec:E' }, none: {} }, big: many(1000), z: 'link:a' }

const folders = fc.letrec<{ folder: Folder }>((tie) => ({
  folder: fc.dictionary(
    fc.constantFrom('a', 'b', 'c', 'd', 'ü'),
    fc.oneof({ maxDepth: 3 }, fc.constantFrom('1', '2', 'exec:1', 'link:1'), tie('folder')),
    { maxKeys: 4, noNullPrototype: true },
  ),
})).folder

describe('walkTree', () => {
  test('names each folder before what it holds', async () => {
    const { sink, read } = createPages()
    const root = writeFolder({ a: 'A', b: { c: 'C', d: { e: 'E' }, none: {} }, 'b.c': 'x' }, sink)
    expect((await all(walkTree(root.oid, read))).map(({ path }) => path)).toEqual([
      'a',
      'b',
      'b/c',
      'b/d',
      'b/d/e',
      'b/none',
      'b.c',
    ])
  })
})

describe('findPath', () => {
  test.each([
    ['a', 'file'],
    ['b', 'tree'],
    ['b/d/e', 'exec'],
    ['big/00999', 'file'],
    ['z', 'link'],
    ['b/x', undefined],
    ['a/x', undefined],
    ['z/a', undefined],
    ['b/d/e/f', undefined],
    ['', undefined],
    ['b//c', undefined],
  ])('"%s" is %s', async (path, kind) => {
    const { sink, read } = createPages()
    expect((await findPath(writeFolder(world, sink).oid, path, read))?.kind).toBe(kind)
  })
})

describe('reachableObjects', () => {
  test('names every page and file once', async () => {
    const { pages, sink, read } = createPages()
    const root = writeFolder({ ...world, again: { c: 'C', big: many(1000) } }, sink)
    const found = await all(reachableObjects(root.oid, read, new Set()))
    expect(new Set(found.filter(({ page }) => page).map(({ oid }) => oid))).toEqual(new Set(pages.keys()))
    const contents = ['A', 'C', 'E', 'a', ...Array.from({ length: 1000 }, (_, i) => `${i}`)]
    expect(new Set(found.filter(({ page }) => !page).map(({ oid }) => oid))).toEqual(new Set(contents.map(oidOfBytes)))
    expect(new Set(found.map(({ oid }) => oid)).size).toBe(found.length)
  })

  test('does not read what an earlier walk has seen', async () => {
    const { sink, read, log } = createPages()
    const first = writeFolder(world, sink)
    const second = writeFolder({ ...world, a: 'new' }, sink)
    const seen = new Set<string>()
    await all(reachableObjects(first.oid, read, seen))
    log.read.length = 0
    expect(await all(reachableObjects(second.oid, read, seen))).toEqual([
      { oid: second.oid, size: undefined, page: true },
      { oid: oidOfBytes('new'), size: 3, page: false },
    ])
    expect(log.read).toEqual([second.oid])
  })

  test('a file that holds the text of a page does not hide the tree', async () => {
    const { pages, sink, read } = createPages()
    const sub = writeFolder({ inside: 'I' }, sink)
    const text = Buffer.from(pages.get(sub.oid)!).toString()
    const root = writeFolder({ 'a file like it': text, sub: { inside: 'I' } }, sink)
    const found = await all(reachableObjects(root.oid, read, new Set()))
    expect(found.map(({ oid }) => oid)).toContain(oidOfBytes('I'))
  })
})

/** What differs, found path by path. An empty folder matters where the other side has no folder. */
function compareFlat(before: Folder, after: Folder): Map<string, [string | undefined, string | undefined]> {
  const [olds, news] = [flatten(before), flatten(after)]
  const found = new Map<string, [string | undefined, string | undefined]>()
  const isFolder = (folder: Folder, path: string) => {
    let at: string | Folder | undefined = folder
    for (const name of path.split('/')) at = typeof at === 'object' && Object.hasOwn(at, name) ? at[name] : undefined
    return typeof at === 'object'
  }
  for (const path of new Set([...olds.keys(), ...news.keys()])) {
    let [old, now] = [olds.get(path), news.get(path)]
    if (old === 'nothing' && isFolder(after, path)) old = undefined
    if (now === 'nothing' && isFolder(before, path)) now = undefined
    if (old !== now) found.set(path, [old, now])
  }
  return found
}

const told = (entry: TreeEntry | undefined) => entry && `${entry.kind} ${entry.kind === 'tree' ? '' : entry.oid}`
function toldText(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  if (text === 'nothing') return 'tree '
  const entry = /^(exec|link):(.*)$/.exec(text)
  return entry ? `${entry[1]} ${oidOfBytes(entry[2]!)}` : `file ${oidOfBytes(text)}`
}

describe('diffTrees', () => {
  async function expectDiff(before: Folder, after: Folder): Promise<void> {
    const { sink, read } = createPages()
    const changes = await all(diffTrees(writeFolder(before, sink).oid, writeFolder(after, sink).oid, read))
    const found = new Map<string, [string | undefined, string | undefined]>()
    for (const { path, before: old, after: now } of changes) {
      const [a, b] = found.get(path) ?? [undefined, undefined]
      found.set(path, [a ?? told(old), b ?? told(now)])
    }
    const expected = [...compareFlat(before, after)].map(([path, [a, b]]) => [path, [toldText(a), toldText(b)]] as const)
    expect(found).toEqual(new Map(expected))
  }

  test('property: finds what a comparison of all paths finds', async () => {
    await fc.assert(
      fc.asyncProperty(folders, folders, (before, after) => expectDiff(before, after)),
      { numRuns: 500 },
    )
  })

  test('property: of large folders too', async () => {
    const edit = fc.tuple(fc.nat({ max: 1200 }), fc.constantFrom('x', 'y', undefined))
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 1100 }), fc.array(edit, { maxLength: 10 }), (count, edits) => {
        const after = many(count)
        for (const [i, content] of edits) {
          if (content) after[`${i}`.padStart(5, '0')] = content
          else delete after[`${i}`.padStart(5, '0')]
        }
        return expectDiff(many(count), after)
      }),
      { numRuns: 30 },
    )
  })

  test('one changed file of 5,000 reads one leaf a side', async () => {
    const { pages, sink, read, log } = createPages()
    const before = writeFolder(many(5000), sink)
    const after = writeFolder({ ...many(5000), '00077': 'new' }, sink)
    expect((await all(diffTrees(before.oid, after.oid, read))).map(({ path }) => path)).toEqual(['00077'])
    expect(leavesIn(log.read, pages)).toBe(2)
  })

  test('against nothing, all was added', async () => {
    const { sink, read } = createPages()
    const root = writeFolder(world, sink)
    const paths = (await all(diffTrees(undefined, root.oid, read))).map(({ path }) => path)
    expect(paths.sort()).toEqual([...flatten(world).keys()].sort())
    expect((await all(diffTrees(root.oid, undefined, read))).length).toBe(paths.length)
    expect(await all(diffTrees(root.oid, root.oid, read))).toEqual([])
  })
})

describe('editPaths', () => {
  /** The same edit on the folder itself. Emptied folders stay. */
  function editFolder(folder: Folder, path: string, content: string | undefined): void {
    const names = path.split('/')
    let at = folder
    for (const name of names.slice(0, -1)) {
      const below = Object.hasOwn(at, name) ? at[name] : undefined
      if (typeof below === 'object') at = below
      else if (content === undefined) return
      else {
        const made: Folder = {}
        at[name] = made
        at = made
      }
    }
    if (content === undefined) delete at[names.at(-1)!]
    else at[names.at(-1)!] = content
  }

  const path = fc.array(fc.constantFrom('a', 'b', 'c', 'new'), { minLength: 1, maxLength: 3 }).map((names) => names.join('/'))
  const edits = fc
    .uniqueArray(fc.tuple(path, fc.constantFrom('1', 'new', undefined)), { selector: ([item]) => item, maxLength: 5 })
    .filter((list) => !list.some(([a]) => list.some(([b]) => b.startsWith(`${a}/`))))

  test('property: the tree is that of the edited folder', async () => {
    await fc.assert(
      fc.asyncProperty(folders, edits, async (folder, list) => {
        const { sink, read } = createPages()
        const root = writeFolder(folder, sink)
        const changes = new Map(list.map(([item, content]) => [item, content && file(item.split('/').at(-1)!, content)] as const))
        const edited = await editPaths(root.oid, changes as Map<string, TreeEntry | undefined>, { read, sink })
        const wanted = structuredClone(folder)
        for (const [item, content] of list) editFolder(wanted, item, content)
        expect(edited).toEqual(writeFolder(wanted, sink))
      }),
      { numRuns: 500 },
    )
  })

  test('from nothing, folders are made', async () => {
    const { sink, read } = createPages()
    const changes = new Map<string, TreeEntry | undefined>([
      ['a/b/c', file('c', 'C')],
      ['a/d', file('d', 'D')],
      ['x/gone', undefined],
    ])
    const root = await editPaths(undefined, changes, { read, sink })
    expect(root).toEqual(writeFolder({ a: { b: { c: 'C' }, d: 'D' } }, sink))
  })

  test('reads the leaves on the way alone', async () => {
    const { pages, sink, read, log } = createPages()
    const root = writeFolder({ ...world, other: many(3000) }, sink)
    await editPaths(root.oid, new Map([['big/00005', file('00005', 'new')]]), { read, sink })
    expect(leavesIn(log.read, pages)).toBe(2)
  })
})
