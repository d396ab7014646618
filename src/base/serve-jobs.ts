import { parentPort } from 'node:worker_threads'

/** The side of a thread: answers each job, one after the other. An error ends the thread. */
export function serveJobs<Job, Reply>(work: (job: Job) => Reply | Promise<Reply>): void {
  let last: Promise<void> = Promise.resolve()
  parentPort?.on('message', (job: Job) => {
    last = last.then(async () => parentPort?.postMessage(await work(job)))
  })
}
