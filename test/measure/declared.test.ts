import { describe, expect, it } from 'vitest'
import type { RepoPath } from '../../src/base/paths.ts'
import { declaredByDefault, expandDeclared, narrowDeclared, parseDeclared } from '../../src/measure/declared.ts'

const paths = (files: { path: string }[]) => files.map((file) => file.path)

const ITEM = '${item}'

const PIPELINE = `
stages:
  train:
    cmd: python train.py
    params: [train, {eval.yaml: [threshold, other]}, {whole.toml: }]
    metrics: [metrics/train.json, {big.json: {git: false}}]
    plots: [plots/loss.jsonl]
  sub:
    wdir: sub/
    params: [a]
    metrics: [../up.json, ./own.json, ../../out.json]
    plots: {curve.csv: {x: step}}
  each:
    foreach: [a, b]
    do:
      cmd: x
      params: [{"conf/\${item}.yaml": [lr]}]
      metrics: ["metrics/\${item}.json"]
metrics:
  metrics/train.json:
    accuracy: {goal: max, tolerance: 0.002, min: 0.9}
    val.loss: {goal: min, select: min}
  more.csv:
`

describe('what mlv.yaml names', () => {
  it('lists params, metrics and plots of all stages, from their folders', () => {
    const declared = parseDeclared(PIPELINE, 'mlv.yaml')
    expect(declared.params).toMatchObject([
      { path: 'params.yaml', keys: undefined },
      { path: 'eval.yaml', keys: ['threshold', 'other'] },
      { path: 'whole.toml', keys: undefined },
      { path: 'sub/params.yaml', keys: undefined },
      { path: `conf/${ITEM}.yaml`, keys: ['lr'] },
    ])
    expect(paths(declared.metrics)).toEqual([
      'metrics/train.json',
      'big.json',
      'up.json',
      'sub/own.json',
      `metrics/${ITEM}.json`,
      'more.csv',
    ])
    expect(declared.metrics.filter((file) => !file.inGit)).toMatchObject([{ path: 'big.json' }])
    expect(paths(declared.plots)).toEqual(['plots/loss.jsonl', 'sub/curve.csv'])
    expect(declared.rules.get('metrics/train.json')).toEqual(
      new Map([
        ['accuracy', { goal: 'max', tolerance: 0.002, min: 0.9 }],
        ['val.loss', { goal: 'min', select: 'min' }],
      ]),
    )
    expect(declared.warnings).toEqual([])
  })

  it('a templated path stands for the files that exist', () => {
    const declared = parseDeclared(PIPELINE, 'mlv.yaml')
    const existing = ['metrics/train.json', 'metrics/a.json', 'metrics/deep/b.json', 'metrics/a.json.bak', 'params.yaml']
    expect(paths(expandDeclared(declared.metrics, existing))).toEqual([
      'metrics/train.json',
      'big.json',
      'up.json',
      'sub/own.json',
      'more.csv',
      'metrics/a.json',
    ])
    expect(expandDeclared(declared.params, ['conf/a.yaml']).at(-1)).toEqual({ path: 'conf/a.yaml', keys: ['lr'], inGit: true })
  })

  it('says what it leaves out of a rule, with the place', () => {
    const declared = parseDeclared('metrics:\n  m.json:\n    acc: {goal: up, min: 0.5}\n', 'mlv.yaml')
    expect(declared.warnings).toEqual(['mlv.yaml:3:10: goal: "up" is not understood and left out'])
    expect(declared.rules.get('m.json')!.get('acc')).toEqual({ min: 0.5 })
  })

  it.each([
    '',
    'stages:\n',
    'stages: [1]\n',
    'just text',
    'stages:\n  a: 1\n  b: {metrics: 3, params: {x: 1}}\n',
    'metrics: 5\n',
    '- 1\n',
  ])('tolerates %j', (text) => {
    expect(parseDeclared(text, 'mlv.yaml')).toMatchObject({ params: declaredByDefault().params, metrics: [], rules: new Map() })
  })

  it('targets keep files by name or folder, and add what mlv.yaml does not name', () => {
    const { metrics } = parseDeclared(PIPELINE, 'mlv.yaml')
    const narrow = (...targets: string[]) => paths(narrowDeclared(metrics, targets as RepoPath[]))
    expect(narrow('sub', 'other.json')).toEqual(['sub/own.json', 'other.json'])
    expect(narrow('up.json')).toEqual(['up.json'])
    expect(narrow()).toHaveLength(metrics.length)
  })
})
