import { type ErrorCode, MlvError, systemCode } from '../base/errors.ts'
import { ShortBody } from './http-body.ts'
import type { Verdict } from './requester.ts'
import { type Answer, isRenewed, statusOf } from './s3-answer.ts'
import { isRedirect, redirectError } from './s3-redirect.ts'

/** Where a request went, for the words of its failure. */
export interface S3Place {
  /** s3://bucket/prefix */
  url: string
  bucket: string
  /** undefined: Amazon's own */
  endpoint: string | undefined
  profile: string | undefined
}

const UNREACHABLE = [
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EPROTO', 'ECONNABORTED'],
]
const UNTRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_GET_ISSUER_CERT',
  'CERT_UNTRUSTED',
]
/** What is wrong with a certificate that no other authority would mend. */
const INVALID_CERTIFICATE = /^(ERR_TLS_CERT_ALTNAME_INVALID|CERT_\w+|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH)$/
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
export const REFUSED_BYTES = [
  'BadDigest',
  'InvalidDigest',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
  'IncompleteBody',
]

const EXPIRED = ['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'RequestExpired']
const SLOW_DOWN = [
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequests',
  'RequestLimitExceeded',
  'ServiceUnavailable',
]

/** What servers say of the keys of a session that has ended, once they have forgotten it. */
const FORGOTTEN = ['InvalidAccessKeyId', 'XAdminUserNotFound', 'InvalidToken']

/** Whether the credentials of a request may have ended. An answer to HEAD says no more than its status. */
export function mayHaveEnded(error: unknown): boolean {
  const { name = '', Code } = error as Answer
  return [...EXPIRED, ...FORGOTTEN].includes(name) || (Code === undefined && [400, 401, 403].includes(statusOf(error) ?? 0))
}

/** Whether nobody knows what became of the request: a server that refuses before it has read the body hangs up, and its answer may be lost with the line. */
export function isUnsure(error: unknown): boolean {
  return (statusOf(error) === undefined || isNetworkFault(error)) && !(error instanceof MlvError)
}

/** Whether the server cannot do what a header asks for. */
export function isRefusal(error: unknown): boolean {
  const { name = '' } = error as Answer
  const status = statusOf(error)
  return (
    status === 501 ||
    (status === 400 &&
      !isRedirect(error) &&
      ![...REFUSED_BYTES, ...DENIED, ...EXPIRED, ...SKEWED, 'RequestTimeout'].includes(name))
  )
}

/** What a failed request says about another try. */
export function judgeS3(error: unknown): Verdict {
  if (error instanceof MlvError) return 'final'
  if (error instanceof ShortBody || isRenewed(error)) return 'passing'
  // First: what an answer says whose body broke off is not known, whatever its status.
  if (isNetworkFault(error)) return 'silence'
  const { name = '', message = '', $metadata } = error as Answer
  const status = $metadata?.httpStatusCode
  if (status === 503 || status === 429 || SLOW_DOWN.includes(name)) return 'overload'
  if (status === 501) return 'final'
  if ($metadata?.clockSkewCorrected || name === 'RequestTimeout' || REFUSED_BYTES.includes(name)) return 'passing'
  if (status !== undefined && status >= 300) return status >= 500 || status === 408 ? 'passing' : 'final'
  // More likely no S3 server at all than an ill one.
  return GARBLED.test(message) ? 'silence' : 'final'
}

/** ms that an answer asks to wait for (Retry-After, in seconds or as a date). */
export function askedPause(error: unknown): number | undefined {
  const asked = (error as Answer).$response?.headers?.['retry-after']
  if (asked === undefined) return undefined
  const ms = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now()
  return Number.isFinite(ms) ? ms : undefined
}

/** An answer that is no XML, or only part of some. */
const GARBLED = /[Dd]eserializ|not expected|XML/

/** An answer that is no HTTP (Node's parser names what it stumbled over), or whose body is none of S3's. */
function isGarbled(error: unknown): boolean {
  return systemCode(error)?.startsWith('HPE_') === true || GARBLED.test((error as Error).message)
}

function isNetworkFault(error: unknown): boolean {
  const code = systemCode(error) ?? systemCode((error as { cause?: unknown }).cause)
  const { name, message } = error as Error
  return (
    (code !== undefined && (UNREACHABLE.includes(code) || code.startsWith('ERR_SSL_'))) ||
    name === 'TimeoutError' ||
    message === 'aborted'
  )
}

/** Turns what the AWS SDK throws into words. No part of a request that could hold a secret gets into them; what is no answer and no network fault comes back as it is. */
export function s3Error(error: unknown, place: S3Place, doing: string): unknown {
  if (error instanceof MlvError) return error
  const { name = '' } = error as Answer
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') return credentialsError(error, place)
  const isCut = isNetworkFault(error)
  return (!isCut && answerError(error as Answer, place, doing)) || (networkError(error, place, doing) ?? error)
}

/** The words for an answer that is an error of S3 by its name or status. */
function answerError(error: Answer, place: S3Place, doing: string): MlvError | undefined {
  const { name = '' } = error
  const status = statusOf(error)
  const server = place.endpoint ?? 'Amazon S3'
  const make = (code: ErrorCode, text: string, hint: string) => new MlvError(code, text, { hint, cause: error })
  if (name === 'NoSuchKey' || name === 'NoSuchVersion')
    return make(
      'BLOB_MISSING',
      `${place.url} has no such blob: ${doing}`,
      'Run "mlv push --all-commits" from a clone that has the data.',
    )
  if (name === 'NoSuchBucket') {
    const hint = `Create the bucket "${place.bucket}", or correct the url, of a remote with "mlv remote modify NAME --url URL".`
    return make('REMOTE_FAILED', `There is no bucket "${place.bucket}" at ${server}`, hint)
  }
  if (SKEWED.includes(name)) {
    const text = `${server} refused the request because this machine's clock is wrong (${new Date().toISOString()} here)`
    return make('REMOTE_DENIED', text, 'Set the clock, for instance with "timedatectl set-ntp true", then run the command again.')
  }
  if (isRedirect(error)) return redirectError(error, place)
  if (REFUSED_BYTES.includes(name)) {
    const hint = 'Run the command again; if it happens twice, the memory, disk or network of this machine is at fault.'
    return make('OBJECT_CORRUPT', `${server} refused bytes that do not match their SHA-256: ${doing}`, hint)
  }
  if (DENIED.includes(name) || status === 401 || status === 403) return deniedError(error, place, doing)
  if (status === 501 || name === 'NotImplemented') {
    const hint = 'A server that refuses the newer checksums works after "mlv remote modify NAME --checksum md5", or none.'
    return make('REMOTE_FAILED', `${server} cannot do what was asked: ${doing}`, hint)
  }
  if (status === undefined) return undefined
  const isPassing = status >= 500 || status === 429
  const hint = isPassing
    ? 'Run the command again later; if it stays, ask who runs that server.'
    : 'Check the url, the endpoint and the other settings of the remote with "mlv config list".'
  return make(
    'REMOTE_FAILED',
    `${server} answered ${[status, named(name)].join(' ').trim()}: ${doing}${quoted(error.message)}`,
    hint,
  )
}

function networkError(error: unknown, place: S3Place, doing: string): MlvError | undefined {
  const code = systemCode(error) ?? systemCode((error as { cause?: unknown }).cause)
  const server = place.endpoint ?? 'Amazon S3'
  if (code && UNTRUSTED.includes(code))
    return new MlvError('REMOTE_UNREACHABLE', `The certificate of ${server} is not trusted (${code})`, {
      hint: 'Name the file of its authority in NODE_EXTRA_CA_CERTS.',
      cause: error,
    })
  if (code && INVALID_CERTIFICATE.test(code))
    return new MlvError('REMOTE_UNREACHABLE', `The certificate of ${server} does not hold (${code})`, {
      hint: 'Give the endpoint by the name that the certificate is for, and compare its dates with the clock of this machine.',
      cause: error,
    })
  if (isNetworkFault(error))
    return new MlvError('REMOTE_UNREACHABLE', `${server} cannot be reached (${code ?? 'no answer in time'}): ${doing}`, {
      hint: place.endpoint
        ? 'Check the network and the endpoint (of a remote: "mlv config list"), then run the command again.'
        : 'Check the network. Another server than Amazon\'s is named with --endpoint, of a remote with "mlv remote modify NAME --endpoint URL".',
      cause: error,
    })
  return isGarbled(error) ? notS3(place, doing, error) : undefined
}

/** The error for an answer of a proxy, a login page or another kind of server. */
export function notS3(place: S3Place, doing: string, cause?: unknown): MlvError {
  return new MlvError('REMOTE_FAILED', `${place.endpoint ?? 'Amazon S3'} does not answer like an S3 server: ${doing}`, {
    hint: 'Check the endpoint (of a remote: "mlv config list"). A login page of the network may stand before it, or the server gives no ETag.',
    cause,
  })
}

function named(name: string): string {
  return /^[A-Z]\w+$/.test(name) && name !== 'Unknown' && name !== 'Error' ? name : ''
}

/** @returns what the server said beside its code, in brackets */
function quoted(message = ''): string {
  return /^(UnknownError|Unknown|)$/.test(message) ? '' : ` (${message.split('\n')[0]!.slice(0, 200)})`
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
  return new MlvError('REMOTE_DENIED', `${place.url} denied access${named(name) && ` (${name})`}: ${doing}`, {
    hint: hints[name] ?? `Check that ${who} may list, read and write the bucket "${place.bucket}".`,
    cause: error,
  })
}

function credentialsError(error: unknown, place: S3Place): MlvError {
  const profile = place.profile ?? 'default'
  const { message } = error as Error
  // The SDK stops at a source that is there but does not work, such as an ended SSO session, and says why.
  const reason = /from any providers|Could not resolve credentials/.test(message)
    ? ''
    : ` (${message.split('\n')[0]!.slice(0, 300)})`
  return new MlvError(
    'REMOTE_DENIED',
    `No credentials for ${place.url}. Tried: ${place.profile ? '' : 'the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), '}~/.aws/credentials and ~/.aws/config (profile "${profile}", with SSO), web identity, container, instance metadata${reason}`,
    {
      // With a profile, keys of the environment do not count.
      hint: place.profile
        ? `Run "aws configure" or "aws sso login" with --profile ${profile}, or choose another with "mlv remote modify NAME --profile PROFILE".`
        : 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run "aws configure" or "aws sso login".',
      cause: error,
    },
  )
}
