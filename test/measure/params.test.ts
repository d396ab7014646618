import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readParamFile, readParams } from '../../src/measure/params.ts'
import { readPlainYaml } from '../../src/measure/plain-yaml.ts'
import { flatten, formatKey, parseKey, pick, sameValue, type Value } from '../../src/measure/values.ts'

const bytes = (text: string) => Buffer.from(text)
const read = (text: string, path = 'params.yaml') => readParamFile(bytes(text), path)
const flat = (text: string, path = 'params.yaml') => Object.fromEntries(readParams(bytes(text), path))

describe('params files', () => {
  it.each([
    ['params.yaml', 'train:\n  lr: 0.1\n  layers: [64, 32]\nseed: 7\n'],
    ['params.json', '{"train": {"lr": 0.1, "layers": [64, 32]}, "seed": 7}'],
    ['params.toml', 'seed = 7\n[train]\nlr = 0.1\nlayers = [64, 32]\n'],
  ])('%s gives dotted keys with lists kept whole', (path, text) => {
    expect(flat(text, path)).toEqual({ 'train.lr': 0.1, 'train.layers': [64, 32], seed: 7 })
  })

  it('keeps integers beyond 2^53 as the text they are written in', () => {
    const long = '9223372036854775807'
    expect(read(`a: ${long}\nb: 9007199254740991\nc: [${long}]\nd: 0.1234567890123456789`)).toEqual({
      a: long,
      b: 9007199254740991,
      c: [long],
      d: Number('0.1234567890123456789'),
    })
    expect(read(`{"a": ${long}, "b": [-${long}], "c": 0.12345678901234567}`, 'p.json')).toEqual({
      a: long,
      b: [`-${long}`],
      c: Number('0.12345678901234567'),
    })
    expect(read(`a = ${long}`, 'p.toml')).toEqual({ a: long })
  })

  it('reads NaN and infinities as numbers and dates as text', () => {
    expect(read('a: .nan\nb: -.inf\nc: 2024-05-01\nd: 2024-05-01T10:00:00Z')).toEqual({
      a: Number.NaN,
      b: -Infinity,
      c: '2024-05-01',
      d: '2024-05-01T10:00:00Z',
    })
    expect(read('{"a": NaN, "b": -Infinity, "c": [Infinity]}', 'p.json')).toEqual({ a: Number.NaN, b: -Infinity, c: [Infinity] })
    expect(read('a = nan\nb = -inf\nc = 2024-05-01\nd = 07:32:00\ne = 2024-05-01T10:00:00Z', 'p.toml')).toEqual({
      a: Number.NaN,
      b: -Infinity,
      c: '2024-05-01',
      d: '07:32:00',
      e: '2024-05-01T10:00:00Z',
    })
  })

  it('reads words as YAML 1.2 does: only true and false are booleans', () => {
    expect(read('a: yes\nb: off\nc: True\nd: ~\ne: 0o17\nf: 1_000\ng: 010')).toEqual({
      a: 'yes',
      b: 'off',
      c: true,
      d: null,
      e: 15,
      f: '1_000',
      g: 10,
    })
  })

  it.each([
    ['params.yaml', 'a: 1\na: 2\n', 'YAML_INVALID', /^params\.yaml:2:1: /],
    ['params.yaml', 'a: [1\nb: 2\n', 'YAML_INVALID', /^params\.yaml:2:1: /],
    ['main:params.yaml', '<<<<<<< HEAD\na: 1\n', 'YAML_INVALID', /^main:params\.yaml:\d+:\d+: /],
    ['p.json', '{"a": 1,\n "b": }', 'PARAMS_INVALID', /^p\.json:2:7: a value is due, not "}"$/],
    ['p.json', '{"a": 1', 'PARAMS_INVALID', /^p\.json:1:8: the file ends where/],
    ['p.json', '{"a": 01}', 'PARAMS_INVALID', /^p\.json:1:8: /],
    ['p.toml', 'a = 1\nb = = 2', 'PARAMS_INVALID', /^p\.toml:2:5: invalid value$/],
    ['p.py', 'a = 1', 'PARAMS_INVALID', /^p\.py: not a params file/],
  ])('%s with %j is refused with its place', (path, text, code, message) => {
    expect(() => read(text, path)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message), hint: expect.any(String) }),
    )
  })

  it('refuses what is nested too deep, whichever reader meets it', () => {
    const deep = '['.repeat(20_000)
    for (const [path, text] of [
      ['p.json', deep],
      ['p.json', deep + ']'.repeat(20_000)],
      ['p.yaml', deep],
      ['p.yaml', `${'['.repeat(300)}${']'.repeat(300)}`],
      ['p.toml', `a = ${deep}`],
    ] as const)
      expect(() => read(text, path)).toThrow(
        expect.objectContaining({ code: 'PARAMS_INVALID', message: expect.stringMatching(/nested/) }),
      )
  })

  it('refuses text that is not UTF-8 with its line, and skips a byte order mark', () => {
    const broken = Buffer.from([...Buffer.from('a: 1\nb: '), 0xff, 0xfe, 10])
    expect(() => readParamFile(broken, 'params.yaml')).toThrow('params.yaml:2: not UTF-8 text')
    expect(read('\ufeffa: 1')).toEqual({ a: 1 })
  })

  it('keeps names that mean something to JavaScript as plain keys', () => {
    const found = readParams(bytes('{"__proto__": {"x": 1}, "constructor": 2}'), 'p.json')
    expect([...found]).toEqual([
      ['__proto__.x', 1],
      ['constructor', 2],
    ])
    expect(pick(read('{"a": 1}', 'p.json'), 'toString')).toBeUndefined()
  })

  it('narrows a file to the keys asked for and what lies below them', () => {
    const text = bytes('train:\n  lr: 0.1\n  deep:\n    er: 1\ntrainer: 2\n')
    expect([...readParams(text, 'p.yaml', ['train.deep', 'trainer']).keys()]).toEqual(['train.deep.er', 'trainer'])
  })

  it('an empty file holds no params; an empty map and a list are values', () => {
    expect(flat('')).toEqual({})
    expect(flat('# nothing\n')).toEqual({})
    expect(flat('', 'p.json')).toEqual({})
    expect(flat('a: {}\nb: []\n')).toEqual({ a: {}, b: [] })
    expect(flat('- 1\n- 2\n')).toEqual({ '': [1, 2] })
  })
})

