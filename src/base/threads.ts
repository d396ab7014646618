import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Numbered } from './serve-jobs.ts'

/** Threads that run one script. */
export interface Threads<Job, Reply> {
  readonly size: number
  /** Hands a job to the thread with the fewest. @throws when that thread ends without an answer; the job may then be done elsewhere */
  run(job: Job): Promise<Reply>
  /** Ends the threads; jobs under way are lost. */
  close(): Promise<void>
}

interface Thread<Reply> {
  worker: Worker
  /** by the job's number */
  waiting: Map<number, { resolve(reply: Reply): void; reject(error: unknown): void }>
  ended: boolean
}

/** Threads beyond which the one that hands out work cannot keep up. */
const MOST = 8

/** How many threads may work beside this one: none on a single core. */
export function spareCores(): number {
  return Math.min(MOST, availableParallelism() - 1)
}

/** Starts threads (about 20 ms each, beside the caller's work). The script calls `serveJobs`. */
export function startThreads<Job, Reply>(script: URL, size: number): Threads<Job, Reply> {
  const threads = Array.from({ length: size }, () => startThread<Reply>(script))
  let number = 0
  return {
    size,
    run: (job) =>
      new Promise((resolve, reject) => {
        const thread = threads.reduce((least, other) => (load(other) < load(least) ? other : least))
        if (thread.ended) return reject(new Error('all threads have ended'))
        thread.waiting.set(++number, { resolve, reject })
        thread.worker.postMessage({ number, value: job } satisfies Numbered<Job>)
      }),
    async close() {
      await Promise.all(threads.map((thread) => thread.worker.terminate()))
    },
  }
}

function load(thread: Thread<unknown>): number {
  return thread.ended ? Number.POSITIVE_INFINITY : thread.waiting.size
}

function startThread<Reply>(script: URL): Thread<Reply> {
  const thread: Thread<Reply> = { worker: new Worker(script, { stdout: false, stderr: false }), waiting: new Map(), ended: false }
  const end = (error: unknown) => {
    thread.ended = true
    for (const { reject } of thread.waiting.values()) reject(error)
    thread.waiting.clear()
  }
  thread.worker.on('message', ({ number, value }: Numbered<Reply>) => {
    thread.waiting.get(number)?.resolve(value)
    thread.waiting.delete(number)
  })
  thread.worker.on('error', end)
  thread.worker.on('exit', (status) => end(new Error(`a thread ended with status ${status}`)))
  return thread
}
