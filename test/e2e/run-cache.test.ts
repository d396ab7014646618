import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { makeRepo, type Repo } from '../helpers/repo.ts'

/** Counts its runs in a file outside of the pipeline, so that a test sees whether the command really ran. */
const PIPELINE = `stages:
  train:
    cmd: echo x >> "$RUNS" && cat params.yaml > model && echo '{"acc":1}' > m.json
    deps: [data.txt]
    params: [lr]
    outs: [model]
    metrics: [m.json]
`

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mlv-runs-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function makePipeline(options: { pipeline?: string; env?: Record<string, string> } = {}) {
  const folder = scratch()
  const runs = join(folder, 'runs')
  writeFileSync(runs, '')
  const env = { RUNS: runs, ...options.env }
  const files = { 'mlv.yaml': options.pipeline ?? PIPELINE, 'data.txt': 'd\n', 'params.yaml': 'lr: 1\n' }
  const repo = await makeRepo(files, { init: true, env })
  return { repo, env, remote: join(folder, 'remote'), ran: () => readFileSync(runs, 'utf8').length / 2 }
}

async function reproWith(repo: Repo, lr: number, ...args: string[]): Promise<string> {
  repo.write('params.yaml', `lr: ${lr}\n`)
  const result = await repo.mlv('repro', ...args)
  expect(result).toMatchObject({ exitCode: 0, stderr: '' })
  return result.stdout
}

/** Every record below a store, absolute. */
function records(store: string): string[] {
  return readdirSync(join(store, 'runs'), { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath, item.name))
}

it('takes back a result whose inputs have been run before, in git and out of it', async () => {
  const { repo, ran } = await makePipeline()
  await reproWith(repo, 1)
  await reproWith(repo, 2)
  expect(await reproWith(repo, 1)).toContain('restored    train  from the run cache (params.yaml: lr 2 → 1)')
  expect(ran()).toBe(2)
  expect([repo.read('model'), repo.read('m.json')]).toEqual(['lr: 1\n', '{"acc":1}\n'])
  expect(await reproWith(repo, 1)).toContain('unchanged   train')
})

it.each(['--no-run-cache', '--force'])('runs with %s', async (option) => {
  const { repo, ran } = await makePipeline()
  await reproWith(repo, 1)
  await reproWith(repo, 2)
  await reproWith(repo, 1, option)
  expect(ran()).toBe(3)
})

it.each([
  ['always runs', PIPELINE.replace('deps:', 'always: true\n    deps:')],
  ['keeps its out', PIPELINE.replace('outs: [model]', 'outs: [{model: {persist: true}}]')],
  ['has no outs', PIPELINE.replace('    outs: [model]\n    metrics: [m.json]\n', '')],
])('never stands in for a stage that %s', async (_what, pipeline) => {
  const { repo, ran } = await makePipeline({ pipeline })
  await reproWith(repo, 1)
  await reproWith(repo, 2)
  await reproWith(repo, 1)
  expect(ran()).toBe(3)
})

it('gets what a colleague has run and pushed', async () => {
  const { repo, env, remote, ran } = await makePipeline()
  await repo.mlv('remote', 'add', 'team', remote)
  await reproWith(repo, 2)
  await repo.commit('two')
  expect(JSON.parse((await repo.mlv('push', '--json')).stdout)).toMatchObject({ runs: 1 })
  expect(JSON.parse((await repo.mlv('push', '--json')).stdout)).toMatchObject({ runs: 0 })
  const other = await makeRepo({ 'mlv.yaml': PIPELINE, 'data.txt': 'd\n' }, { init: true, env })
  await other.mlv('remote', 'add', 'team', remote)
  expect(await reproWith(other, 2)).toContain('restored    train  from the run cache (never ran)')
  expect(other.read('m.json')).toBe('{"acc":1}\n')
  expect(ran()).toBe(1)
})

