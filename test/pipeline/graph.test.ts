import { expect, it, test } from 'vitest'
import { buildGraph, reach } from '../../src/pipeline/graph.ts'
import { parsePipeline } from '../../src/pipeline/schema.ts'

const graphOf = async (yaml: string) => buildGraph(await parsePipeline(yaml))

const DIAMOND = `stages:
  report: {cmd: x, deps: [model, scores]}
  train: {cmd: x, deps: [data/train.csv], outs: [model]}
  score: {cmd: x, deps: [data], outs: [scores]}
  prepare: {cmd: x, deps: [raw], outs: [data]}
  lint: {cmd: x}
`

it('puts makers before readers and keeps the order of the file otherwise', async () => {
  const graph = await graphOf(DIAMOND)
  expect(graph.order).toEqual(['prepare', 'train', 'score', 'report', 'lint'])
  expect(graph.upstream.get('report')).toEqual(['train', 'score'])
  expect(graph.downstream.get('prepare')).toEqual(['train', 'score'])
})

it('joins by a folder that holds an out and by a param file that a stage writes', async () => {
  const graph = await graphOf(`stages:
  b: {cmd: x, deps: [build], params: [{made.yaml: [lr]}]}
  a: {cmd: x, outs: [build/a.bin]}
  p: {cmd: x, outs: [{made.yaml: {git: true}}]}
`)
  expect(graph.upstream.get('b')).toEqual(['a', 'p'])
})

it('walks a chain of 20,000 stages', async () => {
  const stages = Array.from({ length: 20_000 }, (_, i) => link(i))
  const graph = buildGraph({ stages: stages.reverse(), warnings: [] })
  expect(graph.order[0]).toBe('s0')
  expect(reach(graph, ['s0'], graph.downstream)).toHaveLength(20_000)
})

function link(i: number) {
  const at = '1:1'
  const deps = i === 0 ? [] : [{ path: `o${i - 1}` as never, at }]
  const outs = [{ path: `o${i}` as never, role: 'out' as const, persist: false, git: false, at }]
  return {
    name: `s${i}`,
    at,
    cmd: ['x'],
    cmdAt: at,
    wdir: '' as never,
    deps,
    outs,
    params: [],
    env: [],
    frozen: false,
    always: false,
    retry: 0,
    mutex: [],
    shell: '',
  }
}

test.each([
  [
    'a cycle, naming the loop',
    'a: {cmd: x, deps: [c], outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b]}\n  c: {cmd: x, deps: [b], outs: [c]}\n  d: {cmd: x, deps: [c]}',
    'wait for each other: a → b → c → a',
  ],
  [
    'one out of two stages',
    'a: {cmd: x, outs: [m]}\n  b: {cmd: x, outs: [m]}',
    'mlv.yaml:3:22: "m" is an out of stage "b" and of stage "a" (mlv.yaml:2:22)',
  ],
  [
    'one out twice in a stage',
    'a: {cmd: x, outs: [m], metrics: [m]}',
    'mlv.yaml:2:36: "m" is an out of stage "a" already (mlv.yaml:2:22)',
  ],
  [
    'an out within another',
    'a: {cmd: x, outs: [m]}\n  b: {cmd: x, outs: [m/x/y]}',
    'the out "m/x/y" of stage "b" lies within "m", an out of stage "a"',
  ],
  ['an out that is its own dep', 'a: {cmd: x, deps: [m], outs: [m]}', 'stage "a" reads "m" and writes it'],
  ['an out in its own dep folder', 'a: {cmd: x, deps: [src], outs: [src/gen]}', 'stage "a" reads "src" and writes it, or in it'],
])('refuses %s', async (_name, stages, message) => {
  await expect(graphOf(`stages:\n  ${stages}\n`)).rejects.toMatchObject({
    code: 'PIPELINE_INVALID',
    message: expect.stringContaining(message),
  })
})

it('names the stages there are when one is unknown', async () => {
  const graph = await graphOf(DIAMOND)
  expect(() => reach(graph, ['trian'], undefined)).toThrow('mlv.yaml has no stage "trian"')
  expect(reach(graph, ['train'], graph.upstream)).toEqual(['prepare', 'train'])
})
