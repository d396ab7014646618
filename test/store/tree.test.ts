import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadFingerprint, xxh64 } from '../../src/base/fingerprint.ts'
import { compareUtf8 } from '../../src/base/paths.ts'
import { editTree, findEntry, readTree, type TreeEntry, writeTree } from '../../src/store/tree.ts'
import { createPages, type Folder, file, writeFolder } from './page-store.ts'

beforeAll(loadFingerprint)

const numbered = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${String(i).padStart(6, '0')}.bin`, `${i}\n`]))

const golden: Record<string, Folder> = {
  empty: {},
  'one file': { 'hello.txt': 'hi\n' },
  kinds: { 'a.sh': 'exec:x', b: 'link:a.sh', empty: {}, sub: { c: '' } },
  'strange names': {
    ...Object.fromEntries(
      ['tab\tx', 'new\nline', 'back\\slash', 'a space', 'ü', '\u{1d11e}', '～', 'A', 'a.b'].map((name) => [name, 'x']),
    ),
    a: { x: 'x' },
  },
  '127 files': numbered(127),
  '500 files': numbered(500),
  '5000 files': numbered(5000),
  '100000 files': numbered(100_000),
  folders: Object.fromEntries(
    Array.from({ length: 300 }, (_, d) => [
      `d${d}`,
      Object.fromEntries(Array.from({ length: d + 1 }, (_, i) => [`f${i}`, `${d}/${i}`])),
    ]),
  ),
}

interface Vector {
  name: string
  made_of: string
  oid: string
  bytes: number
  files: number
  pages: number
}
const { cases } = JSON.parse(readFileSync(new URL('./tree-vectors.json', import.meta.url), 'utf8')) as { cases: Vector[] }

describe('what the tree format has fixed for ever', () => {
  test.each(cases)('$name: $made_of', ({ name, oid, bytes, files, pages }) => {
    const world = createPages()
    const root = writeFolder(golden[name]!, world.sink)
    expect({ ...root, pages: world.log.written }).toEqual({ oid, size: bytes, files, pages })
  })
})

describe('reading', () => {
  test.each([0, 1, 127, 500, 5000])('%i files come back in order', async (count) => {
    const { sink, read } = createPages()
    const entries = Object.entries(numbered(count)).map(([name, content]) => file(name, content))
    const root = writeTree(entries, sink)
    expect(await readTree(root.oid, read, root)).toEqual(entries)
  })

  test('one name costs one page a level', async () => {
    const { sink, read, log } = createPages()
    const root = writeFolder(numbered(5000), sink)
    expect(await findEntry(root.oid, '003333.bin', read)).toEqual(file('003333.bin', '3333\n'))
    expect(log.read.length).toBe(2)
    for (const absent of ['', '!', '0033335', 'zzz']) expect(await findEntry(root.oid, absent, read)).toBeUndefined()
  })

  test('totals that differ from what refers to the tree are refused', async () => {
    const { sink, read } = createPages()
    for (const count of [3, 500]) {
      const root = writeFolder(numbered(count), sink)
      await expect(readTree(root.oid, read, { ...root, size: root.size + 1 })).rejects.toMatchObject({ code: 'TREE_INVALID' })
      await expect(findEntry(root.oid, 'a', read, { ...root, files: 0 })).rejects.toMatchObject({ code: 'TREE_INVALID' })
    }
  })
})

/** Names that end a page, names that do not, and names that end a branch page. */
function namesWhere(accept: (name: string) => boolean, count: number, start = 'n'): string[] {
  const names: string[] = []
  for (let i = 0; names.length < count; i++) if (accept(`${start}${i}`)) names.push(`${start}${i}`)
  return names
}
const cuts = (name: string, level: number) => (xxh64(name, BigInt(level)) & 0x7fn) === 0n

describe('paging', () => {
  test('a page ends at 1,024 entries when no name ends it before', async () => {
    const { sink, read } = createPages()
    const names = namesWhere((name) => !cuts(name, 0), 2500).sort(compareUtf8)
    const entries = names.map((name) => file(name, name))
    const root = writeTree(entries, sink)
    expect((await read(root.oid)).toString().trimEnd().split('\n').length).toBe(1 + 3)
    expect(await readTree(root.oid, read, root)).toEqual(entries)
  })

  test('the last branch page of a level may have one page below it', async () => {
    // Leaves of one entry each, whose second name ends the branch page: the third leaf stands alone above itself.
    const { sink, read } = createPages()
    const first = namesWhere((name) => cuts(name, 0), 1, 'a')[0]!
    const second = namesWhere((name) => cuts(name, 0) && cuts(name, 1), 1, 'b')[0]!
    const last = namesWhere((name) => cuts(name, 0), 1, 'c')[0]!
    const tree = [first, second, last].map((name) => file(name, name))
    const root = writeTree(tree, sink)
    expect((await read(root.oid)).toString()).toMatch(/^mlv-tree 1 branch 2\n/)
    expect(await readTree(root.oid, read, root)).toEqual(tree)
    expect(await findEntry(root.oid, last, read)).toEqual(tree[2])
    const fresh = file('d', 'd')
    const edited = await editTree(root.oid, new Map([['d', fresh]]), { read, sink })
    expect(edited).toEqual(writeTree([...tree, fresh], () => {}))
  })
})

/** Edits of `names` against a build from scratch. */
async function expectEditsLikeScratch(before: readonly TreeEntry[], changes: Map<string, TreeEntry | undefined>): Promise<void> {
  const edits = createPages()
  const root = writeTree(before, edits.sink)
  const wanted = new Map(before.map((entry) => [entry.name, entry]))
  for (const [name, entry] of changes) {
    if (entry) wanted.set(name, entry)
    else wanted.delete(name)
  }
  const after = [...wanted.values()].sort((a, b) => compareUtf8(a.name, b.name))
  const scratch = createPages()
  const expected = writeTree(after, scratch.sink)
  expect(await editTree(root.oid, changes, edits)).toEqual(expected)
  // Every page of the result can be read from what the edit wrote and what was there.
  expect(await readTree(expected.oid, edits.read, expected)).toEqual(after)
}

describe('an edited tree is the tree built from scratch', () => {
  const names = Array.from({ length: 3000 }, (_, i) => `k${i}`).sort(compareUtf8)
  const all = names.map((name) => file(name, name))

  test('property: any edit of thousands of names', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 3000 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3200 }), fc.constantFrom('set', 'delete')), { maxLength: 60 }),
        async (count, edits) => {
          const changes = new Map(
            edits.map(([i, verb]) => [`k${i}`, verb === 'set' ? file(`k${i}`, `new ${i}`) : undefined] as const),
          )
          await expectEditsLikeScratch(all.slice(0, count), changes)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('property: any edit of names of all kinds', async () => {
    const name = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 12 })
      .filter((text) => !/[/\0]|^\.{1,2}$|git|mlv/i.test(text))
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 300 }),
        fc.array(fc.tuple(name, fc.boolean()), { maxLength: 20 }),
        async (before, edits) => {
          const entries = before.map((item) => file(item, 'x')).sort((a, b) => compareUtf8(a.name, b.name))
          await expectEditsLikeScratch(
            entries,
            new Map(edits.map(([item, isSet]) => [item, isSet ? file(item, 'y') : undefined])),
          )
        },
      ),
      { numRuns: 100 },
    )
  })

  test('names that end pages come and go', async () => {
    const enders = new Set(namesWhere((name) => cuts(name, 0), 40, 'k'))
    const without = all.filter((entry) => !enders.has(entry.name))
    await expectEditsLikeScratch(without, new Map([...enders].map((name) => [name, file(name, 'end')])))
    await expectEditsLikeScratch(all, new Map([...enders].map((name) => [name, undefined])))
    for (const name of [...enders].slice(0, 5)) await expectEditsLikeScratch(all, new Map([[name, undefined]]))
  })

  test.each([
    ['whole pages in the middle', 500, 2500],
    ['the beginning', 0, 1000],
    ['the end', 2000, 3000],
    ['all', 0, 3000],
    ['all but the first', 1, 3000],
    ['all but the last', 0, 2999],
  ])('deleted: %s', async (_, from, to) => {
    await expectEditsLikeScratch(all, new Map(names.slice(from, to).map((name) => [name, undefined])))
  })

  test.each(['a', 'k', 'zz'])('1,500 names added that begin with "%s"', async (start) => {
    const added = Array.from({ length: 1500 }, (_, i) => `${start}+${i}`)
    await expectEditsLikeScratch(all, new Map(added.map((name) => [name, file(name, 'new')])))
    await expectEditsLikeScratch([], new Map(added.map((name) => [name, file(name, 'new')])))
  })

  test('pages of 1,024 entries shift by one', async () => {
    const plain = namesWhere((name) => !cuts(name, 0), 4000).sort(compareUtf8)
    const entries = plain.map((name) => file(name, name))
    await expectEditsLikeScratch(entries, new Map([[plain[10]!, undefined]]))
    await expectEditsLikeScratch(entries, new Map([['a', file('a', 'a')]]))
  })

  test('nothing to delete, and nothing at all', async () => {
    await expectEditsLikeScratch([], new Map([['x', undefined]]))
    await expectEditsLikeScratch(all, new Map())
  })

  test('one changed file of 5,000 reads and writes a leaf and the root', async () => {
    const world = createPages()
    const root = writeFolder(numbered(5000), world.sink)
    world.log.written = 0
    await editTree(root.oid, new Map([['002500.bin', file('002500.bin', 'new')]]), world)
    expect(world.log).toMatchObject({ written: 2, read: { length: 2 } })
  })
})
