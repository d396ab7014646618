import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MlvError, systemCode } from '../base/errors.ts'

/** What a remote's url means. */
export type Place =
  | { kind: 'folder'; folder: string }
  | { kind: 's3'; bucket: string; prefix: string }
  | { kind: 'http'; url: string }

export interface PlaceContext {
  /** absolute; relative folders start there */
  root: string
  /** for the home folder that `~/` means */
  env: Record<string, string | undefined>
}

/** Parses a folder (relative to the project, absolute, `~/…` or `file://`), `s3://bucket/prefix` or `http(s)://…`.
 *  @throws CONFIG_INVALID, SECRET_REFUSED (the message does not repeat the secret) */
export function parsePlace(url: string, context: PlaceContext): Place {
  if (url.trim() === '') throw invalid('The url of a remote is empty', 'Give a folder, s3://bucket/prefix or https://….')
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(url)?.[1]?.toLowerCase()
  refuseSecrets(url, scheme)
  switch (scheme) {
    case undefined:
      if (/^[\w.-]+@[\w.-]+:/.test(url))
        throw invalid(`"${url}" looks like a place to reach by ssh, which mlv cannot`, 'Mount it as a folder, or use a bucket.')
      return { kind: 'folder', folder: parseFolder(url, context) }
    case 'file':
      return { kind: 'folder', folder: parseFileUrl(url) }
    case 's3':
      return parseBucket(url)
    case 'http':
    case 'https':
      return { kind: 'http', url }
    case 'gs':
      throw invalid(
        `"${url}": Google Cloud Storage is reached by its S3 interface`,
        `Use s3://${url.slice(5)} with the endpoint https://storage.googleapis.com.`,
      )
    default:
      throw invalid(`"${url}": mlv does not know ${scheme}://`, 'Give a folder, s3://bucket/prefix or https://….')
  }
}

function parseFolder(path: string, { root, env }: PlaceContext): string {
  const home = env.HOME ?? env.USERPROFILE
  if ((path === '~' || path.startsWith('~/')) && home) return join(home, path.slice(1))
  return resolve(root, path)
}

function parseFileUrl(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (error) {
    if (!systemCode(error)?.startsWith('ERR_INVALID')) throw error
    throw invalid(`"${url}" names no folder of this machine`, 'Write file:///absolute/folder.')
  }
}

function parseBucket(url: string): Place {
  const [, bucket = '', prefix = ''] = /^s3:\/\/([^/]*)\/*(.*)$/is.exec(url) ?? []
  if (bucket === '') throw invalid(`"${url}" names no bucket`, 'Write s3://bucket/prefix.')
  if (!/^[a-z0-9][a-z0-9._-]{2,254}$/i.test(bucket))
    throw invalid(
      `"${url}": no bucket can be called "${bucket}"`,
      'Names of buckets have 3 characters or more: letters, digits, dots and hyphens. Write s3://bucket/prefix.',
    )
  if (/[?#\s\\]/.test(prefix) || prefix.split('/').some((part) => part === '.' || part === '..'))
    throw invalid(
      `"${url}": the prefix has "?", "#", a space, a backslash or a part that is only dots`,
      'Write s3://bucket/prefix; settings such as the endpoint have keys of their own.',
    )
  return { kind: 's3', bucket, prefix: prefix.replace(/\/+/g, '/').replace(/\/$/, '') }
}

const SECRET_PARAMETER =
  /[?&](x-amz-(signature|credential|security-token)|signature|awsaccesskeyid|access_key[^=]*|secret[^=]*|token|sig)=/i

function refuseSecrets(url: string, scheme: string | undefined): void {
  const authority = scheme ? url.slice(url.indexOf('://') + 3).split(/[/?#]/, 1)[0]! : ''
  if (!authority.includes('@') && !(scheme && SECRET_PARAMETER.test(url))) return
  throw new MlvError('SECRET_REFUSED', `The ${scheme}:// url holds credentials`, {
    hint: /^https?$/i.test(scheme!)
      ? 'Take them out: over http mlv reads only what anyone may read.'
      : 'Take them out; put keys into the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or into ~/.aws/credentials.',
  })
}

/** Checks the endpoint of a bucket's server. @throws CONFIG_INVALID, SECRET_REFUSED */
export function parseEndpoint(text: string): string {
  const scheme = /^(https?):\/\//i.exec(text)?.[1]
  if (!scheme || !URL.canParse(text))
    throw invalid(
      `The endpoint "${text.includes('@') ? '…' : text}" is no url`,
      'Write it with http:// or https://, for example https://minio.example.org:9000.',
    )
  refuseSecrets(text, scheme)
  return text.replace(/\/+$/, '')
}

function invalid(message: string, hint: string): MlvError {
  return new MlvError('CONFIG_INVALID', message, { hint })
}
