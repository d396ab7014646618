import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3'
import { MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { oidOfBytes } from '../base/oid.ts'
import type { BlobInfo, Blobs, GetOptions } from '../store/blobs.ts'
import { createDirectGetter } from './direct-get.ts'
import { collectBody, partOf, rangeHeader, ShortBody } from './http-body.ts'
import { createRequester, inTime } from './requester.ts'
import { statusOf } from './s3-answer.ts'
import { IDLE_TIMEOUT_MS, MAX_SOCKETS, openClient, type S3Options } from './s3-client.ts'
import { createRenewal } from './s3-credentials.ts'
import { createDirectReader } from './s3-direct.ts'
import { askedPause, judgeS3, notS3, type S3Place, s3Error } from './s3-error.ts'
import { type ListingPage, readListing } from './s3-list.ts'
import { uploadInParts } from './s3-multipart.ts'
import { createRegionFollower } from './s3-redirect.ts'
import { createUploader } from './s3-upload.ts'

/** Sends one request, again on passing faults. */
export type Send = <T>(request: (limit: number | undefined) => Promise<T>, signal: AbortSignal | undefined) => Promise<T>

/** A bucket, or a part of it. Uploads are one PUT each, which the server checks against the SHA-256 they are signed with; requests are repeated on passing faults. */
export async function createS3Blobs(options: S3Options): Promise<Blobs> {
  const client = await openClient(options)
  const { bucket } = options
  const start = options.prefix === '' ? '' : `${options.prefix.replace(/^\/+|\/+$/g, '')}/`
  const place: S3Place = {
    url: `s3://${bucket}${start === '' ? '' : `/${start.slice(0, -1)}`}`,
    bucket,
    endpoint: options.endpoint,
    profile: options.profile ?? options.env.AWS_PROFILE,
  }
  const common = (key: string) => ({ Bucket: bucket, Key: start + key })
  const requester = createRequester({ judge: judgeS3, askedPause, tries: triesOf(options.env), most: MAX_SOCKETS })
  const renewal = createRenewal(client, place)
  const region = createRegionFollower(client)
  const send: Send = (request, signal) => requester.send((limit) => renewal.use(() => region.use(() => request(limit))), signal)
  // Bytes that must wait for a rate are read in pieces.
  const getter = options.rate ? undefined : createDirectGetter(options.idleTimeout ?? IDLE_TIMEOUT_MS)
  const direct = getter && createDirectReader(client, getter)
  let bucketSeen: Promise<unknown> | undefined

  /** Puts what went wrong into words, once it is final. */
  async function ask<T>(verb: string, key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      signal?.throwIfAborted()
      throw error instanceof ShortBody ? error.toFailure(`${place.url}/${key}`) : s3Error(error, place, `${verb} ${key}`)
    }
  }

  async function find(key: string, signal: AbortSignal | undefined, again = false): Promise<HeadObjectCommandOutput | undefined> {
    try {
      const head = new HeadObjectCommand(common(key))
      const found = await send((limit) => inTime(limit, signal, (own) => client.send(head, { abortSignal: own })), signal)
      if (found.ETag === undefined) throw notS3(place, `looking for ${key}`)
      return found
    } catch (error) {
      const isMissing = statusOf(error) === 404
      if (!isMissing && (statusOf(error) !== 400 || again)) throw error
      // An answer to HEAD has no body to tell a missing blob from a missing bucket, or to name another region; one to a listing has.
      bucketSeen ??= send(() => client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: start, MaxKeys: 1 })), signal)
      bucketSeen.catch(() => {
        bucketSeen = undefined
      })
      await bucketSeen
      return isMissing ? undefined : find(key, signal, true)
    }
  }

  async function read(key: string, range: GetOptions, limit: number | undefined): Promise<Uint8Array> {
    const object = { ...common(key), VersionId: range.version }
    const check = (etag: string | undefined) => {
      if (etag === undefined) throw notS3(place, `reading ${key}`)
      // Looked at here, because not every server heeds If-Match.
      if (range.etag !== undefined && etag !== range.etag) throw changed(place, key)
    }
    try {
      // What is to be checked, the SDK reads.
      if (direct && !range.checked && range.end !== undefined) {
        const answer = await direct.get(object, { ...range, start: range.start ?? 0, end: range.end })
        if (answer) {
          check(answer.headers.get('etag'))
          return partOf(answer.bytes, answer.headers.get('content-range'), range)
        }
      }
      const ChecksumMode = range.checked ? 'ENABLED' : undefined
      const command = new GetObjectCommand({ ...object, Range: rangeHeader(range), ChecksumMode })
      const answer = await inTime(limit, range.signal, (own) => client.send(command, { abortSignal: own }))
      check(answer.ETag)
      const { ContentLength: length, ContentRange: contentRange } = answer
      return await collectBody({ stream: answer.Body as AsyncIterable<Uint8Array>, length, contentRange }, range, options.rate)
    } catch (error) {
      if (statusOf(error) === 416) return new Uint8Array(0)
      throw error
    }
  }

  const get = (key: string, range: GetOptions = {}) =>
    ask('reading', key, range.signal, async () => {
      if (range.end === undefined || range.end > (range.start ?? 0)) return send((limit) => read(key, range, limit), range.signal)
      if (await find(key, range.signal)) return new Uint8Array(0)
      throw new MlvError('BLOB_MISSING', `${place.url} has no ${key}`, {
        hint: 'Run "mlv push --all-commits" from a clone that has the data.',
      })
    })
  const upload = createUploader({ client, send, find, get }, common, place, options)

  return {
    url: place.url,
    close() {
      getter?.close()
      client.destroy()
    },
    get,

    put: (key, bytes, { oid = oidOfBytes(bytes), ifAbsent = false, signal } = {}) =>
      ask('writing', key, signal, async () => {
        faultPoint('blob: write')
        const done = await upload(key, bytes, { oid, ifAbsent, signal })
        faultPoint('blob: written')
        return done
      }),

    putStream: (key, pieces, { size, signal }) =>
      ask('writing', key, signal, () => uploadInParts({ client, send }, { common: common(key), size, options, signal }, pieces)),

    async *list(prefix, signal) {
      let token: string | undefined
      do {
        const input = { Bucket: bucket, Prefix: start + prefix, ContinuationToken: token }
        const page = await ask('listing', prefix || 'all of it', signal, () =>
          send(async (limit): Promise<ListingPage> => {
            const command = new ListObjectsV2Command(input)
            const taken = readListing(command)
            const read = await inTime(limit, signal, (own) => client.send(command, { abortSignal: own }))
            return taken() ?? read
          }, signal),
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
      ask('looking for', key, signal, async () => {
        const found = await find(key, signal)
        return found && describe(key, found)
      }),

    delete: (key, signal) =>
      ask('deleting', key, signal, async () => {
        faultPoint('blob: delete')
        try {
          await send(() => client.send(new DeleteObjectCommand(common(key)), { abortSignal: signal }), signal)
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

/** What an upload needs of the place. */
export interface UploadParts {
  client: S3Client
  send: Send
  find(key: string, signal: AbortSignal | undefined): Promise<unknown>
  get(key: string, range?: GetOptions): Promise<Uint8Array>
}

/** AWS_MAX_ATTEMPTS, as other programs of AWS take it. */
function triesOf({ AWS_MAX_ATTEMPTS }: S3Options['env']): number | undefined {
  const tries = Number(AWS_MAX_ATTEMPTS)
  return Number.isInteger(tries) && tries > 0 ? tries : undefined
}
