import { describe, expect, it } from 'vitest'
import { chooseColumns, listColumns, sortRows } from '../../src/experiment/columns.ts'
import type { ExperimentRow } from '../../src/experiment/history.ts'
import type { Value } from '../../src/measure/values.ts'

interface Given {
  metrics?: Record<string, Value>
  params?: Record<string, Value>
  broken?: string
}

function row(name: string, { metrics, params, broken }: Given): ExperimentRow {
  const files = (file: string, values: Record<string, Value> | undefined) =>
    new Map(values ? [[file, new Map(Object.entries(values))]] : [])
  return {
    commit: undefined,
    names: [name],
    isHead: false,
    metrics: files('m.json', metrics),
    params: files('params.yaml', params),
    problems: broken ? [{ file: broken, code: 'METRICS_INVALID', message: 'broken' }] : [],
  }
}

const labels = (rows: ExperimentRow[], choice = {}) => chooseColumns(rows, choice).map((column) => column.label)
const names = (rows: ExperimentRow[]) => rows.map((item) => item.names[0])

describe('columns', () => {
  const a = row('a', { metrics: { acc: 0.9, n: 5 }, params: { lr: 0.1, seed: 7 } })
  const b = row('b', { metrics: { acc: 0.8, n: 5 }, params: { lr: 0.1, seed: 8 } })

  it('are what differs between the rows, metrics first', () => {
    expect(labels([a, b])).toEqual(['acc', 'seed'])
  })

  it('are all of them under two rows, when nothing differs, or when asked', () => {
    const all = ['acc', 'n', 'lr', 'seed']
    expect(labels([a])).toEqual(all)
    expect(labels([a, a])).toEqual(all)
    expect(labels([a, b], { all: true })).toEqual(all)
    expect(labels([])).toEqual([])
  })

  it('a value that a row lacks differs; one that could not be read does not', () => {
    expect(labels([a, row('c', { params: { lr: 0.1, seed: 7 } })])).toEqual(['acc', 'n'])
    expect(labels([a, row('c', { params: { lr: 0.1, seed: 9 }, broken: 'm.json' })])).toEqual(['seed'])
  })

  it('--keep and --drop take globs over keys and files', () => {
    expect(labels([a, b], { keep: ['l?'] })).toEqual(['acc', 'lr', 'seed'])
    expect(labels([a, b], { drop: ['*'] })).toEqual([])
    expect(labels([a, b], { drop: ['params.yaml:*'] })).toEqual(['acc'])
    expect(labels([a, b], { drop: ['*'], keep: ['n'] })).toEqual(['n'])
  })

  it('carry the file in their name where a key stands in two files', () => {
    const both = row('x', { metrics: { loss: 1, only: 2 }, params: { loss: 'l2' } })
    expect(listColumns([both]).map((column) => column.label)).toEqual(['m.json:loss', 'only', 'params.yaml:loss'])
  })
})

describe('sorting', () => {
  const rows = [
    row('mid', { metrics: { acc: 0.5, 'f1-desc': 1 } }),
    row('none', {}),
    row('nan', { metrics: { acc: Number.NaN } }),
    row('top', { metrics: { acc: 0.9, 'f1-desc': 2 } }),
    row('low', { metrics: { acc: -1 } }),
  ]

  it('goes up, or down with -desc; rows without a value come last', () => {
    expect(names(sortRows(rows, 'acc'))).toEqual(['low', 'mid', 'top', 'none', 'nan'])
    expect(names(sortRows(rows, 'acc-desc'))).toEqual(['top', 'mid', 'low', 'none', 'nan'])
    expect(names(sortRows(rows, 'm.json:acc-asc'))).toEqual(['low', 'mid', 'top', 'none', 'nan'])
  })

  it('a key that ends in -desc is itself first', () => {
    expect(names(sortRows(rows, 'f1-desc')).slice(0, 2)).toEqual(['mid', 'top'])
    expect(names(sortRows(rows, 'f1-desc-desc')).slice(0, 2)).toEqual(['top', 'mid'])
  })

  it('refuses a key that no row has, and names those there are', () => {
    expect(() => sortRows(rows, 'loss-desc')).toThrow(
      expect.objectContaining({
        code: 'USAGE',
        message: expect.stringContaining('"loss"'),
        hint: expect.stringContaining('acc'),
      }),
    )
  })
})
