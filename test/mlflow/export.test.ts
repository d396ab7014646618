import { randomBytes } from 'node:crypto'
import { request as connect, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createMlflowClient, type MlflowClient } from '../../src/mlflow/client.ts'
import { applyExport, planExport } from '../../src/mlflow/export.ts'
import { type ExportRow, formatRun } from '../../src/mlflow/run.ts'
import { parseTrackingUri } from '../../src/mlflow/tracking-uri.ts'
import { findMlflow, type MlflowServer, startMlflow } from '../helpers/mlflow-server.ts'

let server: MlflowServer
let client: MlflowClient
const source = { prefix: '', remoteUrl: 'https://ada:secret@example.org/team/penguins.git', name: 'penguins' }

interface ServerRun {
  info: Record<string, unknown> & { run_id: string }
  data: {
    params?: { key: string; value: string }[]
    metrics?: { key: string; value: unknown; timestamp: number; step?: number }[]
    tags?: { key: string; value: string }[]
  }
  inputs: { dataset_inputs?: unknown[] }
}

/** Asks the server itself, past our client. */
async function ask<T = unknown>(path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${server.uri}/api/2.0/mlflow/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(JSON.stringify(answer))
  return answer as T
}

/** Everything the server holds of an experiment, deleted runs and whole metric histories too. */
async function readServer(name: string) {
  const { experiment, runs } = await readRuns(name)
  const histories: unknown[] = []
  for (const run of runs)
    for (const metric of run.data.metrics ?? [])
      histories.push(await ask(`metrics/get-history?run_id=${run.info.run_id}&metric_key=${encodeURIComponent(metric.key)}`))
  return { experiment, runs, histories }
}

async function readRuns(name: string) {
  const { experiment } = await ask<{ experiment: { experiment_id: string } }>(
    `experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`,
  )
  const search = { experiment_ids: [experiment.experiment_id], run_view_type: 'ALL', order_by: ['attributes.run_id'] }
  const { runs = [] } = await ask<{ runs?: ServerRun[] }>('runs/search', search)
  return { experiment, runs }
}

function makeRow(extra: Partial<ExportRow> = {}): ExportRow {
  return {
    commit: randomBytes(20).toString('hex'),
    time: 1_700_000_000_000,
    author: { name: 'Ada Löwe', email: 'ada@example.org' },
    subject: 'Lower the rate',
    labels: [],
    params: { train: { lr: 0.1 } },
    metrics: { accuracy: 0.9 },
    datasets: [],
    ...extra,
  }
}

async function exportRows(experiment: string, rows: ExportRow[]) {
  const plan = await planExport(
    rows.map((row) => formatRun(row, source)),
    client,
    { experiment },
  )
  return { plan, result: await applyExport(plan, client) }
}

let count = 0
function freshName(): string {
  return `mlv test ${process.pid}-${Date.now()}-${count++}`
}

