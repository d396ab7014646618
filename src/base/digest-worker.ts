import { createOidHash, type OidHash, oidOfBytes } from './oid.ts'
import { serveJobs } from './serve-jobs.ts'

/** Bytes to hash: on their own, or as the next ones of a stream; `bytes` undefined ends the stream. */
export interface DigestJob {
  stream: number | undefined
  bytes: { buffer: SharedArrayBuffer; from: number; length: number } | undefined
}

/** the oid, where a job ends something */
export type DigestReply = string | undefined

const streams = new Map<number, OidHash>()

function digest({ stream, bytes }: DigestJob): DigestReply {
  const view = bytes && Buffer.from(bytes.buffer, bytes.from, bytes.length)
  if (stream === undefined) return oidOfBytes(view!)
  const hash = streams.get(stream) ?? createOidHash()
  if (view) {
    hash.update(view)
    streams.set(stream, hash)
    return undefined
  }
  streams.delete(stream)
  return hash.digest()
}

serveJobs(digest)
