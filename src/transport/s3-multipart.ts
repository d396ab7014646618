import { createHash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { mapBounded } from '../base/concurrency.ts'
import { MlvError } from '../base/errors.ts'
import { partBytes, partsOf } from '../store/parts.ts'
import type { UploadParts } from './s3-blobs.ts'
import type { S3Options } from './s3-client.ts'

/** Parts sent at once; each is held in memory. */
const PARTS_AT_ONCE = 3

/** Uploads a blob of any size in parts, each checked by the server against its MD5. The blob is visible once all are there, or never.
 *  @param size bytes that the pieces add up to   @throws FILE_CHANGED when they do not, and what the pieces throw */
export async function uploadInParts(
  { client, send }: Pick<UploadParts, 'client' | 'send'>,
  blob: { common: { Bucket: string; Key: string }; size: number; options: S3Options; signal: AbortSignal | undefined },
  pieces: AsyncIterable<Buffer>,
): Promise<void> {
  const { common, size, options, signal } = blob
  const sse = options.sse as CreateMultipartUploadCommandInput['ServerSideEncryption']
  const { UploadId } = await send(
    () =>
      client.send(new CreateMultipartUploadCommand({ ...common, ServerSideEncryption: sse, SSEKMSKeyId: options.sseKmsKey }), {
        abortSignal: signal,
      }),
    signal,
  )
  const upload = { ...common, UploadId }
  try {
    let sent = 0
    const parts = await mapBounded(
      partsOf(pieces, partBytes(size)),
      PARTS_AT_ONCE,
      async (bytes, index): Promise<CompletedPart> => {
        sent += bytes.length
        await options.rate?.take(bytes.length, signal)
        const ContentMD5 = createHash('md5').update(bytes).digest('base64')
        const input = { ...upload, PartNumber: index + 1, Body: bytes, ContentLength: bytes.length, ContentMD5 }
        const { ETag } = await send(() => client.send(new UploadPartCommand(input), { abortSignal: signal }), signal)
        return { ETag, PartNumber: index + 1 }
      },
    )
    if (sent !== size)
      throw new MlvError('FILE_CHANGED', `${common.Key} has ${sent} bytes, not ${size}`, { hint: 'Run the command again.' })
    const command = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } })
    await send(() => client.send(command, { abortSignal: signal }), signal)
  } catch (error) {
    // Parts of an upload that never ends would be paid for. A bucket that cannot be reached now may have a rule for them.
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => {})
    throw error
  }
}
