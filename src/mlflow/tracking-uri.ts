import { MlvError } from '../base/errors.ts'

/** Where an MLflow server answers and what lets us in. */
export interface Tracking {
  /** http(s)://host/prefix, no credentials, no trailing slash: safe to print */
  url: string
  /** the Authorization header; never printed */
  authorization: string | undefined
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // A lone % is no escape: the user typed the password as it is.
    return part
  }
}

function refuseScheme(text: string): MlvError {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase()
  const shown = text.replace(/\/\/[^/@]*@/, '//').slice(0, 120)
  const message = `mlv speaks to an MLflow server over http or https, not to "${shown}"`
  if (text.startsWith('databricks'))
    return new MlvError('USAGE', message, { hint: 'Give the https:// address of a tracking server with --tracking-uri.' })
  if (scheme !== undefined && /^[^/]+:\d+(\/|$)/.test(text))
    return new MlvError('USAGE', message, { hint: `Did you mean --tracking-uri http://${shown}?` })
  const backend = scheme === undefined || scheme === 'file' ? '' : ` --backend-store-uri ${shown}`
  return new MlvError('USAGE', message, {
    hint: `Start "mlflow server${backend} --port 5000", then give --tracking-uri http://127.0.0.1:5000.`,
  })
}

/** fetch refuses such a header and says its value, which is a secret. */
function refuseUnsendable(name: string, value: string | undefined): void {
  if (value !== undefined && /[^\u0020-\u007e\u0080-\u00ff]/.test(value))
    throw new MlvError('USAGE', `${name} has a line break or another character that no login can have`, {
      hint: `Set ${name} again, without it.`,
    })
}

/** Reads a tracking URI as a person gives it: also one copied from the browser with its #/experiments part. Credentials come from the URI,
 *  else MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, else MLFLOW_TRACKING_TOKEN, as in MLflow's own client.
 *  @throws USAGE for anything but http and https, and for a token that cannot be sent */
export function parseTrackingUri(text: string, env: Record<string, string | undefined>): Tracking {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw refuseScheme(text)
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refuseScheme(text)
  const username = decoded(url.username) || env.MLFLOW_TRACKING_USERNAME
  const password = decoded(url.password) || env.MLFLOW_TRACKING_PASSWORD
  const token = env.MLFLOW_TRACKING_TOKEN
  refuseUnsendable('MLFLOW_TRACKING_TOKEN', token)
  return {
    url: `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}`,
    authorization: username && password ? basic(username, password) : token ? `Bearer ${token}` : undefined,
  }
}
