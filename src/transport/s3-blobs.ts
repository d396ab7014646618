import { createHash } from 'node:crypto'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { BlobInfo, Blobs, GetOptions } from '../store/blobs.ts'
import { collectAgain, type HttpBody, MAX_ATTEMPTS, rangeHeader, shareSignal } from './http-body.ts'
import { notS3, REFUSED_BYTES, type S3Place, s3Error, statusOf } from './s3-error.ts'

export interface S3Options {
  bucket: string
  /** keys start with it and a slash; '' for the whole bucket */
  prefix: string
  /** of another server than Amazon's */
  endpoint?: string
  region?: string
  /** of ~/.aws/config and ~/.aws/credentials */
  profile?: string
  /** bucket in the path, not in the host name; the default where an endpoint is given */
  pathStyle?: boolean
  sse?: string
  sseKmsKey?: string
  /** what the server checks an upload against; md5 or none for servers that refuse the newer checksums */
  checksum?: 'sha256' | 'md5' | 'none'
  accessKeyId?: string
  secretAccessKey?: string
  sessionToken?: string
  env: Record<string, string | undefined>
}

/** Sockets kept open at most, and so requests at once. */
const MAX_SOCKETS = 64
const CONNECT_TIMEOUT_MS = 10_000
/** From this size on, a question costs less than sending what is there already. */
const ASK_FIRST_BYTES = 1 << 20
/** without a byte in either direction */
const IDLE_TIMEOUT_MS = 30_000

