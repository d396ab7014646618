import { parentPort } from 'node:worker_threads'

/** A job or a reply on its way, with the number that brings them together. */
export interface Numbered<T> {
  number: number
  value: T
}

/** The side of a thread: answers each job as it is done. Those that wait for nothing are done in their order. An error ends the thread. */
export function serveJobs<Job, Reply>(work: (job: Job) => Reply | Promise<Reply>): void {
  parentPort?.on('message', async ({ number, value }: Numbered<Job>) => {
    parentPort?.postMessage({ number, value: await work(value) } satisfies Numbered<Reply>)
  })
}
