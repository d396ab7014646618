import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { GetOptions } from '../store/blobs.ts'
import type { DirectAnswer, DirectGetter, DirectRequest } from './direct-get.ts'

/** Bytes from which a range is worth a way of its own. */
const DIRECT_FROM = 64 << 10

/** A signature holds for all ranges of an object, since the range need not be signed; making one takes the SDK a millisecond of CPU. It is good for
 *  15 minutes by the server's clock. ms */
const SIGNED_FOR = 60_000
/** Ranges of so many objects are read at once at most, nearly. */
const SIGNED_MOST = 256

/** The part of the SDK's request that is needed. */
interface SignedRequest extends DirectRequest {
  query?: Record<string, string | string[] | null>
}

interface Signed {
  request: SignedRequest
  until: number
}

export interface WantedObject {
  Bucket: string
  Key: string
  VersionId?: string
}

export type WantedRange = Pick<GetOptions, 'into' | 'signal'> & { start: number; end: number }

/** Reads ranges of known length by the getter, with requests that the SDK has signed. */
export interface DirectReader {
  /** @returns undefined for what is left to the SDK, with its words for it */
  get(object: WantedObject, range: WantedRange): Promise<DirectAnswer | undefined>
}

export function createDirectReader(client: S3Client, getter: DirectGetter): DirectReader {
  const known = new Map<string, Signed>()

  async function sign(object: WantedObject, key: string, signal: AbortSignal | undefined): Promise<SignedRequest> {
    const before = known.get(key)
    if (before && performance.now() < before.until) return before.request
    const command = new GetObjectCommand(object)
    let request: SignedRequest | undefined
    command.middlewareStack.add(
      () => async (args) => {
        request = args.request as SignedRequest
        return { response: {}, output: { $metadata: {} } }
      },
      { step: 'deserialize', priority: 'high', name: 'takeSigned' },
    )
    await client.send(command, { abortSignal: signal })
    if (known.size >= SIGNED_MOST) known.clear()
    known.set(key, { request: request!, until: performance.now() + SIGNED_FOR })
    return request!
  }

  return {
    async get(object, { start, end, into, signal }) {
      if (end - start < DIRECT_FROM) return undefined
      const key = `${object.Key} ${object.VersionId ?? ''}`
      const request = await sign(object, key, signal)
      const headers = { ...request.headers, range: `bytes=${start}-${end - 1}` }
      const room = into ?? Buffer.allocUnsafe(end - start)
      const answer = await getter.get({ ...request, headers, path: withQuery(request) }, room, signal)
      // Perhaps the credentials have ended.
      if (!answer) known.delete(key)
      return answer
    },
  }
}

function withQuery({ path, query = {} }: SignedRequest): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value ?? ''].flat().map((item) => `${escaped(name)}=${escaped(item)}`),
  )
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`
}

/** As signatures of version 4 want it. */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}
