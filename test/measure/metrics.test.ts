import { describe, expect, it } from 'vitest'
import { type MetricRule, readMetrics } from '../../src/measure/metrics.ts'
import { readPlotRows } from '../../src/measure/plots.ts'

const read = (path: string, text: string, rules: Record<string, MetricRule> = {}) =>
  Object.fromEntries(readMetrics(Buffer.from(text), path, new Map(Object.entries(rules))))

describe('metrics files', () => {
  it.each([
    ['m.json', '{"acc": 0.9, "class": {"cat": {"f1": 0.5}}, "model": "tree", "ok": true}'],
    ['m.yaml', 'acc: 0.9\nclass:\n  cat: {f1: 0.5}\nmodel: tree\nok: true\n'],
    ['m.toml', 'acc = 0.9\nmodel = "tree"\nok = true\n[class.cat]\nf1 = 0.5\n'],
    ['metrics', 'acc: 0.9\nclass:\n  cat:\n    f1: 0.5\nmodel: tree\nok: true\n'],
  ])('%s: nested keys get dots, text and booleans stay', (path, text) => {
    expect(read(path, text)).toEqual({ acc: 0.9, 'class.cat.f1': 0.5, model: 'tree', ok: true })
  })

  it.each([
    ['m.csv', 'epoch,loss,val\n1,0.9,0.8\n2,0.5,\n3,0.7,\n'],
    ['m.csv', 'epoch,loss,val\r\n1,"0.9",0.8\r\n2,0.5\r\n\r\n3,0.7,'],
    ['m.tsv', 'epoch\tloss\tval\n1\t0.9\t0.8\n2\t0.5\t\n3\t0.7\t\n'],
    ['m.jsonl', '{"epoch": 1, "loss": 0.9, "val": 0.8}\n{"epoch": 2, "loss": 0.5}\n\n{"epoch": 3, "loss": 0.7, "val": null}\n'],
    ['m.json', '[{"epoch": 1, "loss": 0.9, "val": 0.8}, {"epoch": 2, "loss": 0.5}, {"epoch": 3, "loss": 0.7}]'],
  ])('%s is a history: the last non-empty value per column, or what select says', (path, text) => {
    expect(read(path, text)).toEqual({ epoch: 3, loss: 0.7, val: 0.8 })
    expect(read(path, text, { loss: { select: 'min' }, epoch: { select: 'first' } })).toEqual({ epoch: 1, loss: 0.5, val: 0.8 })
    expect(read(path, text, { loss: { select: 'max' } })).toMatchObject({ loss: 0.9 })
  })

  it('shows a NaN as the last value and passes over it for min and max', () => {
    const text = 'loss\n0.5\nnan\n0.7\nNaN\n'
    expect(read('m.csv', text)).toEqual({ loss: Number.NaN })
    expect(read('m.csv', text, { loss: { select: 'min' } })).toEqual({ loss: 0.5 })
    expect(read('m.csv', text, { loss: { select: 'max' } })).toEqual({ loss: 0.7 })
    expect(read('m.csv', 'loss\nnan\n', { loss: { select: 'max' } })).toEqual({ loss: Number.NaN })
  })

  it("reads what Python's json writes for numbers that JSON has not", () => {
    expect(read('m.json', '{"a": NaN, "b": -Infinity, "c": [Infinity, 1]}')).toEqual({
      a: Number.NaN,
      b: -Infinity,
      c: [Infinity, 1],
    })
    expect(read('m.jsonl', '{"a": 1}\n{"a": NaN}\n')).toEqual({ a: Number.NaN })
  })

  it('a list of numbers is one value, or with select one of them', () => {
    expect(read('m.json', '{"loss": [3, 1, 2]}')).toEqual({ loss: [3, 1, 2] })
    expect(read('m.json', '{"loss": [3, 1, 2]}', { loss: { select: 'min' } })).toEqual({ loss: 1 })
  })

  it('a file may hold one number alone, or nothing', () => {
    expect(read('auc.txt', '0.93\n')).toEqual({ '': 0.93 })
    expect(read('m.csv', '')).toEqual({})
    expect(read('m.csv', 'a,b\n')).toEqual({})
    expect(read('m.jsonl', '\n')).toEqual({})
  })

  it('quoted cells hold separators, quotes and line ends; a column without a name is an index', () => {
    expect(read('m.csv', ',note,acc\n0,"a, ""b""\nc",.5\n')).toEqual({ note: 'a, "b"\nc', acc: 0.5 })
  })

  it.each([
    ['m.json', '{"a": 1,}', /^m\.json:1:9: a string is due, not "}"$/],
    ['m.json', '', /^m\.json:1:1: the file ends where a value is due$/],
    ['m.yaml', 'a: 1\na: 2\n', /^m\.yaml:2:1: /],
    ['m.csv', 'a,b\n1,2\n3,4,5\n', /^m\.csv:3: 3 cells under 2 columns$/],
    ['m.csv', 'a,b\n1,"2\n', /^m\.csv:2: a quote is never closed$/],
    ['m.csv', 'a,b\n1,"2"3\n', /^m\.csv:2: text stands after a closing quote$/],
    ['m.csv', 'a,a\n1,2\n', /^m\.csv:1: two columns are named "a"$/],
    ['m.jsonl', '{"a": 1}\n{"a": \n', /^m\.jsonl:2:7: /],
    ['m.jsonl', '{"a": 1}\n[2]\n', /^m\.jsonl:2: each line must be a JSON map$/],
  ])('%s with %j is refused with its place', (path, text, message) => {
    expect(() => read(path, text)).toThrow(
      expect.objectContaining({ code: 'METRICS_INVALID', message: expect.stringMatching(message) }),
    )
  })

  it('refuses bytes that are not UTF-8 and names the line', () => {
    expect(() => readMetrics(Buffer.from([...Buffer.from('a,b\n1,2\n'), 0xe9, 10]), 'm.csv')).toThrow('m.csv:3: not UTF-8 text')
  })
})

describe('plot data', () => {
  it.each([
    ['p.csv', 'step,loss\n1,0.5\n2,0.25\n'],
    ['p.jsonl', '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n'],
    ['p.json', '{"train": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], "note": "x"}'],
    ['p.yaml', '- {step: 1, loss: 0.5}\n- {step: 2, loss: 0.25}\n'],
  ])('%s gives its rows', (path, text) => {
    expect(readPlotRows(Buffer.from(text), path)).toEqual([
      { step: 1, loss: 0.5 },
      { step: 2, loss: 0.25 },
    ])
  })

  it('refuses what has no rows', () => {
    expect(() => readPlotRows(Buffer.from('{"a": 1}'), 'p.json')).toThrow('p.json: a plot needs')
    expect(() => readPlotRows(Buffer.from('x'), 'p.png')).toThrow('p.png: not plot data')
  })
})
