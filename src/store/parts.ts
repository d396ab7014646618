import { createHash } from 'node:crypto'

const PART_BYTES = 16 << 20
/** What S3 takes at most. */
const MAX_PARTS = 10_000

/** The bytes of each part but the last, of a blob that is uploaded in parts; the same for each upload of it. */
export function partBytes(size: number): number {
  const least = Math.ceil(size / MAX_PARTS)
  return Math.max(PART_BYTES, Math.ceil(least / (1 << 20)) << 20)
}

/** Cuts pieces into parts, all of the same length but the last. */
export async function* partsOf(pieces: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let bytes = 0
  for await (const piece of pieces) {
    let rest = piece
    while (bytes + rest.length >= length) {
      const cut = length - bytes
      yield Buffer.concat([...held, rest.subarray(0, cut)])
      held = []
      bytes = 0
      rest = rest.subarray(cut)
    }
    if (rest.length > 0) held.push(rest)
    bytes += rest.length
  }
  if (bytes > 0) yield Buffer.concat(held)
}

/** The ETag that S3 gives an unencrypted blob: its MD5, or, uploaded in parts, the MD5 of theirs and their number. An identity to S3, never to us. */
export async function s3Tag(pieces: AsyncIterable<Buffer>, size: number): Promise<string> {
  const length = partBytes(size)
  if (size <= length) {
    const hash = createHash('md5')
    for await (const piece of pieces) hash.update(piece)
    return `"${hash.digest('hex')}"`
  }
  const all = createHash('md5')
  let count = 0
  for await (const part of partsOf(pieces, length)) {
    all.update(createHash('md5').update(part).digest())
    count++
  }
  return `"${all.digest('hex')}-${count}"`
}
