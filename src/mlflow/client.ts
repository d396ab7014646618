import { setTimeout as sleep } from 'node:timers/promises'
import { MlvError } from '../base/errors.ts'
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
const TRANSIENT = new Set([408, 429, 500, 502, 503, 504])
/** Two clients that write one row in the same moment: MLflow passes the database's word on as a bad request, and takes it the second time. */
const COLLISION = /IntegrityError|UNIQUE constraint|duplicate key|[Dd]eadlock|database is locked/

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

interface Refusal {
  status: number
  /** MLflow's word, e.g. RESOURCE_DOES_NOT_EXIST; '' from anything that is not MLflow */
  errorCode: string
  message: string
}

type Answer =
  | { kind: 'done'; body: Record<string, unknown> }
  | ({ kind: 'refused' } & Refusal)
  | { kind: 'lost'; error: MlvError }

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
    for (let attempt = 1; ; attempt++) {
      const answer = await ask(method, path, fields)
      const again =
        answer.kind === 'lost' || (answer.kind === 'refused' && (TRANSIENT.has(answer.status) || COLLISION.test(answer.message)))
      if (!again || attempt === TRIES) return answer
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
        hint: TRANSIENT.has(answer.status)
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

function isTransient({ status, errorCode, message }: Refusal): boolean {
  return TRANSIENT.has(status) || (errorCode === 'BAD_REQUEST' && COLLISION.test(message))
}

/** The innermost error code of a failed fetch: ECONNREFUSED, ENOTFOUND, ECONNRESET, a TLS code, … */
function reason(error: unknown): string {
  for (let depth = 0, at: unknown = error; at && depth < 5; depth++) {
    const { code, errors, cause, name } = at as { code?: unknown; errors?: unknown[]; cause?: unknown; name?: string }
    if (typeof code === 'string') return code
    if (name === 'TimeoutError') return 'ETIMEDOUT'
    at = errors?.[0] ?? cause
  }
  return (error as Error).message
}

/** @returns a lost answer, worth asking again   @throws MLFLOW_FAILED at once where asking again cannot help */
function unreachable(error: unknown, url: string): Answer {
  const code = reason(error)
  const fault = (words: string, hint: string) =>
    new MlvError('MLFLOW_FAILED', `MLflow at ${url} cannot be reached: ${words}`, { hint, cause: error })
  if (code === 'ECONNREFUSED') throw fault('nothing listens there', 'Start it with "mlflow server", or correct --tracking-uri.')
  if (['EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'].includes(code))
    throw fault(`no connection (${code})`, 'Check the network, and the host and port in --tracking-uri.')
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    throw fault(
      'the host name is not known',
      'Check the network and the host in --tracking-uri or "mlv config get mlflow.tracking_uri".',
    )
  if (/CERT|SELF_SIGNED|TLS|SSL|ALTNAME/.test(code))
    throw fault(`its certificate is not trusted (${code})`, 'Name the certificate of its authority in NODE_EXTRA_CA_CERTS.')
  return { kind: 'lost', error: fault(code, 'Run the command again; it goes on where it stopped.') }
}

function redirected(url: string, location: string | null): MlvError {
  let target = ''
  try {
    const to = new URL(location ?? '', url)
    target = ` to ${to.origin}${to.pathname}`
  } catch {
    // A server may send no place or a broken one; the message then goes without.
  }
  return new MlvError('MLFLOW_FAILED', `MLflow at ${url} redirects${target} instead of answering`, {
    hint: 'Give the final address with --tracking-uri; where a login page stands before it, set MLFLOW_TRACKING_TOKEN.',
  })
}

function notMlflow(url: string, status: number, what: string): MlvError {
  return new MlvError('MLFLOW_FAILED', `${url} answers ${what} (status ${status}), not MLflow's API`, {
    hint: 'Give the address of the tracking server itself with --tracking-uri; a proxy or login page may stand before it.',
  })
}

function denied(status: number, message: string, tracking: Tracking): MlvError {
  const detail = message ? `: ${message}` : ''
  const words = status === 401 ? 'refuses the login' : 'denies access'
  return new MlvError('MLFLOW_FAILED', `MLflow at ${tracking.url} ${words} (status ${status})${detail}`, {
    hint: tracking.authorization
      ? 'Check MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.'
      : 'Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.',
  })
}

function readAnswer(response: Response, text: string, tracking: Tracking): Answer {
  const { status } = response
  const isHtml = (response.headers.get('content-type') ?? '').includes('html') || /^\s*<(!doctype|html)/i.test(text)
  let body: Record<string, unknown> | undefined
  try {
    const value: unknown = isHtml ? undefined : JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) body = value as Record<string, unknown>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  const message = String(body?.message ?? (isHtml ? '' : text))
    .split('\n')[0]!
    .slice(0, 300)
  if (status === 401 || status === 403) throw denied(status, message, tracking)
  if (status >= 200 && status < 300) {
    if (body) return { kind: 'done', body }
    throw notMlflow(tracking.url, status, isHtml ? 'with a web page' : 'with something that is no JSON')
  }
  if (TRANSIENT.has(status) || typeof body?.error_code === 'string')
    return { kind: 'refused', status, errorCode: String(body?.error_code ?? response.statusText), message }
  throw notMlflow(tracking.url, status, isHtml ? 'with a web page' : 'with an error')
}
