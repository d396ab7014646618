import type { S3Client } from '@aws-sdk/client-s3'
import { MlvError } from '../base/errors.ts'
import { type Answer, sayRenewed, statusOf } from './s3-answer.ts'
import type { S3Place } from './s3-error.ts'

const REDIRECTED = [
  'PermanentRedirect',
  'TemporaryRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]

/** Whether the request belongs elsewhere. An answer to HEAD says so by its headers alone. */
export function isRedirect(error: unknown): boolean {
  const { name = '', Code, $response } = error as Answer
  const status = statusOf(error) ?? 0
  return (
    REDIRECTED.includes(name) ||
    [301, 302, 307, 308].includes(status) ||
    (status === 400 && Code === undefined && $response?.headers?.['x-amz-bucket-region'] !== undefined)
  )
}

function regionOf({ Region, $response }: Answer): string | undefined {
  const region = Region ?? $response?.headers?.['x-amz-bucket-region']
  // It becomes part of a host's name.
  return region !== undefined && /^[a-z0-9][a-z0-9-]{0,62}$/i.test(region) ? region : undefined
}

/** A bucket in another region than the settings say. */
export interface RegionFollower {
  /** Runs a request. When its answer names the bucket's region, the client uses that from then on; the error then says that another try may do. */
  use<T>(request: () => Promise<T>): Promise<T>
}

/** The SDK follows by itself, but each request anew, and it mistakes its own work when several do so at once. */
export function createRegionFollower(client: S3Client): RegionFollower {
  const { config } = client
  let followed: string | undefined
  return {
    async use(request) {
      const used = followed
      try {
        return await request()
      } catch (error) {
        const named = isRedirect(error) ? regionOf(error as Answer) : undefined
        if (named === undefined) throw error
        // Once: servers that send each other's clients around would never end.
        if (followed === undefined && named !== (await config.region())) {
          followed = named
          config.region = async () => named
        }
        if (used !== followed) sayRenewed(error)
        throw error
      }
    },
  }
}

/** The words for an answer that says where to go instead. */
export function redirectError(error: Answer, place: S3Place): MlvError {
  const { Endpoint, $response } = error
  const region = regionOf(error)
  const other = originOf($response?.headers?.location, place) ?? originOf(Endpoint && `https://${Endpoint}`, place)
  if (region === undefined && other !== undefined)
    return new MlvError('REMOTE_FAILED', `${place.endpoint ?? 'Amazon S3'} redirects to ${other}`, {
      hint: `If that is the right server, run "mlv remote modify NAME --endpoint ${other}" with the name of the remote.`,
      cause: error,
    })
  return new MlvError(
    'REMOTE_FAILED',
    `The bucket "${place.bucket}" is in ${region ? `the region ${region}` : 'another region'}`,
    {
      hint: `Run "mlv remote modify NAME --region ${region ?? 'REGION'}" with the name of the remote.`,
      cause: error,
    },
  )
}

function originOf(text: string | undefined, { bucket }: S3Place): string | undefined {
  if (text === undefined || !/^https?:/.test(text) || !URL.canParse(text)) return undefined
  const url = new URL(text)
  return `${url.protocol}//${url.host.startsWith(`${bucket}.`) ? url.host.slice(bucket.length + 1) : url.host}`
}