const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/** A bucket, or a part of it. Uploads are one PUT each, which the server checks against the SHA-256 they are signed with; requests are repeated on passing faults. */
export async function createS3Blobs(options: S3Options): Promise<Blobs> {
  const client = await openClient(options)
  const { bucket, checksum = 'sha256' } = options
  const start = options.prefix === '' ? '' : `${options.prefix.replace(/^\/+|\/+$/g, '')}/`
  const place: S3Place = {
    url: `s3://${bucket}${start === '' ? '' : `/${start.slice(0, -1)}`}`,
    bucket,
    endpoint: options.endpoint,
    profile: options.profile ?? options.env.AWS_PROFILE,
  }
  const common = (key: string) => ({ Bucket: bucket, Key: start + key })
  // Found out by the first conditional upload that the server refuses.
  let knowsConditions = true
  let bucketSeen: Promise<unknown> | undefined
  let credentialsFound: Promise<unknown> | undefined

  /** Asks for credentials apart from the first request: a network fault on the way to them is none of the server's. */
  function findCredentials(): Promise<unknown> {
    credentialsFound ??= Promise.resolve(client.config.credentials()).catch((error) => {
      throw s3Error(Object.assign(new Error(error.message), { name: 'CredentialsProviderError', cause: error }), place, '')
    })
    return credentialsFound
  }

  async function ask<T>(doing: string, signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    shareSignal(signal)
    await findCredentials()
    try {
      return await request()
    } catch (error) {
      signal?.throwIfAborted()
      throw s3Error(error, place, doing)
    }
  }

  async function find(key: string, signal: AbortSignal | undefined): Promise<HeadObjectCommandOutput | undefined> {
    try {
      const found = await client.send(new HeadObjectCommand(common(key)), { abortSignal: signal })
      if (found.ETag === undefined) throw notS3(place, `looking for ${key}`)
      return found
    } catch (error) {
      if (statusOf(error) !== 404) throw error
      // An answer to HEAD has no body to tell a missing blob from a missing bucket; one to a listing has.
      bucketSeen ??= client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: start, MaxKeys: 1 }))
      bucketSeen.catch(() => {
        bucketSeen = undefined
      })
      await bucketSeen
      return undefined
    }
  }

  async function request(key: string, range: GetOptions): Promise<HttpBody | undefined> {
    const command = new GetObjectCommand({ ...common(key), Range: rangeHeader(range), VersionId: range.version })
    try {
      const answer = await client.send(command, { abortSignal: range.signal })
      if (answer.ETag === undefined) throw notS3(place, `reading ${key}`)
      // Looked at here, because not every server heeds If-Match.
      if (range.etag !== undefined && answer.ETag !== range.etag) throw changed(place, key)
      const stream = answer.Body as AsyncIterable<Uint8Array>
      return { stream, length: answer.ContentLength, contentRange: answer.ContentRange }
    } catch (error) {
      if (statusOf(error) === 416) return undefined
      throw error
    }
  }

  async function upload(input: PutObjectCommandInput, oid: Oid, signal: AbortSignal | undefined): Promise<void> {
    const command = new PutObjectCommand(input)
    // The signer takes this header as it is instead of hashing the body again.
    command.middlewareStack.add(
      (next) => (args) => {
        ;(args.request as { headers: Record<string, string> }).headers['x-amz-content-sha256'] = oid
        return next(args)
      },
      { step: 'build', name: 'knownPayloadHash' },
    )
    const { ETag } = await client.send(command, { abortSignal: signal })
    if (ETag === undefined) throw notS3(place, `writing ${input.Key}`)
  }

  async function uploadIfAbsent(
    key: string,
    input: PutObjectCommandInput,
    oid: Oid,
    signal: AbortSignal | undefined,
  ): Promise<'written' | 'present'> {
    const isLarge = (input.ContentLength ?? 0) >= ASK_FIRST_BYTES
    if ((isLarge || !knowsConditions) && (await find(key, signal))) return 'present'
    if (!knowsConditions) {
      await upload(input, oid, signal)
      return 'written'
    }
    try {
      await upload({ ...input, IfNoneMatch: '*' }, oid, signal)
      return 'written'
    } catch (error) {
      const status = statusOf(error)
      if (status === 412) return 'present'
      // 409: another writer of this key came in between; it may have failed.
      const isRefusal = status === 501 || (status === 400 && !REFUSED_BYTES.includes((error as Error).name))
      // No status: a server that refuses before it has read the body hangs up, and its answer may be lost with the line.
      const isUnsure = isRefusal || status === 409 || (status === undefined && !(error instanceof MlvError))
      if (isUnsure && (await find(key, signal))) return 'present'
      if (!isRefusal && status !== 409) throw error
      await upload(input, oid, signal)
      knowsConditions = !isRefusal
      return 'written'
    }
  }

  return {
    url: place.url,
    close: () => client.destroy(),

    get: (key, range = {}) =>
      ask(`reading ${key}`, range.signal, async () => {
        if (range.end !== undefined && range.end <= (range.start ?? 0)) {
          if (await find(key, range.signal)) return new Uint8Array(0)
          throw new MlvError('BLOB_MISSING', `${place.url} has no ${key}`, {
            hint: 'Run "mlv push --all-commits" from a clone that has the data.',
          })
        }
        return collectAgain(() => request(key, range), range, `${place.url}/${key}`)
      }),

    put: (key, bytes, { oid = oidOfBytes(bytes), ifAbsent = false, signal } = {}) =>
      ask(`writing ${key}`, signal, async () => {
        const input: PutObjectCommandInput = {
          ...common(key),
          Body: bytes,
          ContentLength: bytes.length,
          ...(checksum === 'sha256' ? { ChecksumSHA256: Buffer.from(oid, 'hex').toString('base64') } : {}),
          ...(checksum === 'md5' ? { ContentMD5: createHash('md5').update(bytes).digest('base64') } : {}),
          ServerSideEncryption: options.sse as PutObjectCommandInput['ServerSideEncryption'],
          SSEKMSKeyId: options.sseKmsKey,
        }
        faultPoint('blob: write')
        if (ifAbsent) return uploadIfAbsent(key, input, oid, signal)
        await upload(input, oid, signal)
        faultPoint('blob: written')
        return 'written'
      }),

    async *list(prefix, signal) {
      let token: string | undefined
      do {
        const input = { Bucket: bucket, Prefix: start + prefix, ContinuationToken: token }
        const page = await ask(`listing ${prefix || 'all of it'}`, signal, () =>
          client.send(new ListObjectsV2Command(input), { abortSignal: signal }),
        )
        // Consoles make empty blobs that end in a slash to show a folder.
        if (page.Name === undefined && page.KeyCount === undefined && page.IsTruncated === undefined)
          throw notS3(place, `listing ${prefix || 'all of it'}`)
        for (const { Key, Size, LastModified, ETag } of page.Contents ?? [])
          if (Key && !Key.endsWith('/'))
            yield { key: Key.slice(start.length), size: Size ?? 0, modified: LastModified?.getTime() ?? 0, etag: ETag }
        token = page.IsTruncated ? page.NextContinuationToken : undefined
      } while (token !== undefined)
    },

    head: (key, signal) =>
      ask(`looking for ${key}`, signal, async () => {
        const found = await find(key, signal)
        return found && describe(key, found)
      }),

    delete: (key, signal) =>
      ask(`deleting ${key}`, signal, async () => {
        try {
          await client.send(new DeleteObjectCommand(common(key)), { abortSignal: signal })
        } catch (error) {
          // Amazon does not mind an absent key; some servers do.
          if ((error as Error).name !== 'NoSuchKey') throw error
        }
      }),
  }
}