describe('dotted keys', () => {
  it('quote what would be read as something else', () => {
    expect(formatKey(['a', 'b.c', '', 'weighted avg', 'q"'])).toBe('a."b.c"."".weighted avg."q\\""')
  })

  it('are read back, whatever the keys hold', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1 }), (segments) => {
        expect(parseKey(formatKey(segments))).toEqual(segments)
      }),
    )
  })

  it('pick finds every leaf that flatten lists', () => {
    const leaf = fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), fc.string())
    const tree = fc.letrec<{ value: Value }>((tie) => ({
      value: fc.oneof({ depthSize: 'small' }, leaf, fc.dictionary(fc.string(), tie('value')), fc.array(tie('value'))),
    })).value
    fc.assert(
      fc.property(fc.dictionary(fc.string(), tree), (value) => {
        for (const [key, found] of flatten(value)) expect(sameValue(pick(value, key) as Value, found)).toBe(true)
      }),
    )
  })

  it('reach maps and list items, and miss what is not there', () => {
    const value = read('a:\n  b: [1, {c: 2}]\nn: null\n')
    expect(pick(value, 'a')).toEqual({ b: [1, { c: 2 }] })
    expect(pick(value, 'a.b.1.c')).toBe(2)
    expect(pick(value, 'n')).toBeNull()
    for (const key of ['a.c', 'a.b.2', 'a.b.length', 'n.x', '']) expect(pick(value, key)).toBeUndefined()
  })
})

