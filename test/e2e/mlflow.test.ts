import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findMlflow, type MlflowServer, startMlflow } from '../helpers/mlflow-server.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { freePort } from '../helpers/server-process.ts'

const PIPELINE = `stages:
  train:
    cmd: cp params.yaml model.bin
    deps: [data.csv]
    params: [train]
    outs: [model.bin]
metrics:
  metrics.json: {}
`

const BIN = fileURLToPath(new URL('../../bin/mlv.js', import.meta.url))

interface Run {
  info: { status: string }
  data: { params: unknown[]; metrics: unknown[] }
}

/** A project with a main line of two results and an experiment branch; HEAD is main. */
async function makeHistory(): Promise<Repo> {
  const repo = await makeRepo(
    { 'mlv.yaml': PIPELINE, 'params.yaml': 'train:\n  lr: 0.1\n', 'metrics.json': '{"accuracy": 0.8, "f1 (macro)": 0.7}\n' },
    { init: true },
  )
  repo.write('data.csv', 'x\n1\n')
  await repo.mlv('add', 'data.csv')
  await repo.mlv('repro')
  await repo.commit('First result')
  repo.write('README.md', 'words\n')
  await repo.commit('Words only')
  repo.write('metrics.json', '{"accuracy": 0.85, "f1 (macro)": 0.75}\n')
  await repo.commit('Better features')
  await repo.git('switch', '-q', '-c', 'exp/fast')
  repo.write('params.yaml', 'train:\n  lr: 0.2\n')
  repo.write('metrics.json', '{"accuracy": NaN, "f1 (macro)": 0.5}\n')
  await repo.commit('Learn twice as fast')
  await repo.git('switch', '-q', 'main')
  return repo
}

describe('mlv mlflow export without a server', () => {
  it('plans with --dry-run, and says that it could not look', async () => {
    const repo = await makeHistory()
    const uri = `http://127.0.0.1:${await freePort()}`
    const plan = await repo.mlv('mlflow', 'export', '--tracking-uri', uri, '--dry-run')
    expect(plan.exitCode).toBe(0)
    expect(plan.stdout).toMatch(/create +[0-9a-f]{8} +Better features +1 param +2 metrics/)
    expect(plan.stdout).toMatch(/create +[0-9a-f]{8} +exp\/fast/)
    expect(plan.stdout).toMatch(/would export to experiment "repo" at http:\S+: 2 to create$/m)
    expect(plan.stderr).toMatch(/nothing listens there; every run counts as new/)
    const json = await repo.mlv('mlflow', 'export', '--tracking-uri', uri, '--dry-run', '--json', 'main', '--experiment', 'x')
    expect(JSON.parse(json.stdout)).toMatchObject({
      reachable: false,
      experiment: { name: 'x', id: null },
      runs: [{ outcome: 'create', params: 1 }],
    })
  })

  it.each([
    [['A..B', 'range'], ['HEAD~2..exp/fast'], ['Better features', 'exp/fast']],
    [['every', 'commit'], ['--all-commits'], ['First result', 'Better features', 'exp/fast']],
    [['one', 'commit'], ['HEAD~2'], ['First result']],
  ])('takes %s', async (_what, args, names) => {
    const repo = await makeHistory()
    // A port that no client may connect to: it fails without a try.
    const plan = await repo.mlv('mlflow', 'export', '--tracking-uri', 'http://127.0.0.1:1', '--dry-run', '--json', ...args)
    expect(JSON.parse(plan.stdout).runs.map((run: { name: string }) => run.name)).toEqual(names)
  })

  it('fails in one line with a mend', async () => {
    const repo = await makeHistory()
    const uri = `http://127.0.0.1:${await freePort()}`
    expect(await repo.mlv('mlflow', 'export', '--tracking-uri', uri)).toMatchObject({
      exitCode: 7,
      stdout: '',
      stderr: expect.stringMatching(
        /^(warning: .*\n)*error: MLflow at \S+ cannot be reached: nothing listens there\n {2}Start it .*\n$/,
      ),
    })
    expect(await repo.mlv('mlflow', 'export')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('MLFLOW_TRACKING_URI'),
    })
    expect(await repo.mlv('mlflow', 'export', '--tracking-uri', 'file:///tmp/mlruns')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('mlflow server'),
    })
    expect(await repo.mlv('mlflow', 'export', '--tracking-uri', uri, 'nope')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('no commit "nope"'),
    })
    expect(await repo.mlv('mlflow')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('mlv mlflow export --help') })
  })

  it('says so when a web page answers, and shows no credentials', async () => {
    const repo = await makeHistory()
    const page = createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<html>Log in</html>'))
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
    const { port } = page.address() as AddressInfo
    const failed = await repo.mlvWith(
      { env: { MLFLOW_TRACKING_URI: `http://ada:secret@127.0.0.1:${port}`, MLFLOW_TRACKING_TOKEN: 'secret' } },
      'mlflow',
      'export',
      '--verbose',
    )
    page.close()
    expect(failed).toMatchObject({ exitCode: 7, stderr: expect.stringContaining('answers with a web page (status 200)') })
    expect(failed.stdout + failed.stderr).not.toContain('secret')
  })
})