function describe(key: string, found: HeadObjectCommandOutput): BlobInfo {
  const { ContentLength: size = 0, LastModified, ETag: etag, VersionId } = found
  // A bucket that keeps no versions calls the only one null.
  const version = VersionId === 'null' ? undefined : VersionId
  return { key, size, modified: LastModified?.getTime() ?? 0, etag, version }
}

function changed(place: S3Place, key: string): MlvError {
  return new MlvError('FILE_CHANGED', `${place.url}/${key} is no longer what it was`, {
    hint: 'Run the command again, when nobody writes there.',
  })
}

async function openClient(options: S3Options): Promise<S3Client> {
  const { endpoint, region, profile, pathStyle = endpoint !== undefined } = options
  const agent = { maxSockets: MAX_SOCKETS, keepAlive: true }
  const config: S3ClientConfig = {
    endpoint,
    region,
    profile,
    forcePathStyle: pathStyle,
    credentials: givenCredentials(options),
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'standard',
    followRegionRedirects: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Waiting for "100 Continue" costs a round trip and, in the SDK, a new connection for each upload.
    expectContinueHeader: false,
    requestHandler: {
      httpAgent: agent,
      httpsAgent: agent,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: IDLE_TIMEOUT_MS,
      logger: SILENT,
    },
    logger: SILENT,
  }
  const client = quietly(() => new S3Client(config))
  if (region !== undefined) return client
  try {
    await client.config.region()
    return client
  } catch {
    // Nothing names a region. Amazon redirects from this one, and other servers do not mind.
    client.destroy()
    return quietly(() => new S3Client({ ...config, region: 'us-east-1' }))
  }
}

/** Credentials handed in or in the environment; undefined leaves the search to the SDK, which looks at them itself, but reads files first. */
function givenCredentials({
  accessKeyId,
  secretAccessKey,
  sessionToken,
  profile,
  env,
}: S3Options): S3ClientConfig['credentials'] {
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey, sessionToken }
  if (profile || env.AWS_PROFILE || !env.AWS_ACCESS_KEY_ID || !env.AWS_SECRET_ACCESS_KEY) return undefined
  return { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY, sessionToken: env.AWS_SESSION_TOKEN }
}

const NOTICE_SWITCH = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'

/** The first client of a process prints a notice on older Node versions, which this environment variable alone turns off. Later ones are silent. */
function quietly<T>(make: () => T): T {
  const before = process.env[NOTICE_SWITCH]
  process.env[NOTICE_SWITCH] = 'true'
  try {
    return make()
  } finally {
    if (before === undefined) delete process.env[NOTICE_SWITCH]
    else process.env[NOTICE_SWITCH] = before
  }
}