describe('the reader of plain YAML', () => {
  const words = (text: string) => fc.constantFrom(...text.split('¦'))
  const scalar = fc.oneof(
    {
      weight: 6,
      arbitrary: words(
        '3x3¦2024-01-01¦1.2.3¦0x1F¦0o17¦0b1¦1_000¦12:30¦1e5x¦s3://b/k¦a@b.c¦x=1¦50%¦a:¦a: b¦[a:b, c]¦[a:]¦1e400¦00x1¦a :b¦[s3://b, 1]¦[a: b]¦[12:30]',
      ),
    },
    {
      weight: 8,
      arbitrary: words('1¦-3¦+5¦0.1¦1e-3¦.5¦5.¦010¦1.5E+3¦-0¦true¦False¦NULL¦~¦adam¦a b¦/tmp/x¦y¦no¦¦[1, two, 3.5]¦[]¦[a,b]'),
    },
    {
      weight: 4,
      arbitrary: words(`"q: x"¦'it is'¦''¦"a # b"¦# note¦5 # five¦word # note¦0x1F¦.nan¦-¦123456789012345678¦2024-01-01¦[,]`),
    },
    { weight: 1, arbitrary: words('&a 1¦*a¦!!str 1¦|¦>-¦{a: 1}¦[1, [2]]¦a: b¦a:¦%x¦@x¦[a b, c d]¦[a: b]¦[a #b]¦"\\n"') },
    { weight: 1, arbitrary: fc.string({ maxLength: 6 }) },
  )
  const key = fc.oneof(
    { weight: 16, arbitrary: words('a¦b¦c-d¦e.f¦A_b¦deep¦er') },
    { weight: 1, arbitrary: words('null¦true¦__proto__¦<<¦1¦') },
    { weight: 1, arbitrary: fc.string({ maxLength: 3 }) },
  )
  const indent = fc.oneof({ weight: 8, arbitrary: words('¦¦  ¦  ¦    ') }, { weight: 1, arbitrary: words(' ¦\t') })
  const colon = fc.oneof({ weight: 16, arbitrary: words(': ¦:  ') }, { weight: 1, arbitrary: fc.constant(':') })
  const line = fc.tuple(indent, key, colon, scalar, fc.oneof({ weight: 8, arbitrary: fc.constant('') }, words(' ¦\r')))
  const text = fc.array(
    fc.oneof(
      { weight: 16, arbitrary: line.map((parts) => parts.join('')) },
      { weight: 3, arbitrary: words('¦# c¦  # c¦   ') },
      { weight: 1, arbitrary: words('---¦...¦more words¦-¦- - 1¦- a: 1') },
      { weight: 5, arbitrary: fc.tuple(words('¦¦  ¦    ¦ '), words('- ¦-  '), scalar).map((parts) => parts.join('')) },
    ),
    { maxLength: 6 },
  )

  it('agrees with the full parser on all that it takes', () => {
    let taken = 0
    fc.assert(
      fc.property(text, (lines) => {
        const source = lines.join('\n')
        const plain = readPlainYaml(source)
        if (plain === undefined) return
        taken++
        expect(plain, source).toEqual(parse(source, { logLevel: 'silent' }))
      }),
      { numRuns: 20_000 },
    )
    expect(taken).toBeGreaterThan(500)
  })

  it('takes the files people write', () => {
    expect(
      readPlainYaml(
        '# how to train\ntrain:\n  lr: 0.1   # per step\n  opt: adam\n\n  sizes: [64, 32]\n  tags:\n  - a\n  - 2 # two\neval:\n  name: "q1"\nempty:\n',
      ),
    ).toEqual({
      train: { lr: 0.1, opt: 'adam', sizes: [64, 32], tags: ['a', 2] },
      eval: { name: 'q1' },
      empty: null,
    })
  })
})
