import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import { spareCores, startThreads } from '../base/threads.ts'
import {
  type LargeJob,
  type LargeReply,
  type NameJob,
  type NameReply,
  NUMBERS,
  OUTCOME,
  SHARED_BYTES,
  type SliceJob,
  type SliceReply,
} from './hash-worker.ts'
import type { LargeOptions } from './read-file.ts'

/** What a thread found out about one file. */
export interface FileResult {
  exec: boolean
  size: number
  mtime: number
  ctime: number
  inode: number
  /** when it was read */
  at: number
  oid: Oid
  /** of a large file */
  fingerprint?: string
}

export interface Slice {
  /** files looked at; the rest did not fit and is to be asked for again */
  count: number
  /** In order, once each. `large`: its bytes; `redo`: look at the file yourself */
  take(index: number): (FileResult & { offset: number }) | { large: number } | 'redo'
  bytes(result: FileResult & { offset: number }): Buffer
  /** Gives the memory back. */
  release(): void
}

/** Threads that read and hash files. */
export interface HashThreads {
  readonly size: number
  /** @returns undefined when the thread has ended */
  readSlice(paths: string[], largeFrom: number, scratch: boolean): Promise<Slice | undefined>
  /** @returns undefined when the file is to be read here: it changed, cannot be read, or the thread has ended */
  readLarge(path: string, options: LargeOptions): Promise<FileResult | undefined>
  /** The SHA-256 of a whole buffer of shared memory, which stays as it is until then. */
  oidOf(bytes: Buffer): Promise<Oid>
  /** Makes large files that are being read end with undefined. */
  stop(): void
  /** Ends the threads once nothing is being named. */
  close(): Promise<void>
}

/** Threads that are started once there is enough for them to do. */
export interface HashCrew {
  readonly threads: HashThreads | undefined
  start(): void
  close(): Promise<void>
}

export function createHashCrew(): HashCrew {
  let threads: HashThreads | undefined
  return {
    get threads() {
      return threads
    },
    start() {
      threads ??= startHashThreads()
    },
    close: async () => threads?.close(),
  }
}

/** Room for a slice; files that would not fit are never small. */
const BUFFER_BYTES = 4 << 20
const PROGRESS_EVERY_MS = 100

/** Starts a thread for each core but this one's. @returns undefined where there is no other core, or the script is not built */
function startHashThreads(): HashThreads | undefined {
  const size = spareCores()
  // Only the built program has the script beside it.
  if (size < 1 || !import.meta.url.endsWith('.cjs')) return undefined
  const threads = startThreads<SliceJob | LargeJob | NameJob, SliceReply | LargeReply | NameReply>(
    new URL('./hash-worker.cjs', import.meta.url),
    size,
  )
  const buffers: SharedArrayBuffer[] = []
  const stops = new Set<Int32Array>()
  const naming = new Set<Promise<unknown>>()
  const run = async <Reply>(job: SliceJob | LargeJob | NameJob) => {
    try {
      return (await threads.run(job)) as Reply
    } catch {
      return undefined
    }
  }
  return {
    size,
    async readSlice(paths, largeFrom, scratch) {
      const buffer = buffers.pop() ?? new SharedArrayBuffer(BUFFER_BYTES)
      const reply = await run<SliceReply>({ kind: 'slice', paths, largeFrom, buffer, scratch })
      return reply && openSlice(reply, Buffer.from(buffer), () => void buffers.push(buffer))
    },
    async readLarge(path, options) {
      const { loose, known } = options
      const shared = new SharedArrayBuffer(SHARED_BYTES)
      const bytes = new BigInt64Array(shared, 0, 1)
      const stop = new Int32Array(shared, 8, 1)
      let told = 0n
      const tell = () => {
        if (options.signal?.aborted) Atomics.store(stop, 0, 1)
        const now = Atomics.load(bytes, 0)
        options.onBytes?.(Number(now - told))
        told = now
      }
      const timer = setInterval(tell, PROGRESS_EVERY_MS)
      stops.add(stop)
      try {
        const reply = await run<LargeReply>({ kind: 'large', path, cache: loose?.root, known, shared })
        tell()
        if (!reply || !isOid(reply.oid)) return undefined
        loose?.adopt(reply.oid)
        return { ...reply, oid: reply.oid }
      } finally {
        clearInterval(timer)
        stops.delete(stop)
      }
    },
    async oidOf(bytes) {
      const buffer = bytes.buffer as unknown as SharedArrayBuffer
      const name = run<NameReply>({ kind: 'name', buffer, length: bytes.length })
      naming.add(name)
      const oid = await name
      naming.delete(name)
      return oid ?? oidOfBytes(bytes)
    },
    stop() {
      for (const stop of stops) Atomics.store(stop, 0, 1)
    },
    async close() {
      await Promise.all(naming)
      await threads.close()
    },
  }
}

function openSlice(reply: SliceReply, whole: Buffer, release: () => void): Slice {
  const { numbers, outcomes, oids } = reply
  let offset = 0
  return {
    count: outcomes.length,
    take(index) {
      const outcome = outcomes[index]
      const at = index * NUMBERS
      if (outcome === OUTCOME.redo) return 'redo'
      if (outcome === OUTCOME.large) return { large: numbers[at]! }
      const size = numbers[at]!
      const result = {
        exec: outcome === OUTCOME.exec,
        size,
        mtime: numbers[at + 1]!,
        ctime: numbers[at + 4]!,
        inode: numbers[at + 2]!,
        at: numbers[at + 3]!,
        oid: oids.slice(index * 64, index * 64 + 64) as Oid,
        offset,
      }
      offset += size
      return result
    },
    bytes: ({ offset: from, size }) => whole.subarray(from, from + size),
    release,
  }
}