it('push and pull carry the records of all runs, also of stages whose outs git keeps, and ask nothing where all are known', async () => {
  const pipeline = `stages:
  count: {cmd: 'echo x >> "$RUNS" && cat params.yaml > n.json', deps: [data.txt], params: [lr], metrics: [n.json]}
  train: {cmd: 'echo x >> "$RUNS" && cat params.yaml > model', deps: [data.txt], params: [lr], outs: [model]}
`
  const { repo, env, remote, ran } = await makePipeline({ pipeline })
  const clone = await makeRepo({}, { env })
  await repo.mlv('remote', 'add', 'team', remote, '--local')
  await reproWith(repo, 1)
  await repo.commit('one')
  expect(JSON.parse((await repo.mlv('push', '--json')).stdout)).toMatchObject({ runs: 2 })
  expect(records(remote)).toHaveLength(2)
  await clone.git('pull', '-q', repo.dir, 'main')
  await clone.mlv('remote', 'add', 'team', remote, '--local')
  expect(JSON.parse((await clone.mlv('pull', '--json')).stdout)).toMatchObject({ runs: 2, missing: [] })
  expect(JSON.parse((await clone.mlv('pull', '--json')).stdout)).toMatchObject({ runs: 0 })
  expect(records(clone.path('.git/mlv/store'))).toHaveLength(2)
  // Without any remote: the records and all outs are here.
  rmSync(remote, { recursive: true })
  expect((await clone.mlv('remote', 'remove', 'team', '--local')).exitCode).toBe(0)
  clone.write('params.yaml', 'lr: 2\n')
  rmSync(clone.path('mlv.lock'))
  const back = await reproWith(clone, 1)
  expect(back).toMatch(/restored {4}count .*\nrestored {4}train /)
  expect([ran(), clone.read('n.json'), clone.read('model')]).toEqual([2, 'lr: 1\n', 'lr: 1\n'])
})

it('a record that lies is passed over by pull, and one whose outs are gone', async () => {
  const { repo, remote } = await makePipeline()
  await repo.mlv('remote', 'add', 'team', remote)
  await reproWith(repo, 1)
  await repo.commit('one')
  await repo.mlv('push')
  const [record] = records(remote)
  const text = readFileSync(record!, 'utf8')
  rmSync(record!)
  writeFileSync(record!, text.replace('model', 'other'))
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'team', remote)
  expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(() => records(clone.path('.git/mlv/store'))).toThrow('ENOENT')
})

