import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { MlvError } from '../../src/base/errors.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import { dataPathOf, formatPointer, type Pointer, parsePointer, pointerPathOf, readPointer } from '../../src/workspace/pointer.ts'

const OID = oidOfBytes('data')
const text = (...lines: string[]) => `${lines.join('\n')}\n`
const file = (...lines: string[]) => text('mlv: 1', 'kind: file', `oid: ${OID}`, 'size: 4', ...lines)

describe('one valid text', () => {
  const known = ['mlv', 'kind', 'oid', 'size', 'files', 'desc', 'labels', 'remote', 'source', 'meta']
  const oid = fc.oneof(
    fc.string().map((content) => oidOfBytes(content)),
    // Hex that YAML takes for a number, for infinity, or for an octal.
    fc.constantFrom(
      `1111e22${'0'.repeat(57)}`,
      '1'.repeat(64),
      `${'9'.repeat(61)}e99`,
      '0'.repeat(64),
      `0x${'1'.repeat(62)}`.replace('x', 'e'),
    ),
  ) as fc.Arbitrary<Oid>
  const size = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 53 - 1))
  const words = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.constantFrom(
      'yes',
      'null',
      '~',
      '1e3',
      '0x10',
      ' leading',
      'trailing ',
      '- a',
      'a: b',
      '#',
      '\n',
      'two\nlines\n',
      '\t',
      '%',
      '---',
      '...',
      'x'.repeat(5000),
      '<<',
      '\u0085',
      '\u2028',
      '\ufeff',
      '\r\n',
      '"',
      "'",
    ),
  )
  const plainValue = fc.jsonValue({ maxDepth: 3, noUnicodeString: false } as never)
  const map = fc.dictionary(words, plainValue, { maxKeys: 4, noNullPrototype: true })
  const pointer: fc.Arbitrary<Pointer> = fc.record(
    {
      entry: fc.oneof(
        fc.record({ kind: fc.constantFrom('file', 'exec'), oid, size }),
        fc.record({ kind: fc.constant('tree'), oid, size, files: size }),
      ),
      desc: words,
      labels: fc.array(words, { maxLength: 5 }),
      remote: words,
      source: map,
      meta: map,
      unknown: fc.dictionary(
        words.filter((key) => !known.includes(key)),
        plainValue,
        { minKeys: 1, maxKeys: 4, noNullPrototype: true },
      ),
    },
    { requiredKeys: ['entry'] },
  )

  test('property: parse ∘ format is the identity', async () => {
    await fc.assert(
      fc.asyncProperty(pointer, async (made) => {
        expect(await parsePointer(await formatPointer(made), 'a.mlv')).toEqual(made)
      }),
      { numRuns: 300 },
    )
  })

  test('property: formatting what was parsed gives the same text', async () => {
    await fc.assert(
      fc.asyncProperty(pointer, async (made) => {
        const once = await formatPointer(made)
        expect(await formatPointer(await parsePointer(once, 'a.mlv'))).toBe(once)
      }),
      { numRuns: 300 },
    )
  })

  test('property: read without a YAML parser or with one, it says the same', async () => {
    await fc.assert(
      fc.asyncProperty(pointer, async ({ entry }) => {
        const plain = await formatPointer({ entry })
        expect(await parsePointer(`# a comment\n${plain}`, 'a.mlv')).toEqual({ ...(await parsePointer(plain, 'a.mlv')) })
      }),
    )
  })
})

