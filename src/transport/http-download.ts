import { setTimeout as sleep } from 'node:timers/promises'
import { MlvError } from '../base/errors.ts'
import { fetchInTime, judge, refusal, unreachable } from './http-blobs.ts'
import { createRequester } from './requester.ts'

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

/** Tries without a byte in between. */
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

async function ask(url: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
  const requester = createRequester({ judge, tries: TRIES, most: 1 })
  try {
    return await requester.send(async () => {
      const response = await fetchInTime(url, init, signal)
      if (response.ok) return response
      await response.body?.cancel()
      throw response.status === 404 || response.status === 410 ? missing(url) : refusal(url, response.status)
    }, signal)
  } catch (error) {
    signal?.throwIfAborted()
    throw error instanceof MlvError ? error : unreachable(error, url)
  }
}

/** Asks what version of a file a web server has. @returns undefined where it does not answer such a question   @throws as openDownload */
export async function askVersion(url: string, signal?: AbortSignal): Promise<WebVersion | undefined> {
  try {
    return versionOf(await ask(url, { method: 'HEAD' }, signal))
  } catch (error) {
    if (error instanceof MlvError && error.code === 'REMOTE_FAILED') return undefined
    throw error
  }
}

function changed(url: string): MlvError {
  return new MlvError('FILE_CHANGED', `${url} changed while it was read`, { hint: 'Run the command again.' })
}

/** Goes on behind the bytes that are here already; a server that cannot sends all, and those are passed over.
 *  @throws FILE_CHANGED when it is another file by now */
async function goOn(
  url: string,
  at: number,
  was: WebVersion,
  signal: AbortSignal | undefined,
): Promise<{ body: Response; skip: number }> {
  const body = await ask(url, { headers: { range: `bytes=${at}-` } }, signal)
  const now = versionOf(body)
  const isSame = was.etag === undefined ? was.modified !== undefined && was.modified === now.modified : was.etag === now.etag
  if (!isSame) {
    await body.body?.cancel()
    throw changed(url)
  }
  return { body, skip: body.status === 206 ? 0 : at }
}

/** Begins to read a file of a web server as one stream; where it breaks off, it goes on from there.
 *  @throws PATH_MISSING, REMOTE_DENIED, REMOTE_FAILED, REMOTE_UNREACHABLE; FILE_CHANGED from the pieces */
export async function openDownload(url: string, signal?: AbortSignal): Promise<Download> {
  const first = await ask(url, {}, signal)
  const version = versionOf(first)
  async function* pieces(): AsyncGenerator<Buffer> {
    let at = 0
    let response = first
    let skip = 0
    for (let faults = 0; ; ) {
      try {
        for await (const bytes of (response.body ?? []) as AsyncIterable<Uint8Array>) {
          faults = 0
          const kept = bytes.subarray(Math.min(skip, bytes.length))
          skip -= bytes.length - kept.length
          at += kept.length
          if (kept.length > 0) yield Buffer.from(kept.buffer, kept.byteOffset, kept.byteLength)
        }
        if (version.size === undefined || at === version.size) return
      } catch (error) {
        signal?.throwIfAborted()
        if (error instanceof MlvError) throw error
        if (++faults === TRIES) throw unreachable(error, url)
      }
      if (version.size !== undefined && at > version.size) throw changed(url)
      await sleep(100 * 2 ** faults, undefined, { signal })
      const next = await goOn(url, at, version, signal)
      response = next.body
      skip = next.skip
    }
  }
  return { ...version, pieces: pieces() }
}
