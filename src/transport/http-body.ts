import { MlvError } from '../base/errors.ts'
import type { Rate } from '../base/rate.ts'
import type { GetOptions } from '../store/blobs.ts'

export interface HttpBody {
  /** destroyed when it is left before its end */
  stream: AsyncIterable<Uint8Array>
  /** as announced */
  length: number | undefined
  /** the header of a partial answer: `bytes 5-9/100` */
  contentRange: string | undefined
}

/** An answer that ended before it should, or another part than asked for. Worth another try. */
export class ShortBody extends Error {
  toFailure(url: string): MlvError {
    return new MlvError('REMOTE_FAILED', `The answer broke off again and again: ${url} (${this.message})`, {
      hint: 'Check the network, then run the command again.',
      cause: this,
    })
  }
}

/** @returns the Range header for part of a blob; undefined for the whole */
export function rangeHeader({ start = 0, end }: GetOptions): string | undefined {
  if (end === undefined) return start === 0 ? undefined : `bytes=${start}-`
  return `bytes=${start}-${end - 1}`
}

/** Reads a body into one buffer of the announced length. @throws ShortBody; the signal's reason */
export async function collectBody(body: HttpBody, range: GetOptions, rate: Rate | undefined): Promise<Uint8Array> {
  return partOf(await collect(body, range.signal, rate), body.contentRange, range)
}

/** The part that was asked for. A server that ignored the range sent all: the part is cut out. @throws ShortBody when it is another part */
export function partOf(bytes: Uint8Array, contentRange: string | undefined, { start = 0, end }: GetOptions): Uint8Array {
  if (contentRange === undefined) return start === 0 && end === undefined ? bytes : bytes.subarray(start, end)
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(contentRange) ?? []
  const wanted = Math.min(end ?? Number.POSITIVE_INFINITY, total === '*' ? start + bytes.length : Number(total))
  if (Number(first) !== start || !(start + bytes.length >= wanted))
    throw new ShortBody(`asked for bytes ${start}-${end === undefined ? '' : end - 1}, got ${bytes.length} of ${contentRange}`)
  return bytes
}

async function collect(
  { stream, length }: HttpBody,
  signal: AbortSignal | undefined,
  rate: Rate | undefined,
): Promise<Uint8Array> {
  const whole = length === undefined ? undefined : Buffer.allocUnsafe(length)
  const parts: Uint8Array[] = []
  let done = 0
  try {
    for await (const part of stream) {
      signal?.throwIfAborted()
      if (whole && done + part.length > whole.length) throw new ShortBody(`more than the ${length} bytes announced`)
      if (whole) whole.set(part, done)
      else parts.push(part)
      done += part.length
      await rate?.take(part.length, signal)
    }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ShortBody) throw error
    throw new ShortBody(`${(error as Error).message} after ${done} of ${length ?? 'unknown'} bytes`, { cause: error })
  }
  if (whole && done < whole.length) throw new ShortBody(`${done} of ${length} bytes`)
  return whole ?? Buffer.concat(parts)
}
