import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { MlvError } from '../base/errors.ts'
import type { GetOptions } from '../store/blobs.ts'

/** Tries of one request. With pauses that double from at most 0.1 s, a fault of about 3 s goes unseen. */
export const MAX_ATTEMPTS = 7

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

/** Lets one signal serve any number of requests at once; Node warns on the terminal from the eleventh on. */
export function shareSignal(signal: AbortSignal | null | undefined): void {
  if (signal) setMaxListeners(0, signal)
}

/** @returns the Range header for part of a blob; undefined for the whole */
export function rangeHeader({ start = 0, end }: GetOptions): string | undefined {
  if (end === undefined) return start === 0 ? undefined : `bytes=${start}-`
  return `bytes=${start}-${end - 1}`
}

/** Waits before the next attempt: a random part of a time that doubles, so that many clients do not come back at once. @throws the signal's reason */
export async function pauseAfter(attempt: number, signal: AbortSignal | null | undefined): Promise<void> {
  try {
    await sleep(50 * 2 ** attempt * Math.random(), undefined, { signal: signal ?? undefined })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}

/** Requests and reads a body, again where the answer breaks off; `request` itself repeats until there is an answer, undefined for a start beyond the end.
 *  @throws REMOTE_FAILED after the last attempt */
export async function collectAgain(
  request: () => Promise<HttpBody | undefined>,
  range: GetOptions,
  url: string,
): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    const body = await request()
    if (body === undefined) return new Uint8Array(0)
    try {
      return await collectBody(body, range)
    } catch (error) {
      if (!(error instanceof ShortBody)) throw error
      if (attempt === MAX_ATTEMPTS) throw error.toFailure(url)
      await pauseAfter(attempt, range.signal)
    }
  }
}

/** Reads a body into one buffer of the announced length. A server that ignored the range sends all: the part is cut out.
 *  @throws ShortBody; the signal's reason */
export async function collectBody(body: HttpBody, { start = 0, end, signal }: GetOptions): Promise<Uint8Array> {
  const bytes = await collect(body, signal)
  if (body.contentRange === undefined) return start === 0 && end === undefined ? bytes : bytes.subarray(start, end)
  const first = Number(/^bytes (\d+)-/.exec(body.contentRange)?.[1])
  if (first !== start) throw new ShortBody(`asked for bytes from ${start}, got ${body.contentRange}`)
  return bytes
}

async function collect({ stream, length }: HttpBody, signal: AbortSignal | undefined): Promise<Uint8Array> {
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
    }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ShortBody) throw error
    throw new ShortBody(`${(error as Error).message} after ${done} of ${length ?? 'unknown'} bytes`, { cause: error })
  }
  if (whole && done < whole.length) throw new ShortBody(`${done} of ${length} bytes`)
  return whole ?? Buffer.concat(parts)
}
