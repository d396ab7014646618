/** What a report says of a run besides how it ended. */
export interface RunNotes {
  /** UTC, to the millisecond, as ISO 8601 writes it */
  started: string
  ended: string
  /** the last that its commands printed; not there when they printed nothing, or did not run */
  log?: string
}

/** Bytes of output that a report holds at most: a traceback, and what came before it. */
export const TAIL_BYTES = 8192

const LINE_FEED = 10

/** Keeps the end of what is written to it: at most TAIL_BYTES, from the start of a line where there is one. */
export function createTail(): { write(bytes: Uint8Array): void; text(): string } {
  let kept: Buffer = Buffer.alloc(0)
  let cut = false
  return {
    write(bytes) {
      const all = Buffer.concat([kept, bytes.subarray(Math.max(0, bytes.length - TAIL_BYTES))])
      cut ||= bytes.length > TAIL_BYTES || all.length > TAIL_BYTES
      kept = all.subarray(Math.max(0, all.length - TAIL_BYTES))
    },
    text() {
      const feed = cut ? kept.indexOf(LINE_FEED) : -1
      // The last line may be longer than all that is kept.
      return kept.subarray(feed === kept.length - 1 ? 0 : feed + 1).toString('utf8')
    },
  }
}

/** Notes a run from now on. */
export function startNotes(): { write(bytes: Uint8Array): void; finish(): RunNotes } {
  const started = new Date().toISOString()
  const tail = createTail()
  return {
    write: tail.write,
    finish() {
      const log = tail.text()
      return { started, ended: new Date().toISOString(), ...(log === '' ? {} : { log }) }
    },
  }
}
