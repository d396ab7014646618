import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadFingerprint } from '../../src/base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { compareUtf8, nameProblem } from '../../src/base/paths.ts'
import { findEntry, readTree } from '../../src/store/tree.ts'
import { formatPage, type PageRef, parsePage, type TreeEntry, type TreePage } from '../../src/store/tree-page.ts'
import { walkTree } from '../../src/store/tree-walk.ts'
import { createPages, file } from './page-store.ts'

beforeAll(loadFingerprint)

const A = 'a'.repeat(64) as Oid
const parse = (text: string | Uint8Array) => parsePage(Buffer.from(text as string), A)

describe('a page has one text', () => {
  const oid = fc.string({ unit: 'binary' }).map((text) => oidOfBytes(text))
  const size = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 32, 2 ** 40))
  const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).filter((text) => nameProblem(text) === undefined)
  const sorted = <T extends { name: string }>(items: T[]) => items.sort((a, b) => compareUtf8(a.name, b.name))
  const entry: fc.Arbitrary<TreeEntry> = fc.oneof(
    fc.record({ name, kind: fc.constantFrom('file', 'exec', 'link'), oid, size }),
    fc.record({ name, kind: fc.constant('tree'), oid, size, files: fc.nat() }),
  )
  const page: fc.Arbitrary<PageRef> = fc.record({ name, kind: fc.constant('page'), oid, size, files: fc.nat() })
  const byName = { selector: (item: { name: string }) => item.name, maxLength: 20 }
  const anyPage: fc.Arbitrary<TreePage> = fc.oneof(
    fc.uniqueArray(entry, byName).map((entries) => ({ level: 0 as const, entries: sorted(entries) })),
    fc.tuple(fc.integer({ min: 1, max: 16 }), fc.uniqueArray(page, { ...byName, minLength: 1 })).map(([level, entries]) => ({
      level,
      entries: sorted(entries),
    })),
  )

  test('property: parse ∘ format is the identity', () => {
    fc.assert(
      fc.property(anyPage, (made) => {
        expect(parse(formatPage(made))).toEqual(made)
      }),
    )
  })

  test('property: what can be parsed is formatted to the same bytes, whatever byte was changed', () => {
    fc.assert(
      fc.property(anyPage, fc.nat(), fc.nat({ max: 255 }), (made, at, byte) => {
        const bytes = Buffer.from(formatPage(made))
        bytes[at % bytes.length] = byte
        let parsed: TreePage
        try {
          parsed = parse(bytes)
        } catch (error) {
          expect(error).toMatchObject({ code: 'TREE_INVALID' })
          return
        }
        expect(bytes.equals(Buffer.from(formatPage(parsed)))).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  test('the order is that of UTF-8 bytes, above U+FFFF too', () => {
    const line = (item: string) => `file ${A} 1\t${item}\n`
    expect(parse(`mlv-tree 1 leaf\n${line('～')}${line('\u{1d11e}')}`).entries.length).toBe(2)
    expect(() => parse(`mlv-tree 1 leaf\n${line('\u{1d11e}')}${line('～')}`)).toThrow('out of order')
  })
})

const leaf = (...lines: string[]) => `mlv-tree 1 leaf\n${lines.map((line) => `${line}\n`).join('')}`
const one = (name: string) => leaf(`file ${A} 1\t${name}`)

describe('refused', () => {
  test.each<[string, string | Uint8Array]>([
    ['nothing', ''],
    ['another header', 'mlv-tree 2 leaf\n'],
    ['a leaf with a level', 'mlv-tree 1 leaf 0\n'],
    ['a branch of level 0', `mlv-tree 1 branch 0\npage ${A} 1 1\ta\npage ${A} 1 1\tb\n`],
    ['a branch of level 17', `mlv-tree 1 branch 17\npage ${A} 1 1\ta\npage ${A} 1 1\tb\n`],
    ['a branch with no page', 'mlv-tree 1 branch 1\n'],
    ['no final newline', one('a').slice(0, -1)],
    ['an empty last line', `${one('a')}\n`],
    ['CRLF', one('a').replaceAll('\n', '\r\n')],
    ['a byte order mark', `\ufeff${one('a')}`],
    ['names out of order', leaf(`file ${A} 1\tb`, `file ${A} 1\ta`)],
    ['a name twice', leaf(`file ${A} 1\ta`, `exec ${A} 1\ta`)],
    ['an unknown kind', leaf(`blob ${A} 1\ta`)],
    ['a page in a leaf', leaf(`page ${A} 1 1\ta`)],
    ['a file in a branch', `mlv-tree 1 branch 1\nfile ${A} 1\ta\nfile ${A} 1\tb\n`],
    ['a tree without a count', leaf(`tree ${A} 1\ta`)],
    ['a file with a count', leaf(`file ${A} 1 1\ta`)],
    ['a short oid', leaf(`file ${A.slice(1)} 1\ta`)],
    ['an upper-case oid', leaf(`file ${A.toUpperCase()} 1\ta`)],
    ['a negative size', leaf(`file ${A} -1\ta`)],
    ['a leading zero', leaf(`file ${A} 01\ta`)],
    ['a plus', leaf(`file ${A} +1\ta`)],
    ['a fraction', leaf(`file ${A} 1.0\ta`)],
    ['a power', leaf(`file ${A} 1e3\ta`)],
    ['a size of 2^53', leaf(`file ${A} 9007199254740992\ta`)],
    ['a count of 2^53', leaf(`tree ${A} 1 9007199254740992\ta`)],
    ['a size of 40 digits', leaf(`file ${A} ${'9'.repeat(40)}\ta`)],
    ['sizes that add up beyond 2^53', leaf(`file ${A} 9007199254740991\ta`, `file ${A} 1\tb`)],
    ['counts that add up beyond 2^53', leaf(`tree ${A} 1 9007199254740991\ta`, `file ${A} 1\tb`)],
    ['two spaces', leaf(`file  ${A} 1\ta`)],
    ['a space instead of the tab', leaf(`file ${A} 1 a`)],
    ['an unknown escape', one('a\\x')],
    ['an escape cut off', one('a\\')],
    ['a tab as it is', one('a\tb')],
    ['an empty name', one('')],
    ['the name .', one('.')],
    ['the name ..', one('..')],
    ['a slash', one('a/b')],
    ['an absolute path', one('/etc')],
    ['NUL', one('a\0b')],
    ['.git', one('.git')],
    ['.GIT', one('.GIT')],
    ['.git with an invisible letter', one('.g\u200cit')],
    ['.git as NTFS reads it', one('.git ')],
    ['.git with a stream', one('.git::$INDEX_ALLOCATION')],
    ['the short name of .git', one('git~1')],
    ['.mlv', one('.mlv')],
    ['a name of 256 bytes', one('x'.repeat(256))],
    ['a name of 86 letters of 3 bytes', one('～'.repeat(86))],
    ['bytes that are not UTF-8', Buffer.concat([Buffer.from(one('')).subarray(0, -1), Buffer.from([0xff, 0x0a])])],
    ['an overlong slash', Buffer.concat([Buffer.from(one('')).subarray(0, -1), Buffer.from([0xc0, 0xaf, 0x0a])])],
    ['a lone surrogate', Buffer.concat([Buffer.from(one('')).subarray(0, -1), Buffer.from([0xed, 0xa0, 0x80, 0x0a])])],
    ['1,025 entries', leaf(...Array.from({ length: 1025 }, (_, i) => `file ${A} 1\t${String(i).padStart(4, '0')}`))],
    ['a megabyte', one('x'.repeat(1 << 20))],
  ])('%s', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'TREE_INVALID', message: expect.stringContaining(A) }))
  })

  test('a name of 255 bytes, and 1,024 entries, are fine', () => {
    expect(parse(one('x'.repeat(255))).entries.length).toBe(1)
    const lines = Array.from({ length: 1024 }, (_, i) => `file ${A} 1\t${String(i).padStart(4, '0')}`)
    expect(parse(leaf(...lines)).entries.length).toBe(1024)
  })
})

