import { asBuffer, type Blobs } from './blobs.ts'

const RANGE_BYTES = 8 << 20
/** Ranges on their way while one is used. */
const AHEAD = 3

/** Reads a blob of any size in order, some ranges ahead, all of the same bytes where an etag or version says which.
 *  @throws BLOB_MISSING, FILE_CHANGED, and what the blobs throw */
export async function* streamBlob(
  blobs: Blobs,
  blob: { key: string; size: number; etag?: string; version?: string },
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const { key, size, etag, version } = blob
  const flying: Promise<Uint8Array>[] = []
  let asked = 0
  for (let at = 0; at < size; at += RANGE_BYTES) {
    while (asked < size && flying.length <= AHEAD) {
      const flight = blobs.get(key, { start: asked, end: Math.min(size, asked + RANGE_BYTES), etag, version, signal })
      flight.catch(() => {})
      flying.push(flight)
      asked += RANGE_BYTES
    }
    yield asBuffer(await flying.shift()!)
  }
}
