import { hasCode, MlvError, systemCode } from '../base/errors.ts'
import type { Rate } from '../base/rate.ts'
import type { BlobInfo, Blobs } from '../store/blobs.ts'
import { collectBody, rangeHeader, ShortBody } from './http-body.ts'
import { createRequester, inTime, type Verdict } from './requester.ts'

/** The file that says what a web server holds, because HTTP has no listing: lines of `bytes<TAB>seconds since 1970<TAB>key`. */
export const LISTING = 'mlv-listing.tsv'
const MAKE_LISTING = `LC_ALL=C find . -type f -printf '%s\\t%T@\\t%P\\n' | LC_ALL=C sort -t "$(printf '\\t')" -k3 > ${LISTING}`

const ANSWER_TIMEOUT_MS = 30_000
const MOST_REQUESTS = 32

export interface HttpOptions {
  url: string
  /** bytes per second that pass at most */
  rate?: Rate
  /** tries of one request */
  tries?: number
}

/** A remote's folder as any web server shows it: to read from, never to write to. */
export function createHttpBlobs({ url, rate, tries }: HttpOptions): Blobs {
  const root = url.replace(/\/+$/, '')
  const requester = createRequester({ judge, tries, most: MOST_REQUESTS })
  let listing: Promise<BlobInfo[]> | undefined

  const address = (key: string) => `${root}/${key.split('/').map(encodeURIComponent).join('/')}`

  /** Sends one request, again on passing faults. @returns undefined where there is no such thing
   *  @throws REMOTE_DENIED, REMOTE_UNREACHABLE, REMOTE_FAILED */
  async function request<T>(
    url: string,
    { signal, ...init }: RequestInit,
    read: (response: Response) => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await requester.send(async (limit) => {
        const response = await fetchInTime(url, init, signal, limit)
        if (response.ok || response.status === 416) return read(response)
        await response.body?.cancel()
        if (response.status === 404 || response.status === 410) return undefined
        throw refusal(url, response.status)
      }, signal ?? undefined)
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof ShortBody) throw error.toFailure(url)
      throw error instanceof MlvError ? error : unreachable(error, url)
    }
  }

  async function readListing(signal: AbortSignal | undefined): Promise<BlobInfo[]> {
    const answer = await request(address(LISTING), { signal }, (response) => response.text())
    if (answer !== undefined) return parseListing(answer, address(LISTING))
    throw new MlvError('REMOTE_FAILED', `${root} cannot be listed: it has no ${LISTING}`, {
      hint: `In the folder that is served, run: ${MAKE_LISTING}`,
    })
  }

  const refuse = async (): Promise<never> => {
    throw new MlvError('REMOTE_DENIED', `${root} is read only: nothing can be written over http`, {
      hint: 'Use a remote that is a folder or a bucket to push to.',
    })
  }

  return {
    url: root,
    put: refuse,
    delete: refuse,

    async get(key, range = {}) {
      const { start = 0, end, signal } = range
      const wanted = rangeHeader(end !== undefined && end <= start ? { start: 0, end: 1 } : range)
      const bytes = await request(address(key), { signal, headers: wanted ? { range: wanted } : {} }, async (response) => {
        if (response.status === 416 || (end !== undefined && end <= start)) {
          await response.body?.cancel()
          return new Uint8Array(0)
        }
        const length = response.headers.get('content-length')
        const body = {
          stream: (response.body ?? []) as AsyncIterable<Uint8Array>,
          length: length === null ? undefined : Number(length),
          contentRange: response.headers.get('content-range') ?? undefined,
        }
        return collectBody(body, range, rate)
      })
      if (bytes) return bytes
      throw new MlvError('BLOB_MISSING', `${root} has no ${key}`, {
        hint: 'Run "mlv push --all-commits" from a clone that has the data.',
      })
    },

    head: (key, signal) =>
      request(address(key), { method: 'HEAD', signal }, async ({ headers }) => ({
        key,
        size: Number(headers.get('content-length') ?? 0),
        modified: Date.parse(headers.get('last-modified') ?? '') || 0,
      })),

    async *list(prefix, signal) {
      signal?.throwIfAborted()
      listing ??= readListing(signal)
      listing.catch(() => {
        listing = undefined
      })
      for (const blob of await listing) {
        signal?.throwIfAborted()
        if (blob.key.startsWith(prefix)) yield blob
      }
    },
  }
}

/** Bounds the time until an answer begins; its body may take as long as bytes flow. */
export function fetchInTime(
  url: string,
  init: RequestInit,
  signal: AbortSignal | null | undefined,
  limit = ANSWER_TIMEOUT_MS,
): Promise<Response> {
  // Compressed on the way, the lengths of ranges would mean something else.
  const headers = { 'accept-encoding': 'identity', ...init.headers }
  return inTime(limit, signal, (own) => fetch(url, { ...init, headers, signal: own }))
}

/** What a failed request says about another try. */
export function judge(error: unknown): Verdict {
  if (error instanceof ShortBody) return 'passing'
  if (hasCode(error, 'REMOTE_FAILED')) {
    const status = Number(error.cause)
    if (status === 429 || status === 503) return 'overload'
    return status >= 500 && status !== 501 ? 'passing' : 'final'
  }
  return error instanceof MlvError || !isNetworkFault(error) ? 'final' : 'silence'
}

function isNetworkFault(error: unknown): boolean {
  const { name, message } = error as Error
  return name === 'TimeoutError' || message === 'fetch failed' || message === 'terminated'
}

export function refusal(url: string, status: number): MlvError {
  return status === 401 || status === 403
    ? new MlvError('REMOTE_DENIED', `${url} denied access (${status})`, {
        hint: 'Only what anyone may read can be a remote over http; use s3:// for the rest.',
      })
    : new MlvError('REMOTE_FAILED', `${url} answered ${status}`, {
        hint: 'Check the url of the remote, or try again later.',
        cause: status,
      })
}

/** @throws the error itself where it is no fault of the network */
export function unreachable(error: unknown, url: string): MlvError {
  const { cause } = error as Error
  if (!isNetworkFault(error)) throw error
  return new MlvError(
    'REMOTE_UNREACHABLE',
    `${new URL(url).origin} cannot be reached (${systemCode(cause) ?? 'no answer in time'})`,
    {
      hint: 'Check the network and the url, then run the command again.',
      cause: error,
    },
  )
}

/** @throws REMOTE_FAILED with the line */
function parseListing(text: string, url: string): BlobInfo[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => {
      const [size, seconds, key] = line.split('\t')
      if (key && Number.isSafeInteger(Number(size)) && Number.isFinite(Number(seconds)))
        return { key, size: Number(size), modified: Number(seconds) * 1000 }
      throw new MlvError('REMOTE_FAILED', `${url}:${i + 1}: not a line of a listing`, {
        hint: `In the folder that is served, run: ${MAKE_LISTING}`,
      })
    })
    .filter(({ key }) => key !== LISTING && !key.startsWith('tmp/'))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}