describe.skipIf(!findMlflow())('mlv mlflow export to a real MLflow', () => {
  let server: MlflowServer
  beforeAll(async () => {
    server = (await startMlflow())!
  })
  afterAll(() => server?.stop())

  async function readAll(experiment: string): Promise<Run[]> {
    const headers = { 'content-type': 'application/json' }
    const found = await fetch(`${server.uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=${experiment}`)
    const {
      experiment: { experiment_id: id },
    } = (await found.json()) as { experiment: { experiment_id: string } }
    const body = JSON.stringify({ experiment_ids: [id], run_view_type: 'ALL', order_by: ['attributes.run_id'] })
    const runs = await fetch(`${server.uri}/api/2.0/mlflow/runs/search`, { method: 'POST', headers, body })
    return ((await runs.json()) as { runs?: Run[] }).runs ?? []
  }

  it('sends HEAD and the experiments once, from whichever clone', async () => {
    const repo = await makeHistory()
    const experiment = `e2e-${process.pid}-${Date.now()}`
    const args = ['mlflow', 'export', '--tracking-uri', server.uri, '--experiment', experiment]
    const first = await repo.mlv(...args)
    expect(first).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/: 2 created\n$/) })
    expect(first.stderr).toContain('metric "f1 (macro)" is called "f1 _macro_" in MLflow')
    const before = await readAll(experiment)
    expect(before).toHaveLength(2)
    expect((await repo.mlv(...args)).stdout).toMatch(/^experiment ".*: 2 unchanged\n$/)
    const clone = await repo.clone()
    expect((await clone.mlv(...args)).stdout).toMatch(/^experiment ".*: 2 unchanged\n$/)
    expect(await readAll(experiment)).toEqual(before)
    expect((await repo.mlv(...args, '--all-commits')).stdout).toMatch(/: 1 created, 2 unchanged\n$/)
  })

  it('killed halfway is completed by the next, one run for each commit', async () => {
    const repo = await makeRepo({ 'mlv.yaml': PIPELINE }, { init: true })
    for (let i = 0; i < 12; i++) {
      repo.write('params.yaml', `train:\n  lr: ${i}\n`)
      repo.write('metrics.json', `{"accuracy": ${i}}`)
      await repo.commit(`Try ${i}`)
    }
    const experiment = `kill-${process.pid}-${Date.now()}`
    const args = ['mlflow', 'export', '--all-commits', '--tracking-uri', server.uri, '--experiment', experiment]
    const child = spawn(process.execPath, [BIN, ...args], { cwd: repo.dir, env: repo.env as NodeJS.ProcessEnv, stdio: 'ignore' })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    while ((await readAll(experiment).catch(() => [])).length < 2 && child.exitCode === null) await sleep(10)
    child.kill('SIGKILL')
    await ended
    expect((await repo.mlv(...args)).exitCode).toBe(0)
    const runs = await readAll(experiment)
    expect(runs).toHaveLength(12)
    expect(runs.map((run) => run.info.status)).toEqual(Array(12).fill('FINISHED'))
    expect(runs.map((run) => [run.data.params.length, run.data.metrics.length])).toEqual(Array(12).fill([1, 1]))
    expect((await repo.mlv(...args)).stdout).toMatch(/^experiment ".*: 12 unchanged\n$/)
    expect(await readAll(experiment)).toEqual(runs)
  })

  it('is read by the MLflow client of Python', async () => {
    const found = findMlflow()
    if (!found || !('program' in found)) return
    const repo = await makeHistory()
    const experiment = `python-${process.pid}-${Date.now()}`
    await repo.mlvWith({ env: { MLFLOW_TRACKING_URI: server.uri, MLFLOW_EXPERIMENT_NAME: experiment } }, 'mlflow', 'export')
    const script = `
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = client.search_runs([experiment.experiment_id], filter_string="tags.\`mlflow.source.git.branch\` = 'exp/fast'")
print(json.dumps([[r.info.run_name, r.info.status, r.info.start_time, r.data.params, str(r.data.metrics['accuracy']), r.data.metrics['f1 _macro_'], r.data.tags['mlflow.note.content'], [[i.dataset.name, i.dataset.digest] for i in r.inputs.dataset_inputs]] for r in runs]))
`
    const python = join(dirname(found.program), 'python')
    const { stdout } = await promisify(execFile)(python, ['-c', script, server.uri, experiment], {
      env: { ...process.env, MLFLOW_DISABLE_TELEMETRY: 'true', DO_NOT_TRACK: 'true' },
    })
    const time = Number(await repo.git('log', '-1', '--format=%at', 'exp/fast')) * 1000
    const digest = createHash('sha256').update('x\n1\n').digest('hex').slice(0, 36)
    const values = [{ 'train.lr': '0.2' }, 'nan', 0.5, 'Learn twice as fast', [['data.csv', digest]]]
    expect(JSON.parse(stdout)).toEqual([['exp/fast', 'FINISHED', time, ...values]])
  })
})