describe('pages that do not fit together are refused', () => {
  const world = createPages()
  const ab = { text: formatPage({ level: 0, entries: [file('a', '1'), file('b', '22')] }), size: 3, files: 2 }
  const cd = { text: formatPage({ level: 0, entries: [file('c', '333'), file('d', '')] }), size: 3, files: 2 }
  const ref = (name: string, page: { text: string; size: number; files: number }): PageRef => ({
    name,
    kind: 'page',
    oid: world.put(page.text),
    size: page.size,
    files: page.files,
  })
  const branch = (...entries: PageRef[]) => world.put(formatPage({ level: 1, entries }))

  test('a sound one is read', async () => {
    const root = branch(ref('a', ab), ref('c', cd))
    expect((await readTree(root, world.read, { size: 6, files: 4 })).map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd'])
  })

  test.each<[string, () => Oid]>([
    ['a size that its parent does not say', () => branch(ref('a', { ...ab, size: 4 }), ref('c', cd))],
    ['a count that its parent does not say', () => branch(ref('a', { ...ab, files: 1 }), ref('c', cd))],
    ['another first name', () => branch(ref('aa', ab), ref('c', cd))],
    [
      'names that reach into the neighbour',
      () => branch(ref('a', ab), ref('b', { text: cd.text.replace('\tc', '\tb'), size: 3, files: 2 })),
    ],
    ['a page of another level', () => world.put(formatPage({ level: 2, entries: [ref('a', ab), ref('c', cd)] }))],
    ['a leaf with no entry', () => branch(ref('a', ab), ref('c', { text: 'mlv-tree 1 leaf\n', size: 0, files: 0 }))],
    ['a root with a single page below it', () => branch(ref('a', ab))],
  ])('%s', async (_, make) => {
    const root = make()
    await expect(readTree(root, world.read)).rejects.toMatchObject({ code: 'TREE_INVALID' })
    const lookups = await Promise.allSettled(['a', 'b', 'c'].map((name) => findEntry(root, name, world.read)))
    expect(lookups.some(({ status }) => status === 'rejected')).toBe(true)
  })

  test('a folder whose totals are not those of its tree', async () => {
    const oid = world.put(ab.text)
    for (const lie of [{ size: 2 }, { files: 3 }]) {
      const root = world.put(formatPage({ level: 0, entries: [{ name: 'sub', kind: 'tree', oid, size: 3, files: 2, ...lie }] }))
      const walk = async () => {
        for await (const _ of walkTree(root, world.read));
      }
      await expect(walk()).rejects.toMatchObject({ code: 'TREE_INVALID' })
    }
  })
})