describe.skipIf(!findMlflow())('an export to a real MLflow', () => {
  beforeAll(async () => {
    server = (await startMlflow())!
    client = createMlflowClient(parseTrackingUri(server.uri, {}))
  })
  afterAll(() => server?.stop())

  it('arrives field by field', async () => {
    const name = freshName()
    const digest = 'd'.repeat(36)
    const row = makeRow({
      labels: ['exp/lr-0.1', 'main'],
      params: { train: { lr: 0.1, layers: [64, 32] }, note: 'Größe 🐧 精度', empty: '', none: null, flag: true },
      metrics: {
        accuracy: 0.912345678901234,
        nan: Number.NaN,
        up: Number.POSITIVE_INFINITY,
        down: Number.NEGATIVE_INFINITY,
        'f1 (macro) %': 1e-300,
        精度: -0.5,
      },
      datasets: [{ name: 'data/penguins.csv', digest, source: '{"path":"data/penguins.csv"}', sourceType: 'mlv' }],
    })
    const { result } = await exportRows(name, [row])
    const { runs } = await readServer(name)
    expect(runs).toHaveLength(1)
    const run = runs[0]!
    expect(run.info).toMatchObject({
      run_id: result.runs[0]!.runId,
      run_name: 'exp/lr-0.1',
      user_id: 'Ada Löwe',
      status: 'FINISHED',
      start_time: row.time,
      end_time: row.time,
      lifecycle_stage: 'active',
    })
    const pairs = (list: { key: string; value: unknown }[]) => Object.fromEntries(list.map((item) => [item.key, item.value]))
    expect(pairs(run.data.params!)).toEqual({
      'train.lr': '0.1',
      'train.layers': '[64,32]',
      note: 'Größe 🐧 精度',
      empty: '',
      none: 'null',
      flag: 'true',
    })
    expect(run.data.metrics!.every((metric) => metric.timestamp === row.time && (metric.step ?? 0) === 0)).toBe(true)
    expect(pairs(run.data.metrics!)).toMatchObject({
      accuracy: 0.912345678901234,
      nan: 'NaN',
      'f1 _macro_ _': 1e-300,
      精度: -0.5,
    })
    expect(Number(pairs(run.data.metrics!).up)).toBeGreaterThanOrEqual(Number.MAX_VALUE)
    expect(Number(pairs(run.data.metrics!).down)).toBeLessThanOrEqual(-Number.MAX_VALUE)
    expect(pairs(run.data.tags!)).toMatchObject({
      'mlv.run_key': row.commit,
      'mlv.commit': row.commit,
      'mlv.export.digest': formatRun(row, source).digest,
      'mlflow.runName': 'exp/lr-0.1',
      'mlflow.user': 'Ada Löwe',
      'mlflow.note.content': 'Lower the rate',
      'mlflow.source.type': 'PROJECT',
      'mlflow.source.name': 'https://example.org/team/penguins.git',
      'mlflow.source.git.commit': row.commit,
      'mlflow.source.git.branch': 'exp/lr-0.1',
      'mlflow.source.git.repoURL': 'https://example.org/team/penguins.git',
    })
    expect(run.inputs.dataset_inputs).toMatchObject([{ dataset: { name: 'data/penguins.csv', digest, source_type: 'mlv' } }])
  })

  it('twice leaves the server as it was, to the byte', async () => {
    const name = freshName()
    const rows = [
      makeRow({ datasets: [{ name: 'data', digest: 'abc', source: '{}', sourceType: 'mlv' }] }),
      makeRow({ metrics: { nan: Number.NaN } }),
      makeRow({ metrics: {}, params: {} }),
    ]
    const first = await exportRows(name, rows)
    expect(first.result.runs.map((run) => run.outcome)).toEqual(['created', 'created', 'created'])
    const before = await readServer(name)
    const second = await exportRows(name, rows)
    expect(second.plan.steps.map((step) => step.kind)).toEqual(['unchanged', 'unchanged', 'unchanged'])
    expect(await readServer(name)).toEqual(before)
    expect(before.runs).toHaveLength(3)
  })

  it('sends 150 params, 2500 metrics and long texts in batches', async () => {
    const name = freshName()
    const params = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`p${i}`, i < 120 ? '精'.repeat(7000) : i]))
    const metrics = Object.fromEntries(Array.from({ length: 2500 }, (_, i) => [`m${i}`, i / 7]))
    const { plan } = await exportRows(name, [makeRow({ params, metrics })])
    expect(plan.notes[0]).toBe('param "p0" is cut to 6000 characters in MLflow')
    const { runs } = await readRuns(name)
    expect(runs[0]!.data.params).toHaveLength(150)
    expect(runs[0]!.data.params!.find((param) => param.key === 'p0')!.value).toBe('精'.repeat(6000))
    expect(runs[0]!.data.metrics).toHaveLength(2500)
  })

  it('finds every run of more commits than one search per commit is worth', async () => {
    const name = freshName()
    const rows = Array.from({ length: 25 }, (_, i) => makeRow({ time: 1_700_000_000_000 + i * 1000, metrics: { step: i } }))
    await exportRows(name, rows.slice(0, 22))
    const { result } = await exportRows(name, rows)
    expect(result.runs.map((run) => run.outcome)).toEqual([...Array(22).fill('unchanged'), ...Array(3).fill('created')])
  })

  it.each([0, 1, 2, 3, 4, 5, 6])('cut off after %i requests is completed by the next, to the same state', async (allowed) => {
    const name = freshName()
    const row = makeRow({
      params: Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`p${i}`, i])),
      datasets: [{ name: 'data', digest: 'abc', source: '{}', sourceType: 'mlv' }],
    })
    const run = formatRun(row, source)
    const interrupt = new AbortController()
    let writes = 0
    const cut = createMlflowClient(parseTrackingUri(server.uri, {}), { signal: interrupt.signal })
    const counted = Object.fromEntries(
      Object.entries(cut).map(([verb, value]) => [
        verb,
        typeof value !== 'function'
          ? value
          : (...given: unknown[]) => {
              if (writes++ >= allowed) interrupt.abort(new Error('cut off'))
              return (value as (...given: unknown[]) => unknown)(...given)
            },
      ]),
    ) as unknown as MlflowClient
    const plan = await planExport([run], client, { experiment: name })
    await expect(applyExport(plan, counted)).rejects.toThrow('cut off')
    await exportRows(name, [row])
    const { runs, histories } = await readServer(name)
    expect(runs).toHaveLength(1)
    expect(runs[0]!.info.status).toBe('FINISHED')
    expect(runs[0]!.data.params).toHaveLength(150)
    expect(runs[0]!.inputs.dataset_inputs).toHaveLength(1)
    expect(histories).toMatchObject([{ metrics: [{ key: 'accuracy', value: 0.9 }] }])
    expect((await exportRows(name, [row])).plan.steps[0]?.kind).toBe('unchanged')
  })

  it('leaves a run alone that was deleted in MLflow, and what was renamed or noted there', async () => {
    const name = freshName()
    const rows = [makeRow(), makeRow({ time: 1_700_000_001_000 })]
    const { result } = await exportRows(name, rows)
    await ask('runs/delete', { run_id: result.runs[0]!.runId })
    await ask('runs/update', { run_id: result.runs[1]!.runId, run_name: 'my best' })
    await ask('runs/set-tag', { run_id: result.runs[1]!.runId, key: 'mlflow.note.content', value: 'keep this' })
    const before = await readServer(name)
    expect((await exportRows(name, rows)).result.runs.map((run) => run.outcome)).toEqual(['deleted', 'unchanged'])
    expect(await readServer(name)).toEqual(before)
  })

  it('says how to restore a deleted experiment', async () => {
    const name = freshName()
    const { result } = await exportRows(name, [makeRow()])
    await ask('experiments/delete', { experiment_id: result.experiment.id })
    await expect(exportRows(name, [makeRow()])).rejects.toMatchObject({
      code: 'MLFLOW_FAILED',
      message: expect.stringContaining('is deleted in MLflow'),
      hint: expect.stringContaining(`mlflow experiments restore --experiment-id ${result.experiment.id}`),
    })
    await ask('experiments/restore', { experiment_id: result.experiment.id })
    await exportRows(name, [makeRow()])
  })

  it('by two machines at once ends with one run per commit', async () => {
    const name = freshName()
    const rows = Array.from({ length: 4 }, () => makeRow())
    await exportRows(name, [])
    await Promise.all([exportRows(name, rows), exportRows(name, rows)])
    const { runs } = await readRuns(name)
    expect(runs.filter((run) => run.info.lifecycle_stage === 'active')).toHaveLength(4)
    expect((await exportRows(name, rows)).plan.steps.map((step) => step.kind)).toEqual(Array(4).fill('unchanged'))
  })

  it('whose answers get lost makes no second run', async () => {
    const name = freshName()
    const lost = new Set<string>()
    // Passes everything on to MLflow, and drops the first answer to each kind of request.
    const proxy = createServer((request, response) => {
      const passed = connect(`${server.uri}${request.url}`, { method: request.method, headers: request.headers }, (answer) => {
        const verb = request.url!.replace(/\?.*/, '')
        if (lost.has(verb)) answer.pipe(response.writeHead(answer.statusCode!, answer.headers))
        else {
          lost.add(verb)
          answer.resume().on('end', () => request.socket.destroy())
        }
      })
      request.pipe(passed)
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const through = createMlflowClient(parseTrackingUri(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, {}))
    const row = makeRow({ datasets: [{ name: 'data', digest: 'abc', source: '{}', sourceType: 'mlv' }] })
    await applyExport(await planExport([formatRun(row, source)], through, { experiment: name }), through)
    proxy.closeAllConnections()
    proxy.close()
    expect(lost.size).toBe(8)
    const { runs, histories } = await readServer(name)
    expect(runs).toHaveLength(1)
    expect(runs[0]!.inputs.dataset_inputs).toHaveLength(1)
    expect(histories).toMatchObject([{ metrics: [{ key: 'accuracy' }] }])
  })

  it('shows the reason of a refusal', async () => {
    await expect(client.finishRun('0'.repeat(32), 1)).rejects.toMatchObject({
      code: 'MLFLOW_FAILED',
      message: expect.stringContaining('RESOURCE_DOES_NOT_EXIST'),
    })
  })
})