describe('the text', () => {
  test('of a file, an executable and a folder', async () => {
    const head = (kind: string) => `mlv: 1\nkind: ${kind}\noid: ${OID}\nsize: 4\n`
    expect(await formatPointer({ entry: { kind: 'file', oid: OID, size: 4 } })).toBe(head('file'))
    expect(await formatPointer({ entry: { kind: 'exec', oid: OID, size: 4 } })).toBe(head('exec'))
    expect(await formatPointer({ entry: { kind: 'tree', oid: OID, size: 4, files: 2 } })).toBe(`${head('tree')}files: 2\n`)
  })

  test('has known keys in their order, then the others by name', async () => {
    const parsed = await parsePointer(
      text(
        'zeta: 1',
        '7: seven',
        '__proto__: kept',
        'meta: {a: 1}',
        'remote: big',
        'labels: [x, y]',
        `oid: ${OID}`,
        'desc: words',
        'size: 4',
        'kind: file',
        'mlv: 1',
        'alpha: [1]',
      ),
      'a.mlv',
    )
    const keys = (await formatPointer(parsed)).split('\n').filter((line) => /^\S/.test(line) && !line.startsWith('-'))
    expect(keys.map((line) => line.split(':')[0])).toEqual([
      'mlv',
      'kind',
      'oid',
      'size',
      'desc',
      'labels',
      'remote',
      'meta',
      '"7"',
      '__proto__',
      'alpha',
      'zeta',
    ])
  })

  test('may be written by hand: comments, quotes, CRLF, another order', async () => {
    const expected = { kind: 'file', oid: OID, size: 4 }
    for (const written of [
      `# which data\n${file()}`,
      file().replaceAll('\n', '\r\n'),
      text('size: 4', `oid: "${OID}"`, "kind: 'file'", 'mlv: 1'),
      `{mlv: 1, kind: file, oid: ${OID}, size: 4}`,
      `---\n${file()}`,
    ])
      expect((await parsePointer(written, 'a.mlv')).entry).toEqual(expected)
  })

  test('an oid that YAML would take for a number is read as it stands', async () => {
    for (const oid of ['1'.repeat(64), `1111e22${'0'.repeat(57)}`, '0'.repeat(64)])
      expect((await parsePointer(file('desc: x').replace(OID, oid), 'a.mlv')).entry.oid).toBe(oid)
  })
})

describe('merge markers', () => {
  test.each([
    ['of git', file().replace('size: 4\n', '<<<<<<< HEAD\nsize: 4\n=======\nsize: 5\n>>>>>>> theirs\n')],
    [
      'with the base between',
      file().replace('size: 4\n', '<<<<<<< ours\nsize: 4\n||||||| base\nsize: 3\n=======\nsize: 5\n>>>>>>> theirs\n'),
    ],
  ])('%s are told apart from other faults', async (_, conflicted) => {
    await expect(parsePointer(conflicted, 'data/a.mlv')).rejects.toMatchObject({
      code: 'POINTER_CONFLICT',
      message: expect.stringContaining('data/a.mlv'),
      hint: expect.stringContaining('git checkout --ours -- data/a.mlv'),
    })
  })
})

