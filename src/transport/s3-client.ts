import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { Rate } from '../base/rate.ts'

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
  /** a source of credentials instead, which is asked again when they end */
  credentials?: S3ClientConfig['credentials']
  env: Record<string, string | undefined>
  /** bytes per second that pass at most */
  rate?: Rate
  /** told once of what the server cannot do */
  warn?: (line: string) => void
  /** ms without a byte in either direction after which a connection counts as dead; 30 s when not given */
  idleTimeout?: number
}

/** Sockets kept open at most, and so requests at once. */
export const MAX_SOCKETS = 64
const CONNECT_TIMEOUT_MS = 10_000
export const IDLE_TIMEOUT_MS = 30_000

const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/** Makes the client; its requests are repeated by us, not by it. */
export async function openClient(options: S3Options): Promise<S3Client> {
  const { endpoint, region, profile, pathStyle = endpoint !== undefined } = options
  const agent = { maxSockets: MAX_SOCKETS, keepAlive: true }
  const config: S3ClientConfig & { ignoreCache: boolean } = {
    // For the SDK's own reader of ~/.aws/credentials, which some programs write anew when a session ends.
    ignoreCache: true,
    endpoint,
    region,
    profile,
    forcePathStyle: pathStyle,
    credentials: options.credentials ?? givenCredentials(options),
    // One place repeats requests: requester.ts.
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Waiting for "100 Continue" costs a round trip and, in the SDK, a new connection for each upload.
    expectContinueHeader: false,
    requestHandler: {
      httpAgent: agent,
      httpsAgent: agent,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: options.idleTimeout ?? IDLE_TIMEOUT_MS,
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
