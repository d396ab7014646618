import { setTimeout as sleep } from 'node:timers/promises'
import { MlvError } from '../base/errors.ts'
import { type Answer, isTransient, notMlflow, readAnswer, redirected, unreachable } from './answer.ts'
import type { Tracking } from './tracking-uri.ts'
import {
  type Dataset,
  formatDataset,
  formatMetric,
  type LogBatch,
  type MlflowExperiment,
  type MlflowRun,
  type Pair,
  parseExperiment,
  parseRun,
} from './wire.ts'

/** As many tries of one request, with pauses of 0.2 to 6.4 s between them, as MLflow's own client makes. */
const TRIES = 7
const FIRST_PAUSE = 200
/** ms; MLflow's own client waits as long for one answer */
const PATIENCE = 120_000
const PAGE = 1000

export interface NewRun {
  experimentId: string
  name: string
  userId: string
  /** ms since 1970 */
  startTime: number
  tags: Pair[]
}

/** What mlv asks of an MLflow server. Busy and failing servers are asked again for some seconds.
 *  Errors: MLFLOW_FAILED with the way out in the hint. */
export interface MlflowClient {
  /** the tracking URI without credentials */
  readonly url: string
  /** also finds a deleted one */
  experimentByName(name: string): Promise<MlflowExperiment | undefined>
  /** @returns the experiment of that name, even when another client made it in the same moment */
  createExperiment(name: string): Promise<MlflowExperiment>
  /** all runs of an experiment that match, deleted ones too */
  searchRuns(experimentId: string, filter: string): Promise<MlflowRun[]>
  /** `find` is asked before every repeat: an answer lost on its way must not lead to a second run */
  createRun(run: NewRun, find: () => Promise<MlflowRun | undefined>): Promise<MlflowRun>
  logBatch(runId: string, batch: LogBatch): Promise<void>
  logInputs(runId: string, datasets: Dataset[]): Promise<void>
  finishRun(runId: string, endTime: number): Promise<void>
  setTag(runId: string, tag: Pair): Promise<void>
  deleteRun(runId: string): Promise<void>
}

export interface ClientOptions {
  signal?: AbortSignal
}

