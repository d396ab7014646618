import { type ErrorCode, MlvError, systemCode } from '../base/errors.ts'

/** Where a request went, for the words of its failure. */
export interface S3Place {
  /** s3://bucket/prefix */
  url: string
  bucket: string
  /** undefined: Amazon's own */
  endpoint: string | undefined
  profile: string | undefined
}

interface Answer {
  name?: string
  message?: string
  /** the region that a redirect names */
  Region?: string
  $metadata?: { httpStatusCode?: number }
  $response?: { headers?: Record<string, string> }
}

const UNREACHABLE = [
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EPROTO', 'ECONNABORTED', 'ERR_SSL_WRONG_VERSION_NUMBER'],
]
const UNTRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]
const DENIED = [
  // versitygw's name for an access key it does not know, with status 404
  'XAdminUserNotFound',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'AccessDenied',
  'ExpiredToken',
  'InvalidToken',
  'TokenRefreshRequired',
  'AllAccessDisabled',
]
const SKEWED = ['RequestTimeTooSkewed', 'RequestExpired', 'RequestInTheFuture']
const REDIRECTED = [
  'PermanentRedirect',
  'TemporaryRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]
export const REFUSED_BYTES = [
  'BadDigest',
  'InvalidDigest',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
  'IncompleteBody',
]

export function statusOf(error: unknown): number | undefined {
  return (error as Answer | undefined)?.$metadata?.httpStatusCode
}

/** Turns what the AWS SDK throws into words. No part of a request that could hold a secret gets into them; what is no answer and no network fault comes back as it is. */
export function s3Error(error: unknown, place: S3Place, doing: string): unknown {
  if (error instanceof MlvError) return error
  const { name = '', message = '' } = error as Answer
  const status = statusOf(error)
  const make = (code: ErrorCode, text: string, hint: string) => new MlvError(code, text, { hint, cause: error })
  const server = place.endpoint ?? 'Amazon S3'

  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') return credentialsError(error, place)
  if (name === 'NoSuchKey')
    return make('BLOB_MISSING', `${place.url} has no such blob: ${doing}`, 'Run "mlv fsck" to see what else is missing.')
  if (name === 'NoSuchBucket')
    return make(
      'REMOTE_FAILED',
      `There is no bucket "${place.bucket}" at ${server}`,
      `Create the bucket "${place.bucket}", or correct the url of the remote in the configuration.`,
    )
  if (SKEWED.includes(name))
    return make(
      'REMOTE_DENIED',
      `${server} refused the request because this machine's clock is wrong (${new Date().toISOString()} here)`,
      'Set the clock, for instance with "timedatectl set-ntp true", then run the command again.',
    )
  if (REDIRECTED.includes(name) || status === 301 || status === 307) return regionError(error as Answer, place)
  if (REFUSED_BYTES.includes(name))
    return make(
      'OBJECT_CORRUPT',
      `${server} refused bytes that do not match their SHA-256: ${doing}`,
      'Run the command again; if it happens twice, the memory, disk or network of this machine is at fault.',
    )
  if (DENIED.includes(name) || status === 401 || status === 403) return deniedError(error, place, doing)
  if (status === 501 || name === 'NotImplemented')
    return make(
      'REMOTE_FAILED',
      `${server} cannot do what was asked (${name}): ${doing}`,
      'Servers that refuse the newer checksums work with the checksum mode md5 or none of the remote.',
    )

  const code = networkCode(error)
  if (code && UNTRUSTED.includes(code))
    return make(
      'REMOTE_UNREACHABLE',
      `The certificate of ${server} is not trusted (${code})`,
      'Name the file of its authority in NODE_EXTRA_CA_CERTS.',
    )
  if ((code && UNREACHABLE.includes(code)) || name === 'TimeoutError')
    return make(
      'REMOTE_UNREACHABLE',
      `${server} cannot be reached (${code ?? 'no answer in time'}): ${doing}`,
      'Check the network and the endpoint of the remote, then run the command again.',
    )
  if (status !== undefined)
    return make(
      'REMOTE_FAILED',
      `${server} answered ${status}${name && name !== 'Error' ? ` ${name}` : ''}: ${doing}${plain(message)}`,
      status < 500
        ? 'Check the url, the endpoint and the other settings of the remote.'
        : 'Run the command again later; if it stays, ask who runs that server.',
    )
  if (/[Dd]eserializ|not expected|XML/.test(message))
    return make('REMOTE_FAILED', `${server} does not answer like an S3 server: ${doing}`, 'Check the endpoint of the remote.')
  return error
}

/** @returns ': message' where the server said more than a code */
function plain(message: string): string {
  return message && !/^(UnknownError|Unknown)$/.test(message) ? ` (${message.split('\n')[0]!.slice(0, 200)})` : ''
}

function networkCode(error: unknown): string | undefined {
  return systemCode(error) ?? systemCode((error as { cause?: unknown }).cause)
}

function regionError(error: Answer, place: S3Place): MlvError {
  const region = error.Region ?? error.$response?.headers?.['x-amz-bucket-region']
  return new MlvError(
    'REMOTE_FAILED',
    `The bucket "${place.bucket}" is in ${region ? `the region ${region}` : 'another region'}`,
    {
      hint: `Set the region of the remote to ${region ?? 'the one of the bucket'} in the configuration.`,
      cause: error,
    },
  )
}

function deniedError(error: unknown, place: S3Place, doing: string): MlvError {
  const { name = '' } = error as Answer
  const who = place.profile ? `profile "${place.profile}"` : 'the credentials in use'
  const unknownKey = `The server does not know the access key: check ${who}.`
  const hints: Record<string, string> = {
    InvalidAccessKeyId: unknownKey,
    XAdminUserNotFound: unknownKey,
    SignatureDoesNotMatch: `The secret key does not fit the access key: check ${who}.`,
    ExpiredToken: `The session has ended: run "aws sso login"${place.profile ? ` with --profile ${place.profile}` : ''}, or renew AWS_SESSION_TOKEN.`,
  }
  return new MlvError(
    'REMOTE_DENIED',
    `${place.url} denied access${/^[A-Z]\w+$/.test(name) && name !== 'Unknown' ? ` (${name})` : ''}: ${doing}`,
    {
      hint: hints[name] ?? `Check that ${who} may list, read and write the bucket "${place.bucket}".`,
      cause: error,
    },
  )
}

function credentialsError(error: unknown, place: S3Place): MlvError {
  const profile = place.profile ?? 'default'
  return new MlvError(
    'REMOTE_DENIED',
    `No credentials for ${place.url}. Tried: ${place.profile ? '' : 'the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), '}~/.aws/credentials and ~/.aws/config (profile "${profile}", with SSO), web identity, container, instance metadata`,
    {
      hint: `Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run "aws configure" or "aws sso login"${place.profile ? ` with --profile ${profile}` : ''}.`,
      cause: error,
    },
  )
}
