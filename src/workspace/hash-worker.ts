import { type Oid, oidOfBytes } from '../base/oid.ts'
import { serveJobs } from '../base/serve-jobs.ts'
import { createLooseObjects } from '../store/loose.ts'
import { type KnownBytes, readLargeFile, readSmallFile } from './read-file.ts'
import { kindOf } from './stat-table.ts'

/** Files to read and hash, one after the other, into a shared buffer. */
export interface SliceJob {
  kind: 'slice'
  paths: string[]
  largeFrom: number
  /** their bytes, without a gap; not kept apart where `scratch` */
  buffer: SharedArrayBuffer
  scratch: boolean
}

/** What became of each file of a slice; shorter than the slice when the buffer was full. */
export interface SliceReply {
  /** per file: size, mtime in ms, inode, and when it was read, in ms since 1970 */
  numbers: Float64Array
  outcomes: Uint8Array
  /** 64 characters a file, blanks where it was not hashed */
  oids: string
}

/** per file of a reply; `redo`: whoever asked looks himself, and finds out what is wrong */
export const OUTCOME = { file: 0, exec: 1, large: 2, redo: 3 } as const

/** One large file to hash, and to store in the cache whose folder is given. */
export interface LargeJob {
  kind: 'large'
  path: string
  cache: string | undefined
  known: KnownBytes | undefined
  shared: SharedArrayBuffer
}

/** undefined: whoever asked must look himself. */
export type LargeReply =
  | { exec: boolean; size: number; mtime: number; ctime: number; inode: number; at: number; oid: string; fingerprint?: string }
  | undefined

/** Bytes of shared memory to name. */
export interface NameJob {
  kind: 'name'
  buffer: SharedArrayBuffer
  length: number
}

export type NameReply = Oid

/** Layout of what a thread with large files shares: u64 bytes done · i32 that is not 0 once it is to stop. */
export const SHARED_BYTES = 16

/** Numbers of a file in a reply: size, mtime, inode, when it was read, ctime. */
export const NUMBERS = 5

const NO_OID = ' '.repeat(64)

function hashSlice(job: SliceJob): SliceReply {
  const whole = Buffer.from(job.buffer)
  const numbers = new Float64Array(job.paths.length * NUMBERS)
  const outcomes = new Uint8Array(job.paths.length)
  let oids = ''
  let used = 0
  let count = 0
  for (const path of job.paths) {
    let outcome: number = OUTCOME.redo
    let oid = NO_OID
    try {
      const glance = readSmallFile(path, job.largeFrom, (length) =>
        length > whole.length - used ? undefined : whole.subarray(used, used + length),
      )
      if (glance.is === 'waiting') break
      if (glance.is === 'large') {
        outcome = OUTCOME.large
        numbers[count * NUMBERS] = glance.size
      } else if (glance.is === 'hashed') {
        const { stats, at } = glance.file
        oid = glance.file.oid
        outcome = OUTCOME[kindOf(stats) === 'exec' ? 'exec' : 'file']
        numbers.set([stats.size, stats.mtimeMs, stats.ino, at, stats.ctimeMs], count * NUMBERS)
        if (!job.scratch) used += stats.size
      }
    } catch {
      // Said by the one who looks again.
    }
    outcomes[count++] = outcome
    oids += oid
  }
  return { numbers, outcomes: outcomes.subarray(0, count), oids }
}

async function hashLarge(job: LargeJob): Promise<LargeReply> {
  const bytes = new BigInt64Array(job.shared, 0, 1)
  const stop = new Int32Array(job.shared, 8, 1)
  const onBytes = (count: number) => {
    Atomics.add(bytes, 0, BigInt(count))
    if (Atomics.load(stop, 0) !== 0) throw new Error('stopped')
  }
  try {
    const loose = job.cache === undefined ? undefined : createLooseObjects(job.cache)
    const file = await readLargeFile(job.path, { loose, known: job.known, onBytes })
    if (!file) return undefined
    const { stats, oid, at, fingerprint } = file
    const times = { mtime: stats.mtimeMs, ctime: stats.ctimeMs }
    return { exec: kindOf(stats) === 'exec', size: stats.size, ...times, inode: stats.ino, at, oid, fingerprint }
  } catch {
    return undefined
  }
}

function work(job: SliceJob | LargeJob | NameJob): SliceReply | Promise<LargeReply> | NameReply {
  if (job.kind === 'slice') return hashSlice(job)
  return job.kind === 'large' ? hashLarge(job) : oidOfBytes(Buffer.from(job.buffer, 0, job.length))
}

serveJobs<SliceJob | LargeJob | NameJob, SliceReply | LargeReply | NameReply>(work)
