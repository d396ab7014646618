import { expect, it } from 'vitest'
import { makeRepo } from '../helpers/repo.ts'

const TWO = `# what we run
stages:
  prep: {cmd: cp in.txt mid.txt, deps: [in.txt], outs: [mid.txt]}
  train: {cmd: cat mid.txt params.yaml > model, deps: [mid.txt], params: [lr], outs: [model]} # slow
`

async function makePipeline(yaml = TWO) {
  const repo = await makeRepo({ 'mlv.yaml': yaml, 'in.txt': 'a\n', 'params.yaml': 'lr: 1\n' }, { init: true })
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0 })
  return repo
}

it('freezes stages and lets them go, and keeps comments', async () => {
  const repo = await makePipeline()
  expect((await repo.mlv('freeze', 'prep')).stdout).toBe('froze prep\nto commit: git add mlv.yaml\n')
  expect(repo.read('mlv.yaml')).toContain('# what we run')
  expect(repo.read('mlv.yaml')).toContain('# slow')
  repo.write('in.txt', 'b\n')
  expect((await repo.mlv('repro')).stdout).toBe('frozen      prep\nunchanged   train\n')
  expect((await repo.mlv('freeze', 'prep')).stdout).toBe('nothing changed\n')
  await repo.mlv('unfreeze', 'prep')
  expect(repo.read('mlv.yaml')).toBe(TWO)
  expect(await repo.mlv('freeze', 'nope')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('mlv.yaml has no stage "nope"'),
  })
})

it('marks in the graph what would run', async () => {
  const repo = await makePipeline()
  repo.write('params.yaml', 'lr: 2\n')
  const { stdout } = await repo.mlv('dag', '--status')
  expect(stdout).toContain('│ ✓ prep │')
  expect(stdout).toContain('│ ● train │')
  expect(JSON.parse((await repo.mlv('dag', '--status', '--json')).stdout).stages).toEqual([
    { stage: 'prep', after: [], state: 'unchanged' },
    { stage: 'train', after: ['prep'], state: 'run' },
  ])
  expect((await repo.mlv('dag', '--status', '--mermaid')).stdout).toContain('["train"]:::run')
  expect((await repo.mlv('dag', '--status', '--dot')).stdout).toContain('"train" [style=filled, fillcolor="#ffe0b2"];')
  repo.write('mlv.yaml', TWO.replace('[mid.txt]}', '[mid.txt], colour: red}'))
  expect((await repo.mlv('dag', '--status')).stderr.match(/unknown key "colour"/g)).toHaveLength(1)
})

it('explains every reason with its old and new value', async () => {
  const repo = await makePipeline()
  repo.write('params.yaml', 'lr: 2\n')
  repo.write('in.txt', 'bb\n')
  const { stdout } = await repo.mlv('repro', '--dry-run', '--explain')
  expect(stdout).toMatch(/in\.txt changed: [0-9a-f]{12} \(2 bytes\) → [0-9a-f]{12} \(3 bytes\)/)
  expect(stdout).toContain('params.yaml: lr 1 → 2')
  expect(await repo.mlv('repro', '--explain')).toMatchObject({ exitCode: 2 })
})

it('runs commands with the shell that is named, and again when that changes', async () => {
  const yaml = `stages:\n  a: {cmd: "false | true; echo [[ > out", outs: [out], shell: bash -eo pipefail}\n`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  expect((await repo.mlv('repro')).stderr).toContain('Stage "a" failed: exit status 1')
  repo.write('mlv.yaml', yaml.replace('bash -eo pipefail', 'bash'))
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0 })
  repo.write('mlv.yaml', yaml.replace(', shell: bash -eo pipefail', ''))
  expect((await repo.mlv('repro', '--dry-run')).stdout).toContain('(shell bash → /bin/sh)')
  repo.write('mlv.yaml', yaml.replace('bash -eo', 'no-such-shell -eo'))
  const refused = await repo.mlv('repro')
  expect(refused.stderr).toContain('Stage "a" failed: no-such-shell -eo pipefail could not be started')
  expect(refused.stderr).toContain('may be executed (mlv.yaml:2:12: false')
})

it('gives a named shell all variables, also those whose names are none to the shell of the system', async () => {
  const yaml = `stages:\n  a: {cmd: "printenv my.var; say", outs: [], always: true, shell: bash}\n`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  const env = { 'my.var': 'a value', 'BASH_FUNC_say%%': '() { echo said; }' }
  expect((await repo.mlvWith({ env }, 'repro')).stdout).toContain('\na value\nsaid\n')
})

it('names a shell that may not be executed, and tries it once', async () => {
  const yaml = 'stages:\n  a: {cmd: "true", outs: [out], shell: ./shell, retry: 3}\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, shell: '#!/bin/sh\n' }, { init: true })
  const { exitCode, stderr } = await repo.mlv('repro')
  expect(exitCode).not.toBe(0)
  expect(stderr).toContain('./shell could not be started')
  expect(stderr).not.toContain('trying again')
})

it('ends the line that a command has begun before it says more', async () => {
  const yaml = 'stages:\n  a: {cmd: "printf half; touch out", outs: [out]}\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  expect((await repo.mlv('repro')).stdout).toMatch(/^running {5}a {2}\(never ran\)\nhalf\nran {9}a /)
  repo.write('mlv.yaml', 'stages:\n  a: {cmd: "printf half >&2; exit 3", outs: [out], retry: 1}\n')
  expect((await repo.mlv('repro')).stderr).toMatch(/^half\nwarning: .*trying again \(1 of 1\)\nhalf\nerror: /)
})

it("takes a notebook's sources as input, not its outputs", async () => {
  const notebook = (source: string, output: string) =>
    JSON.stringify({
      nbformat: 4,
      cells: [{ cell_type: 'code', source: [source], outputs: [{ text: output }], execution_count: 3 }],
    })
  const repo = await makeRepo(
    { 'mlv.yaml': 'stages:\n  run: {cmd: touch out, deps: [a.ipynb], outs: [out]}\n', 'a.ipynb': notebook('x = 1', '') },
    { init: true },
  )
  await repo.mlv('repro')
  repo.write('a.ipynb', notebook('x = 1', 'printed'))
  expect((await repo.mlv('repro')).stdout).toBe('unchanged   run\n')
  repo.write('a.ipynb', notebook('x = 2', 'printed'))
  expect((await repo.mlv('repro', '--dry-run')).stdout).toContain('would run   run  (a.ipynb changed')
  repo.write('a.ipynb', 'no notebook')
  expect((await repo.mlv('repro', '--dry-run')).stdout).toContain('would run   run  (a.ipynb changed')
})