/** Speaks MLflow's REST API 2.0 with plain fetch. Nothing is sent before the first question. */
export function createMlflowClient(tracking: Tracking, options: ClientOptions = {}): MlflowClient {
  const { url } = tracking

  async function ask(method: 'GET' | 'POST', path: string, fields: Record<string, unknown>): Promise<Answer> {
    const query = method === 'GET' ? `?${new URLSearchParams(fields as Record<string, string>)}` : ''
    let response: Response
    let text: string
    try {
      response = await fetch(`${url}/api/2.0/mlflow/${path}${query}`, {
        method,
        // A redirected POST would arrive as a GET, and credentials are for the named server only.
        redirect: 'manual',
        headers: {
          accept: 'application/json',
          ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
          ...(tracking.authorization ? { authorization: tracking.authorization } : {}),
        },
        body: method === 'POST' ? JSON.stringify(fields) : undefined,
        signal: AbortSignal.any([AbortSignal.timeout(PATIENCE), ...(options.signal ? [options.signal] : [])]),
      })
      text = await response.text()
    } catch (error) {
      options.signal?.throwIfAborted()
      return unreachable(error, url)
    }
    if (response.status >= 300 && response.status < 400) throw redirected(url, response.headers.get('location'))
    return readAnswer(response, text, tracking)
  }

  async function call(
    method: 'GET' | 'POST',
    path: string,
    fields: Record<string, unknown>,
    beforeRepeat?: () => Promise<boolean>,
  ): Promise<Answer> {
    // A server that takes requests and answers none is not asked seven times over.
    const deadline = performance.now() + PATIENCE
    for (let attempt = 1; ; attempt++) {
      const answer = await ask(method, path, fields)
      const again = answer.kind === 'lost' || (answer.kind === 'refused' && isTransient(answer))
      if (!again || attempt === TRIES || performance.now() > deadline) return answer
      await sleep(FIRST_PAUSE * 2 ** (attempt - 1), undefined, { signal: options.signal }).catch(() =>
        options.signal?.throwIfAborted(),
      )
      if (await beforeRepeat?.()) return answer
    }
  }

  function failed(answer: Exclude<Answer, { kind: 'done' }>, doing: string): MlvError {
    if (answer.kind === 'lost') return answer.error
    return new MlvError(
      'MLFLOW_FAILED',
      `MLflow at ${url} failed while ${doing}: ${answer.status} ${answer.errorCode} ${answer.message}`.trimEnd(),
      {
        hint: isTransient(answer)
          ? 'Look at the log of the server, then run the command again; it goes on where it stopped.'
          : 'The server refused it; see its message above and its log.',
      },
    )
  }

  async function post(path: string, fields: Record<string, unknown>, doing: string): Promise<Record<string, unknown>> {
    const answer = await call('POST', path, fields)
    if (answer.kind === 'done') return answer.body
    throw failed(answer, doing)
  }

  const client: MlflowClient = {
    url,
    async experimentByName(name) {
      const answer = await call('GET', 'experiments/get-by-name', { experiment_name: name })
      if (answer.kind === 'done') {
        const experiment = parseExperiment(answer.body)
        if (experiment.id === '') throw notMlflow(url, 200, 'with something else')
        return experiment
      }
      if (answer.kind === 'refused' && answer.errorCode === 'RESOURCE_DOES_NOT_EXIST') return undefined
      throw failed(answer, `looking for the experiment "${name}"`)
    },
    async createExperiment(name) {
      const answer = await call('POST', 'experiments/create', { name })
      if (answer.kind !== 'done' && !(answer.kind === 'refused' && answer.errorCode === 'RESOURCE_ALREADY_EXISTS'))
        throw failed(answer, `creating the experiment "${name}"`)
      const experiment = await client.experimentByName(name)
      if (experiment) return experiment
      throw new MlvError('MLFLOW_FAILED', `MLflow at ${url} does not show the experiment "${name}" it has just created`, {
        hint: 'Check that you may read it: the server may hide experiments of others.',
      })
    },
    async searchRuns(experimentId, filter) {
      const runs: MlflowRun[] = []
      let token: unknown
      do {
        const page = await post(
          'runs/search',
          { experiment_ids: [experimentId], filter, run_view_type: 'ALL', max_results: PAGE, page_token: token },
          'searching runs',
        )
        for (const run of Array.isArray(page.runs) ? page.runs : []) runs.push(parseRun(run))
        if (page.next_page_token && page.next_page_token === token)
          throw new MlvError('MLFLOW_FAILED', `MLflow at ${url} gives the same page of runs again and again`, {
            hint: 'Look at the log of the server, and at what stands before it.',
          })
        token = page.next_page_token
      } while (token)
      return runs
    },
    async createRun(run, find) {
      let existing: MlflowRun | undefined
      const fields = {
        experiment_id: run.experimentId,
        user_id: run.userId,
        run_name: run.name,
        start_time: run.startTime,
        tags: run.tags,
      }
      const answer = await call('POST', 'runs/create', fields, async () => {
        existing = await find()
        return existing !== undefined
      })
      if (existing) return existing
      if (answer.kind === 'done') return parseRun(answer.body.run)
      throw failed(answer, `creating the run "${run.name}"`)
    },
    async logBatch(runId, batch) {
      await post(
        'runs/log-batch',
        { run_id: runId, params: batch.params, metrics: batch.metrics.map(formatMetric) },
        'logging params and metrics',
      )
    },
    async logInputs(runId, datasets) {
      await post('runs/log-inputs', { run_id: runId, datasets: datasets.map(formatDataset) }, 'logging datasets')
    },
    async finishRun(runId, endTime) {
      await post('runs/update', { run_id: runId, status: 'FINISHED', end_time: endTime }, 'finishing a run')
    },
    async setTag(runId, tag) {
      await post('runs/set-tag', { run_id: runId, ...tag }, 'setting a tag')
    },
    async deleteRun(runId) {
      await post('runs/delete', { run_id: runId }, 'deleting a run')
    },
  }
  return client
}
