import { expect, it } from 'vitest'
import { makeRepo } from '../helpers/repo.ts'

const DIAMOND = `stages:
  prepare: {cmd: x, outs: [data]}
  train: {cmd: x, deps: [data], outs: [model]}
  score: {cmd: x, deps: [data], outs: [scores]}
  report: {cmd: x, deps: [model, scores]}
`

it('draws a diamond', async () => {
  const repo = await makeRepo({ 'mlv.yaml': DIAMOND }, { init: true })
  expect((await repo.mlv('dag')).stdout).toBe(`      ┌─────────┐
      │ prepare │
      └────┬────┘
     ┌─────┴─────┐
     ▼           ▼
 ┌───────┐   ┌───────┐
 │ train │   │ score │
 └───┬───┘   └───┬───┘
     └─────┬─────┘
           ▼
      ┌────────┐
      │ report │
      └────────┘
`)
})

it('writes Mermaid, DOT and JSON, and keeps to the stages asked for', async () => {
  const repo = await makeRepo({ 'mlv.yaml': DIAMOND }, { init: true })
  expect((await repo.mlv('dag', '--mermaid', 'train')).stdout).toBe('flowchart TD\n  s1["prepare"]\n  s2["train"]\n  s1 --> s2\n')
  expect((await repo.mlv('dag', '--dot', 'train')).stdout).toBe(
    'digraph pipeline {\n  node [shape=box];\n  "prepare";\n  "train";\n  "prepare" -> "train";\n}\n',
  )
  expect(JSON.parse((await repo.mlv('dag', '--json')).stdout).stages[3]).toEqual({ stage: 'report', after: ['train', 'score'] })
  expect(await repo.mlv('dag', 'nope')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('no stage "nope"') })
})

it('lists a graph too wide to draw', async () => {
  const stages = Array.from({ length: 40 }, (_, i) => `  a-long-name-${i}: {cmd: x, deps: [data], outs: [o${i}]}`)
  const repo = await makeRepo(
    { 'mlv.yaml': `stages:\n  prepare: {cmd: x, outs: [data]}\n${stages.join('\n')}\n` },
    { init: true },
  )
  expect((await repo.mlv('dag')).stdout.split('\n')[40]).toBe('a-long-name-39  after prepare')
})
