import { expect, it } from 'vitest'
import type { RepoPath } from '../../src/base/paths.ts'
import { affectedStages } from '../../src/pipeline/affected.ts'
import { buildGraph } from '../../src/pipeline/graph.ts'
import { parsePipeline } from '../../src/pipeline/schema.ts'

const YAML = `stages:
  whole: {cmd: x, deps: [raw], outs: [w]}
  part: {cmd: x, deps: [raw/sub], outs: [p]}
  param: {cmd: x, params: [{raw/p.yaml: [k]}], outs: [q]}
  after: {cmd: x, deps: [p], outs: [a]}
  cold: {cmd: x, deps: [raw], outs: [c], frozen: true}
  behind: {cmd: x, deps: [c], outs: [b]}
  beside: {cmd: x, deps: [rawer], outs: [d]}
`

it.each([
  [['raw'], ['whole', 'part', 'param', 'after']],
  [['raw/sub/x'], ['whole', 'part', 'after']],
  [['raw/p.yaml'], ['whole', 'param']],
  [
    ['raw/other', 'rawer'],
    ['whole', 'beside'],
  ],
  [['p'], ['after']],
  [[], []],
])('a change of %j runs %j again', async (changed, names) => {
  const graph = buildGraph(await parsePipeline(YAML, async () => Buffer.from('k: 1\n')))
  expect(affectedStages(graph, changed as RepoPath[]).sort()).toEqual([...names].sort())
})
