import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { MlvError } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Rate } from '../base/rate.ts'
import { statusOf } from './s3-answer.ts'
import type { UploadParts } from './s3-blobs.ts'
import type { S3Options } from './s3-client.ts'
import { isRefusal, isUnsure, notS3, REFUSED_BYTES, type S3Place } from './s3-error.ts'

/** From this size on, a question costs less than sending what is there already. */
const ASK_FIRST_BYTES = 1 << 20

type Upload = (
  key: string,
  bytes: Uint8Array,
  options: { oid: Oid; ifAbsent: boolean; signal: AbortSignal | undefined },
) => Promise<'written' | 'present'>

type Checksum = NonNullable<S3Options['checksum']>

/** What is tried when a server refuses a kind of checksum; the signature covers the SHA-256 of the bytes in any case. */
const NEXT_CHECKSUM: Record<Checksum, Checksum | undefined> = { sha256: 'md5', md5: 'none', none: undefined }

/** Uploads in single requests. What a server cannot do is found out once, told, and done another way. */
export function createUploader(
  { client, send, find, get }: UploadParts,
  common: (key: string) => { Bucket: string; Key: string },
  place: S3Place,
  options: S3Options,
): Upload {
  const { rate, warn, sse, sseKmsKey } = options
  const server = place.endpoint ?? 'Amazon S3'
  let knowsConditions = true
  let checksum: Checksum = options.checksum ?? 'sha256'
  const said = new Set<string>()
  const sayOnce = (line: string) => {
    if (!said.has(line)) warn?.(line)
    said.add(line)
  }

  /** Sends the bytes, again while the server finds them altered and they are not so here. */
  async function put(key: string, bytes: Uint8Array, oid: Oid, extra: Partial<PutObjectCommandInput>, signal?: AbortSignal) {
    const md5 = checksum === 'md5' ? createHash('md5').update(bytes).digest() : undefined
    const input = {
      ...common(key),
      ContentLength: bytes.length,
      ...(checksum === 'sha256' ? { ChecksumSHA256: Buffer.from(oid, 'hex').toString('base64') } : {}),
      ...(md5 ? { ContentMD5: md5.toString('base64') } : {}),
      ServerSideEncryption: sse as PutObjectCommandInput['ServerSideEncryption'],
      SSEKMSKeyId: sseKmsKey,
      ...extra,
    }
    await send(async () => {
      const command = new PutObjectCommand({ ...input, Body: rate ? paced(bytes, rate, signal) : bytes })
      // The signer takes this header as it is instead of hashing the body again.
      command.middlewareStack.add(
        (next) => (args) => {
          ;(args.request as { headers: Record<string, string> }).headers['x-amz-content-sha256'] = oid
          return next(args)
        },
        { step: 'build', name: 'knownPayloadHash' },
      )
      try {
        const answer = await client.send(command, { abortSignal: signal })
        if (answer.ETag === undefined) throw notS3(place, `writing ${key}`)
        if (checksum === 'sha256' && answer.ChecksumSHA256 === undefined) await compare(key, bytes, answer.ETag, signal)
      } catch (error) {
        // Altered on its way: worth another try. Altered here: never.
        if (REFUSED_BYTES.includes((error as Error).name) && oidOfBytes(bytes) !== oid) throw altered(key, oid)
        throw error
      }
    }, signal)
  }

  /** Where a server does not say that it checked, what it says it has is compared: the MD5 that most give as the tag, else the bytes themselves. */
  async function compare(key: string, bytes: Uint8Array, tag: string, signal: AbortSignal | undefined): Promise<void> {
    const md5 = /^"?([0-9a-f]{32})"?$/.exec(tag)?.[1]
    const isSame =
      md5 !== undefined && sse !== 'aws:kms' && sse !== 'aws:kms:dsse'
        ? createHash('md5').update(bytes).digest('hex') === md5
        : Buffer.compare(await get(key, { signal }), bytes) === 0
    if (!isSame) throw Object.assign(new Error('what the server stored differs from what was sent'), { name: 'BadDigest' })
    sayOnce(`${server} does not say whether it checks uploads: mlv compares what it stored with what was sent`)
  }

  /** Sends in a way that the server can take, and remembers it. */
  async function putSomehow(key: string, bytes: Uint8Array, oid: Oid, signal: AbortSignal | undefined): Promise<void> {
    const first = checksum
    for (;;) {
      try {
        await put(key, bytes, oid, {}, signal)
        break
      } catch (error) {
        const next = options.checksum ? undefined : NEXT_CHECKSUM[checksum]
        if (!isRefusal(error) || !next) {
          checksum = first
          throw error
        }
        checksum = next
      }
    }
    if (checksum !== first)
      sayOnce(
        `${server} refuses SHA-256 checksums: uploads are checked by ${checksum === 'md5' ? 'MD5' : 'their signature'} (set "checksum" of the remote to ${checksum} to spare the question)`,
      )
  }

  async function putIfAbsent(key: string, bytes: Uint8Array, oid: Oid, signal: AbortSignal | undefined) {
    if ((bytes.length >= ASK_FIRST_BYTES || !knowsConditions) && (await find(key, signal))) return 'present'
    if (!knowsConditions) {
      await putSomehow(key, bytes, oid, signal)
      return 'written'
    }
    try {
      await put(key, bytes, oid, { IfNoneMatch: '*' }, signal)
      return 'written'
    } catch (error) {
      const status = statusOf(error)
      if (status === 412) return 'present'
      // 409: another writer of this key came in between; it may have failed.
      if ((isRefusal(error) || status === 409 || isUnsure(error)) && (await find(key, signal))) return 'present'
      if (!isRefusal(error) && status !== 409) throw error
      const before = checksum
      await putSomehow(key, bytes, oid, signal)
      // What the other checksum mended was no fault of the condition.
      if (isRefusal(error) && checksum === before) {
        knowsConditions = false
        sayOnce(`${server} has no conditional writes: mlv looks before it writes instead`)
      }
      return 'written'
    }
  }

  return async (key, bytes, { oid, ifAbsent, signal }) => {
    if (ifAbsent) return putIfAbsent(key, bytes, oid, signal)
    await putSomehow(key, bytes, oid, signal)
    return 'written'
  }

  function altered(key: string, oid: Oid): MlvError {
    return new MlvError('OBJECT_CORRUPT', `The bytes for ${key} are not those of ${oid}`, {
      hint: 'Run the command again; if it happens twice, the memory or disk of this machine is at fault.',
    })
  }
}

/** The bytes in small pieces, as fast as the rate allows. */
function paced(bytes: Uint8Array, rate: Rate, signal: AbortSignal | undefined): Readable {
  const step = Math.min(64 << 10, Math.max(1 << 10, Math.floor(rate.bytesPerSecond / 16)))
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += step) {
      const piece = bytes.subarray(at, at + step)
      await rate.take(piece.length, signal)
      yield piece
    }
  }
  return Readable.from(pieces(), { objectMode: false })
}