describe('refused', () => {
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x]',
    ...Array.from('bcdefgh', (name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`),
  ]
  test.each<[string, string, string?]>([
    ['nothing', ''],
    ['a list', '- a\n- b\n'],
    ['a text', 'hello\n'],
    ['a number', '5\n'],
    ['null', 'null\n'],
    ['no format', file().replace('mlv: 1\n', ''), 'mlv: 1'],
    ['a later format', file().replace('mlv: 1', 'mlv: 2'), 'newer mlv'],
    ['a format that is a text', file().replace('mlv: 1', 'mlv: "1"')],
    ['an unknown kind', file().replace('kind: file', 'kind: link'), ':2:'],
    ['a short oid', file().replace(OID, OID.slice(1)), ':3:'],
    ['an oid in capitals', file().replace(OID, 'A'.repeat(64))],
    ['an oid that is a path', file().replace(OID, '../../etc/passwd')],
    ['no oid', file().replace(/oid: .*\n/, '')],
    ['a negative size', file().replace('size: 4', 'size: -1'), ':4:'],
    ['a fraction', file().replace('size: 4', 'size: 4.5')],
    ['2^53', file().replace('size: 4', 'size: 9007199254740992')],
    ['infinity', file().replace('size: 4', 'size: .inf')],
    ['a size that is a text', file().replace('size: 4', 'size: "4"')],
    ['a size that is a list', file().replace('size: 4', 'size: [4]')],
    ['no size', file().replace('size: 4\n', '')],
    ['a tree without files', file().replace('kind: file', 'kind: tree')],
    ['a desc that is a list', file('desc: [a]')],
    ['a remote that is a map', file('remote: {a: 1}')],
    ['labels that are a text', file('labels: a')],
    ['labels that are numbers', file('labels: [1]')],
    ['a source that is a list', file('source: [a]')],
    ['a meta that is null', file('meta: null')],
    ['a key twice', file('size: 5'), ':5:'],
    ['two documents', `${file()}---\n${file()}`],
    ['broken YAML', file('desc: [a'), ':'],
    ['a tab for indentation', file('meta:', '\ta: 1')],
    ['an alias bomb', file(...bomb)],
    ['an alias of nothing', file('desc: *a')],
    ['an alias for the oid', text('mlv: 1', 'kind: file', `x: &a ${OID}`, 'oid: *a', 'size: 4')],
    ['a map that holds itself', file('meta: &a {b: *a}')],
    ['an unknown tag that runs code', file('meta: !!js/function "function(){}"')],
    ['50 MB', file(`desc: ${'x'.repeat(50 << 20)}`), 'larger'],
  ])('%s', async (_, broken, place = '') => {
    await expect(parsePointer(broken, 'data/a.mlv')).rejects.toMatchObject({
      code: 'POINTER_INVALID',
      message: expect.stringMatching(new RegExp(`^data/a\\.mlv.*${place}`)),
      hint: expect.stringContaining('git checkout -- data/a.mlv"'),
    })
  })
})

describe('on disk', () => {
  const root = mkdtempSync(join(tmpdir(), 'mlv-pointer-'))
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  test('a pointer stands beside what it stands for', async () => {
    expect(pointerPathOf('data/x' as RepoPath)).toBe('data/x.mlv')
    expect(dataPathOf('data/x.mlv' as RepoPath)).toBe('data/x')
    mkdirSync(join(root, 'data'))
    writeFileSync(join(root, 'data/x.mlv'), file())
    expect((await readPointer(root, 'data/x' as RepoPath))?.entry).toEqual({ kind: 'file', oid: OID, size: 4 })
  })

  test('none is none: absent, a folder in its place, a file above it', async () => {
    mkdirSync(join(root, 'folder.mlv'))
    writeFileSync(join(root, 'plain'), '')
    for (const path of ['absent', 'folder', 'plain/x', 'no/such'])
      expect(await readPointer(root, path as RepoPath)).toBeUndefined()
  })
})

describe('an altered pointer', () => {
  const whole = Buffer.from(
    `mlv: 1\nkind: tree\noid: ${'1e'.repeat(32)}\nsize: 12\nfiles: 5\ndesc: a text\nlabels:\n  - one\nmeta:\n  a: &x [1, *x]\n`,
  )

  test('property: is read, or refused with an error of ours', async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc
        .constantFrom(
          '\n',
          ': ',
          '- ',
          '&a',
          '*a',
          '!!js/function',
          '"',
          '[',
          '{',
          '0x',
          '1e9',
          '9007199254740993',
          '<<<<<<< ',
          '---\n',
          '...',
        )
        .map((text) => Buffer.from(text)),
    )
    const change = fc.record({ at: fc.nat(whole.length), gone: fc.nat(8), piece })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const bytes = changes.reduce(
          (now, { at, gone, piece }) => Buffer.concat([now.subarray(0, at), piece, now.subarray(at + gone)]),
          whole,
        )
        try {
          const { entry } = await parsePointer(bytes.toString('utf8'), 'data.mlv')
          expect(entry.oid).toMatch(/^[0-9a-f]{64}$/)
          expect(Number.isSafeInteger(entry.size) && entry.size >= 0).toBe(true)
        } catch (error) {
          if (!(error instanceof MlvError)) throw error
        }
      }),
      { numRuns: 2000 },
    )
  })
})