it.each([
  ['calls a file a folder', (text: string) => text.replace('"kind": "file"', '"files": 1, "kind": "tree"')],
  ['names what is nowhere', (text: string) => text.replace(/"oid": "[0-9a-f]{8}/, '"oid": "00000000')],
])('pull takes the other records where one %s', async (_what, edit) => {
  const stage = (name: string) => `  ${name}: {cmd: cp data.txt ${name}.txt, deps: [data.txt], outs: [${name}.txt]}\n`
  const { repo, remote } = await makePipeline({ pipeline: `stages:\n${stage('a')}${stage('b')}` })
  await repo.mlv('remote', 'add', 'team', remote)
  await reproWith(repo, 1)
  await repo.commit('one')
  await repo.mlv('push')
  const lying = records(remote).find((path) => readFileSync(path, 'utf8').includes('a.txt'))!
  const text = edit(readFileSync(lying, 'utf8'))
  rmSync(lying)
  const { createHash } = await import('node:crypto')
  writeFileSync(join(lying, '..', createHash('sha256').update(text).digest('hex')), text)
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'team', remote)
  const pulled = await clone.mlv('pull', '--json')
  expect(pulled).toMatchObject({ exitCode: 0, stderr: '' })
  expect(JSON.parse(pulled.stdout)).toMatchObject({ runs: 1 })
  expect(records(clone.path('.git/mlv/store')).map((path) => readFileSync(path, 'utf8'))).toEqual([
    expect.stringContaining('b.txt'),
  ])
})

it('reads only the scopes it is told to', async () => {
  const { repo, env, remote, ran } = await makePipeline({ env: { MLV_RUN_CACHE_WRITE: 'fork' } })
  await repo.mlv('remote', 'add', 'team', remote)
  await reproWith(repo, 1)
  await repo.commit('one')
  await repo.mlv('push')
  expect(records(remote).every((path) => path.startsWith(join(remote, 'runs', 'fork')))).toBe(true)
  const clone = async (scopes: Record<string, string>) => {
    const other = await makeRepo({ 'mlv.yaml': PIPELINE, 'data.txt': 'd\n' }, { init: true, env: { ...env, ...scopes } })
    await other.mlv('remote', 'add', 'team', remote)
    return reproWith(other, 1)
  }
  expect(await clone({ MLV_RUN_CACHE_WRITE: 'main' })).toContain('ran ')
  expect(await clone({ MLV_RUN_CACHE_WRITE: 'main', MLV_RUN_CACHE_READ: 'fork,main' })).toContain('restored ')
  expect(ran()).toBe(2)
})

it('keeps what it takes in the scope of whoever made it, so that a push passes on nothing that others do not believe', async () => {
  const { repo, env, remote, ran } = await makePipeline({ env: { MLV_RUN_CACHE_WRITE: 'fork' } })
  await repo.mlv('remote', 'add', 'team', remote)
  await reproWith(repo, 1)
  await repo.commit('one')
  await repo.mlv('push')
  const files = { 'mlv.yaml': PIPELINE, 'data.txt': 'd\n' }
  const other = await makeRepo(files, { init: true, env: { ...env, MLV_RUN_CACHE_WRITE: 'main' } })
  await other.mlv('remote', 'add', 'team', remote)
  const trusting = { env: { MLV_RUN_CACHE_READ: 'fork' } }
  other.write('params.yaml', repo.read('params.yaml'))
  expect((await other.mlvWith(trusting, 'repro')).stdout).toContain('restored ')
  await other.commit('one')
  expect(await other.mlvWith(trusting, 'push')).toMatchObject({ exitCode: 0 })
  const below = (store: string) => [...new Set(records(store).map((path) => relative(store, path).split('/')[1]))]
  expect([below(other.path('.git/mlv/store')), below(remote)]).toEqual([['fork'], ['fork']])
  // What was believed once is not believed for ever.
  rmSync(other.path('mlv.lock'))
  expect((await other.mlv('repro')).stdout).toContain('ran ')
  expect(ran()).toBe(2)
})

it.each([
  ['cut', (text: string) => text.slice(0, 40)],
  ['of another key', (text: string) => text.replace(/"key": ?"[0-9a-f]{4}/, '"key": "0000')],
  ['naming a path outside', (text: string) => text.replaceAll('"model"', '"../model"')],
  ['naming objects that are nowhere', (text: string) => text.replaceAll(/"oid": ?"[0-9a-f]{8}/g, '"oid": "00000000')],
  ['no JSON', () => 'hello'],
])('runs where the record is %s', async (_what, edit) => {
  const { repo, ran } = await makePipeline()
  await reproWith(repo, 1)
  const [record] = records(repo.path('.git/mlv/store'))
  await reproWith(repo, 2)
  const text = edit(readFileSync(record!, 'utf8'))
  rmSync(record!)
  // Under the name that its bytes have, as somebody with bad intent would write it.
  const { createHash } = await import('node:crypto')
  writeFileSync(join(record!, '..', createHash('sha256').update(text).digest('hex')), text)
  await reproWith(repo, 1)
  expect(ran()).toBe(3)
})

it('takes no more than one miss from a record of the remote that calls a file a folder', async () => {
  const stage = (name: string) =>
    `  ${name}: {cmd: 'echo x >> "$RUNS" && cp data.txt ${name}.txt', deps: [data.txt], outs: [${name}.txt]}\n`
  const pipeline = `stages:\n${stage('a')}${stage('b')}`
  const { repo, env, remote, ran } = await makePipeline({ pipeline })
  await repo.mlv('remote', 'add', 'team', remote)
  await reproWith(repo, 1)
  await repo.commit('one')
  await repo.mlv('push')
  const { createHash } = await import('node:crypto')
  const lying = records(remote).find((path) => readFileSync(path, 'utf8').includes('a.txt'))!
  const text = readFileSync(lying, 'utf8').replace('"kind": "file"', '"files": 1, "kind": "tree"')
  rmSync(lying)
  writeFileSync(join(lying, '..', createHash('sha256').update(text).digest('hex')), text)
  const other = await makeRepo({ 'mlv.yaml': pipeline, 'data.txt': 'd\n' }, { init: true, env })
  await other.mlv('remote', 'add', 'team', remote)
  const out = await reproWith(other, 1)
  expect(out).toContain('ran         a')
  expect(out).toContain('restored    b  from the run cache')
  expect(ran()).toBe(3)
})

it('runs where the record gives a size that its object does not have', async () => {
  const { repo, ran } = await makePipeline()
  await reproWith(repo, 1)
  const [record] = records(repo.path('.git/mlv/store'))
  await reproWith(repo, 2)
  const text = readFileSync(record!, 'utf8').replaceAll(/"size": ?\d+/g, '"size": 99999')
  rmSync(record!)
  const { createHash } = await import('node:crypto')
  writeFileSync(join(record!, '..', createHash('sha256').update(text).digest('hex')), text)
  repo.write('params.yaml', 'lr: 1\n')
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('passed over') })
  expect(ran()).toBe(3)
})

it('goes on without a remote that cannot be asked', async () => {
  const { repo, ran } = await makePipeline()
  await repo.mlv('remote', 'add', 'team', 'http://127.0.0.1:1/store')
  repo.write('params.yaml', 'lr: 1\n')
  const result = await repo.mlv('repro')
  expect(result.exitCode).toBe(0)
  expect(result.stderr).toMatch(/^warning: the remote's run cache cannot be asked, going on without it: .*\n$/)
  expect(ran()).toBe(1)
})
