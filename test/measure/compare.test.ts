import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareMeasures, isChanged, subtract } from '../../src/measure/compare.ts'
import type { MetricRule } from '../../src/measure/metrics.ts'
import { type Measures, noMeasures } from '../../src/measure/read.ts'
import type { Value } from '../../src/measure/values.ts'

function measures(values: Record<string, Value>, rules: Record<string, MetricRule> = {}): Measures {
  return {
    ...noMeasures('x'),
    files: new Map([['m.json', new Map(Object.entries(values))]]),
    rules: new Map([['m.json', new Map(Object.entries(rules))]]),
  }
}

function one(before: Value | undefined, after: Value | undefined, rule: MetricRule = {}) {
  const side = (value: Value | undefined) => measures(value === undefined ? {} : { k: value }, { k: rule })
  return compareMeasures(side(before), side(after))[0]!
}

describe('comparing two revisions', () => {
  it.each<[Value | undefined, Value | undefined, MetricRule, object]>([
    [0.9, 0.92, {}, { change: 0.02, percent: expect.closeTo(2.2222), verdict: undefined }],
    [0.9, 0.92, { goal: 'max' }, { verdict: 'better' }],
    [0.9, 0.92, { goal: 'min' }, { verdict: 'worse' }],
    [0.9, 0.902, { goal: 'max', tolerance: 0.002 }, { change: 0.002, verdict: 'same' }],
    [0.9, 0.9021, { goal: 'max', tolerance: 0.002 }, { verdict: 'better' }],
    [0.9, 0.8979, { goal: 'max', tolerance: 0.002 }, { verdict: 'worse' }],
    [-2, -1, { goal: 'max' }, { change: 1, percent: 50, verdict: 'better' }],
    [0, 5, {}, { change: 5, percent: undefined }],
    [1, 1, { goal: 'max' }, { change: 0, verdict: 'same' }],
    [Number.NaN, Number.NaN, { goal: 'max' }, { change: undefined, verdict: 'same' }],
    [0.9, Number.NaN, { goal: 'max' }, { change: undefined, percent: undefined, verdict: 'worse' }],
    [Number.NaN, 0.1, { goal: 'max' }, { verdict: 'better' }],
    [1, Infinity, { goal: 'min' }, { change: undefined, verdict: 'worse' }],
    [1, '1', { goal: 'max' }, { change: undefined, verdict: undefined }],
    ['tree', 'forest', {}, { change: undefined, verdict: undefined }],
    [[1, 2], [1, 2], {}, { verdict: 'same' }],
    [undefined, 1, { goal: 'max' }, { before: undefined, after: 1, change: undefined, verdict: undefined }],
    [1, undefined, { goal: 'max' }, { before: 1, after: undefined, verdict: undefined }],
    [0.95, 0.85, { min: 0.9 }, { bound: { kind: 'below', limit: 0.9 } }],
    [0.95, 0.9, { min: 0.9 }, { bound: undefined }],
    [1, Number.NaN, { min: 0.9 }, { bound: { kind: 'below', limit: 0.9 } }],
    [1, 4, { max: 3 }, { bound: { kind: 'above', limit: 3 } }],
  ])('%j → %j under %j', (before, after, rule, expected) => {
    expect(one(before, after, rule)).toMatchObject(expected)
  })

  it('lists the keys of the later one in its order, then those that are gone', () => {
    const rows = compareMeasures(measures({ gone: 1, a: 1, b: 2 }), measures({ b: 2, a: 3, fresh: 4 }))
    expect(rows.map((row) => row.key)).toEqual(['b', 'a', 'fresh', 'gone'])
    expect(rows.filter(isChanged).map((row) => row.key)).toEqual(['a', 'fresh', 'gone'])
  })

  it('says nothing about a file that is broken on one side, or that one side cannot know', () => {
    const side = measures({ k: 1 })
    const broken = { ...noMeasures('x'), problems: [{ file: 'm.json', code: 'METRICS_INVALID', message: '' }] }
    expect(compareMeasures(broken, side)).toEqual([])
    expect(compareMeasures(noMeasures('x'), { ...side, outsideGit: ['m.json'] })).toEqual([])
    expect(compareMeasures({ ...side, outsideGit: ['m.json'] }, side)).toHaveLength(1)
  })

  it('subtracts as one would by hand', () => {
    expect(subtract(0.3, 0.1)).toBe(0.2)
    expect(subtract(1e-7, 3e-7)).toBe(-2e-7)
    expect(subtract(1e300, 1)).toBe(1e300)
    const decimal = fc.integer({ min: -1_000_000, max: 1_000_000 })
    fc.assert(
      fc.property(decimal, decimal, (a, b) => {
        expect(subtract(a / 1000, b / 1000)).toBe((a - b) / 1000)
      }),
    )
  })
})
