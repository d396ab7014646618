import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  cleanText,
  formatNumber,
  LIMITS,
  normaliseKeys,
  parseInt64,
  parseNumber,
  parseRun,
  planBatches,
} from '../../src/mlflow/wire.ts'

/** MLflow's own rule: these characters, and a form that Python's posixpath.normpath leaves as it is. */
function isTaken(key: string): boolean {
  const isNormal = key.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..')
  return /^[/\p{L}\p{N}_.\- :]+$/u.test(key) && isNormal && !key.startsWith('..') && [...key].length <= LIMITS.key
}

describe('keys', () => {
  it.each([
    ['train.lr', 'train.lr'],
    ['f1 (macro)', 'f1 _macro_'],
    ['loss%', 'loss_'],
    ['a//b/./c/', 'a/b/c'],
    ['../up', '__/up'],
    ['..hidden', '__hidden'],
    ['/abs', 'abs'],
    ['精度', '精度'],
    ['', '_'],
    ['.', '_'],
  ])('%j is called %j', (key, expected) => {
    expect(normaliseKeys([key]).get(key)).toBe(expected)
  })

  it('apart stay apart, and a key that needs no change keeps its name', () => {
    const names = normaliseKeys(['loss%', 'loss$', 'loss_'])
    expect(names.get('loss_')).toBe('loss_')
    expect(new Set(names.values()).size).toBe(3)
  })

  it('of any text become keys MLflow takes, one for each, whatever their order', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.stringMatching(/^[./_ab%]{0,6}$/),
      fc.string({ minLength: 240, maxLength: 300 }),
    )
    fc.assert(
      fc.property(fc.uniqueArray(text, { maxLength: 12 }), (keys) => {
        const names = normaliseKeys(keys)
        expect([...names.values()].filter((name) => !isTaken(name))).toEqual([])
        expect(new Set(names.values()).size).toBe(keys.length)
        for (const [key, name] of normaliseKeys([...keys].reverse())) expect(name).toBe(names.get(key))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('texts', () => {
  it('are cut by code points, never inside a character', () => {
    expect(cleanText('a🐧b', 2)).toBe('a🐧')
  })
  it('lose what databases refuse', () => {
    expect(cleanText('a\0b\ud800', 10)).toBe('a\ufffdb\ufffd')
  })
})

describe('numbers', () => {
  it('travel as MLflow sends them', () => {
    expect([0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map(formatNumber)).toEqual([
      0.5,
      'NaN',
      'Infinity',
      '-Infinity',
    ])
    expect(['NaN', 'Infinity', '-Infinity', '0.5', 0.5].map(parseNumber)).toEqual([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      0.5,
      0.5,
    ])
  })
  it('of 64 bits are read from numbers and from texts', () => {
    expect([parseInt64(1700000000000), parseInt64('1700000000000'), parseInt64(undefined)]).toEqual([
      1700000000000,
      1700000000000,
      undefined,
    ])
  })
})

describe('batches', () => {
  it('hold everything once, in order, within the limits', () => {
    const param = fc.record({
      key: fc.string({ maxLength: 20 }),
      value: fc.oneof(fc.constant('x'), fc.constant('精'.repeat(6000))),
    })
    fc.assert(
      fc.property(fc.array(param, { maxLength: 250 }), fc.nat(2500), (params, count) => {
        const metrics = Array.from({ length: count }, (_, step) => ({ key: 'loss', value: 0.1, timestamp: 1700000000000, step }))
        const batches = planBatches(params, metrics)
        expect(batches.flatMap((batch) => batch.params)).toEqual(params)
        expect(batches.flatMap((batch) => batch.metrics)).toEqual(metrics)
        for (const batch of batches) {
          expect(batch.params.length).toBeLessThanOrEqual(100)
          expect(batch.params.length + batch.metrics.length).toBeLessThanOrEqual(1000)
          expect(Buffer.byteLength(JSON.stringify({ run_id: 'a'.repeat(32), ...batch }))).toBeLessThanOrEqual(1_000_000)
        }
      }),
      { numRuns: 30 },
    )
  })
  it('are none for nothing', () => {
    expect(planBatches([], [])).toEqual([])
  })
})

describe('a run', () => {
  it('is read though the server leaves unset fields out', () => {
    expect(parseRun({ info: { run_id: 'a', lifecycle_stage: 'active' }, data: {} })).toMatchObject({
      id: 'a',
      stage: 'active',
      startTime: undefined,
    })
  })
})
