import type { GetObjectCommand } from '@aws-sdk/client-s3'
import type { GetOptions } from '../store/blobs.ts'
import type { DirectGetter, DirectRequest } from './direct-get.ts'

/** Bytes from which a range is worth a way of its own. */
const DIRECT_FROM = 64 << 10

/** The part of the SDK's request that is needed. */
interface SignedRequest extends DirectRequest {
  query?: Record<string, string | string[] | null>
}

/** Lets a command, once the SDK has signed it, read a range of known length by the getter; what that leaves, the SDK asks for itself. */
export function readDirectly(
  command: GetObjectCommand,
  getter: DirectGetter,
  { start = 0, end, into, signal }: GetOptions,
): void {
  if (end === undefined || end - start < DIRECT_FROM) return
  command.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as SignedRequest
      const answer = await getter.get({ ...request, path: withQuery(request) }, into ?? Buffer.allocUnsafe(end - start), signal)
      if (!answer) return next(args)
      const { bytes, headers } = answer
      const output = { ETag: headers.get('etag'), ContentLength: bytes.length, ContentRange: headers.get('content-range'), bytes }
      return { response: {}, output: { $metadata: {}, ...output } }
    },
    { step: 'deserialize', priority: 'high', name: 'readDirectly' },
  )
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
