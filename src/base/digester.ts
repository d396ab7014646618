import type { DigestJob, DigestReply } from './digest-worker.ts'
import { createOidHash, type Oid, oidOfBytes } from './oid.ts'
import { sharedBuffer } from './pages.ts'
import { spareCores, startThreads } from './threads.ts'

/** The SHA-256 of bytes that come in pieces. */
export interface DigestStream {
  /** Takes the next bytes, which stay as they are until what it returns has come true. */
  update(bytes: Buffer): unknown
  digest(): Promise<Oid> | Oid
}

/** Hashes beside the caller, where there is a core for it. Only bytes of shared memory (`sharedBuffer`) can be handed over; others are hashed at once. */
export interface Digester {
  /** @param bytes stay as they are until it is done */
  oidOf(bytes: Buffer): Promise<Oid> | Oid
  stream(): DigestStream
  close(): Promise<void>
}

/** Hashes in the caller's own thread. */
export const DIGEST_HERE: Digester = {
  oidOf: oidOfBytes,
  stream: createOidHash,
  close: async () => {},
}

/** Starts one thread that hashes (20 ms, beside the caller's work). Where there is no second core, or the script is not built, all is hashed here. */
export function startDigester(): Digester {
  if (spareCores() < 1 || !import.meta.url.endsWith('.cjs')) return DIGEST_HERE
  const threads = startThreads<DigestJob, DigestReply>(new URL('./digest-worker.cjs', import.meta.url), 1)
  let streams = 0
  function run(job: DigestJob): Promise<DigestReply> {
    const reply = threads.run(job)
    // Whoever gives up does not wait for it.
    reply.catch(() => {})
    return reply
  }
  const part = (bytes: Buffer) => ({
    buffer: bytes.buffer as unknown as SharedArrayBuffer,
    from: bytes.byteOffset,
    length: bytes.length,
  })
  return {
    oidOf(bytes) {
      if (!isShared(bytes)) return oidOfBytes(bytes)
      return run({ stream: undefined, bytes: part(bytes) }) as Promise<Oid>
    },
    stream() {
      const stream = ++streams
      return {
        update: (bytes) => run({ stream, bytes: part(isShared(bytes) ? bytes : shared(bytes)) }),
        digest: () => run({ stream, bytes: undefined }) as Promise<Oid>,
      }
    },
    close: threads.close,
  }
}

function isShared(bytes: Buffer): boolean {
  return (bytes.buffer as unknown) instanceof SharedArrayBuffer
}

function shared(bytes: Buffer): Buffer {
  const copy = sharedBuffer(bytes.length)
  copy.set(bytes)
  return copy
}
