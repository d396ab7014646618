import { MlvError } from '../base/errors.ts'
import type { Rate } from '../base/rate.ts'
import type { Blobs } from '../store/blobs.ts'
import { type PlaceContext, parseEndpoint, parsePlace } from './place.ts'

/** Settings of a place, with the keys they have in config files. */
export interface PlaceSettings {
  /** a folder (relative to the project or absolute), s3://bucket/prefix, or http(s)://… (read only) */
  url: string
  endpoint?: string
  region?: string
  profile?: string
  path_style?: boolean
  /** AES256 or aws:kms */
  sse?: string
  sse_kms_key?: string
  /** how uploads are checked: sha256 (default), md5 or none, for servers that refuse the newer checksums */
  checksum?: 'sha256' | 'md5' | 'none'
}

export interface OpenContext extends PlaceContext {
  /** bytes per second that pass at most */
  rate?: Rate
  /** told once of what a server cannot do */
  warn?: (line: string) => void
  /** ends the reads that are given no signal of their own: a server that is silent must not outlast Ctrl-C */
  signal?: AbortSignal
}

/** Opens the place that `settings` name. Nothing is asked of it yet, so a wrong password shows at the first request.
 *  @throws CONFIG_INVALID, SECRET_REFUSED */
export async function openBlobs(settings: PlaceSettings, context: OpenContext): Promise<Blobs> {
  const { rate, warn, signal } = context
  const place = parsePlace(settings.url, context)
  switch (place.kind) {
    case 'folder': {
      const { createDirBlobs } = await import('./dir-blobs.ts')
      return createDirBlobs({ root: place.folder, url: settings.url, rate })
    }
    case 'http': {
      const { createHttpBlobs } = await import('./http-blobs.ts')
      return heeding(createHttpBlobs({ url: place.url, rate }), signal)
    }
    case 's3': {
      checkS3Settings(settings)
      const { createS3Blobs } = await import('./s3-blobs.ts')
      const blobs = await createS3Blobs({
        bucket: place.bucket,
        prefix: place.prefix,
        endpoint: settings.endpoint === undefined ? undefined : parseEndpoint(settings.endpoint),
        region: settings.region,
        profile: settings.profile,
        pathStyle: settings.path_style,
        sse: settings.sse,
        sseKmsKey: settings.sse_kms_key,
        checksum: settings.checksum,
        env: context.env,
        rate,
        warn,
      })
      return heeding(blobs, signal)
    }
  }
}

/** Reads alone: what writes says itself where it may stop. */
function heeding(blobs: Blobs, signal: AbortSignal | undefined): Blobs {
  return {
    ...blobs,
    get: (key, options) => blobs.get(key, { ...options, signal: options?.signal ?? signal }),
    list: (prefix, own = signal) => blobs.list(prefix, own),
    head: (key, own = signal) => blobs.head(key, own),
  }
}

function checkS3Settings({ checksum, sse }: PlaceSettings): void {
  if (checksum !== undefined && !['sha256', 'md5', 'none'].includes(checksum))
    throw new MlvError('CONFIG_INVALID', `A remote's checksum cannot be "${checksum}"`, { hint: 'It is sha256, md5 or none.' })
  if (sse !== undefined && !['AES256', 'aws:kms', 'aws:kms:dsse'].includes(sse))
    throw new MlvError('CONFIG_INVALID', `A remote's sse cannot be "${sse}"`, { hint: 'It is AES256 or aws:kms.' })
}
