import { MlvError } from '../base/errors.ts'
import type { Tracking } from './tracking-uri.ts'

const TRANSIENT = new Set([408, 429, 500, 502, 503, 504])
/** Two clients that write one row in the same moment: MLflow passes the database's word on as a bad request, and takes it the second time. */
const COLLISION = /IntegrityError|UNIQUE constraint|duplicate key|[Dd]eadlock|database is locked/

export interface Refusal {
  status: number
  /** MLflow's word, e.g. RESOURCE_DOES_NOT_EXIST; '' from anything that is not MLflow */
  errorCode: string
  message: string
}

/** What came of one request. `lost`: the server may or may not have done it. */
export type Answer =
  | { kind: 'done'; body: Record<string, unknown> }
  | ({ kind: 'refused' } & Refusal)
  | { kind: 'lost'; error: MlvError }

/** Whether asking again may help. */
export function isTransient({ status, errorCode, message }: Refusal): boolean {
  return TRANSIENT.has(status) || (errorCode === 'BAD_REQUEST' && COLLISION.test(message))
}

/** What a network does at times, by Node's codes. */
const MAY_PASS = /^(ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|UND_ERR_\w+|HPE_\w+)$/

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
export function unreachable(error: unknown, url: string): Answer {
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
  if (!MAY_PASS.test(code)) throw fault(code, 'Check --tracking-uri or "mlv config get mlflow.tracking_uri".')
  const words = code === 'ETIMEDOUT' ? 'it does not answer in time' : code
  return { kind: 'lost', error: fault(words, 'Run the command again; it goes on where it stopped.') }
}

export function redirected(url: string, location: string | null): MlvError {
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

export function notMlflow(url: string, status: number, what: string): MlvError {
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

/** @throws MLFLOW_FAILED for a refused login and for whatever is not MLflow */
export function readAnswer(response: Response, text: string, tracking: Tracking): Answer {
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
