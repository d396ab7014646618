import { MlvError } from '../base/errors.ts'
import { fetchInTime, judge, refusal, unreachable } from './http-blobs.ts'
import { ShortBody } from './http-body.ts'
import { createRequester, type Requester } from './requester.ts'

/** What a web server says of a file. */
export interface WebVersion {
  size: number | undefined
  etag?: string
  /** its Last-Modified, as the server wrote it */
  modified?: string
}

export interface Download extends WebVersion {
  pieces: AsyncGenerator<Buffer>
}

/** Tries of one request, and of each further byte. */
const TRIES = 5

function versionOf({ headers }: Response): WebVersion {
  const length = headers.get('content-length')
  return {
    size: length === null || headers.has('content-encoding') ? undefined : Number(length),
    etag: headers.get('etag') ?? undefined,
    modified: headers.get('last-modified') ?? undefined,
  }
}

function missing(url: string): MlvError {
  return new MlvError('PATH_MISSING', `There is nothing at ${url}`, {
    hint: 'Check the url; if it has moved, import it from its new place.',
  })
}

const openRequester = () => createRequester({ judge, tries: TRIES, most: 1 })

async function request(url: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
  const response = await fetchInTime(url, init, signal)
  if (response.ok) return response
  await response.body?.cancel()
  throw response.status === 404 || response.status === 410 ? missing(url) : refusal(url, response.status)
}

/** Does what may be done again, and puts into words what it fails with in the end. */
async function send<T>(requester: Requester, url: string, work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await requester.send(work, signal)
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ShortBody) throw error.toFailure(url)
    throw error instanceof MlvError ? error : unreachable(error, url)
  }
}

/** Asks what version of a file a web server has. @returns undefined where it does not answer such a question   @throws as openDownload */
export async function askVersion(url: string, signal?: AbortSignal): Promise<WebVersion | undefined> {
  try {
    return versionOf(await send(openRequester(), url, () => request(url, { method: 'HEAD' }, signal), signal))
  } catch (error) {
    if (error instanceof MlvError && error.code === 'REMOTE_FAILED') return undefined
    throw error
  }
}

function changed(url: string): MlvError {
  return new MlvError('FILE_CHANGED', `${url} changed while it was read`, { hint: 'Run the command again.' })
}

/** The bytes of an answer that are still to be used. */
interface Rest {
  bytes: AsyncGenerator<Uint8Array>
  /** so many of them are here already */
  skip: number
}

async function* bytesOf({ body }: Response): AsyncGenerator<Uint8Array> {
  if (body) yield* body as AsyncIterable<Uint8Array>
}

/** Goes on behind the bytes that are here already; a server that cannot sends all, and those are passed over.
 *  @throws FILE_CHANGED when it is another file by now */
async function goOn(url: string, at: number, was: WebVersion, signal: AbortSignal | undefined): Promise<Rest> {
  const answer = await request(url, { headers: { range: `bytes=${at}-` } }, signal)
  const now = versionOf(answer)
  const isSame = was.etag === undefined ? was.modified !== undefined && was.modified === now.modified : was.etag === now.etag
  if (!isSame) {
    await answer.body?.cancel()
    throw changed(url)
  }
  return { bytes: bytesOf(answer), skip: answer.status === 206 ? 0 : at }
}

/** Begins to read a file of a web server as one stream; where it breaks off, it goes on from there.
 *  @throws PATH_MISSING, REMOTE_DENIED, REMOTE_FAILED, REMOTE_UNREACHABLE; FILE_CHANGED from the pieces */
export async function openDownload(url: string, signal?: AbortSignal): Promise<Download> {
  const requester = openRequester()
  const first = await send(requester, url, () => request(url, {}, signal), signal)
  const version = versionOf(first)
  let at = 0
  let rest: Rest | undefined = { bytes: bytesOf(first), skip: 0 }

  /** One try to get more. @returns undefined at the end */
  async function next(): Promise<Buffer | undefined> {
    const now = rest ?? (await goOn(url, at, version, signal))
    rest = undefined
    for (;;) {
      const { value, done } = await now.bytes.next()
      if (done) break
      const kept = value.subarray(Math.min(now.skip, value.length))
      now.skip -= value.length - kept.length
      if (kept.length === 0) continue
      at += kept.length
      rest = now
      return Buffer.from(kept.buffer, kept.byteOffset, kept.byteLength)
    }
    if (version.size === undefined || at === version.size) return undefined
    if (at > version.size) throw changed(url)
    throw new ShortBody(`${at} of ${version.size} bytes`)
  }

  async function* pieces(): AsyncGenerator<Buffer> {
    try {
      // Each piece has all tries: what goes on slowly goes on.
      for (let piece = await send(requester, url, next, signal); piece; piece = await send(requester, url, next, signal))
        yield piece
    } finally {
      await rest?.bytes.return(undefined)
    }
  }
  return { ...version, pieces: pieces() }
}
