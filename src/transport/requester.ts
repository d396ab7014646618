import { setMaxListeners } from 'node:events'
import { Again, repeat } from '../base/repeat.ts'

/** What a failed try says about another one. `overload`: the server wants fewer requests at once; `silence`: no answer came. */
export type Verdict = 'final' | 'passing' | 'overload' | 'silence'

export interface Requester {
  /** Does a request, again after passing faults, and never more of them at once than the server bears.
   *  @param request is told how long to wait for an answer to begin, in ms, where that is less than usual: a server that has never answered may not be
   *  there at all. For requests that a server answers at once
   *  @throws what the last try threw; the signal's reason */
  send<T>(request: (limit: number | undefined) => Promise<T>, signal: AbortSignal | undefined): Promise<T>
  /** requests that may be under way at once now */
  readonly width: number
}

export interface RequesterOptions {
  judge(error: unknown): Verdict
  /** ms that the server asked to wait for */
  askedPause?(error: unknown): number | undefined
  /** tries of one request once the server has answered any; 8 when not given */
  tries?: number
  /** requests at once at most */
  most: number
}

/** With the pauses below, a fault of about 40 s goes unseen. */
const TRIES = 8
/** A server that never answered is more likely misspelt than ill: about a second. */
const TRIES_BEFORE_FIRST_ANSWER = 4
/** One that is silent is waited for three times: with the last one's usual 30 s, 45 s in all. */
const SILENT_TRIES_BEFORE_FIRST_ANSWER = 3
const FIRST_LIMITS_MS = [4_000, 10_000]
const PAUSES = { first: 100, longest: 20_000, byChance: true }
const LONGEST_ASKED_PAUSE_MS = 60_000
/** Requests at once before anything is known of the server. */
const FIRST_WIDTH = 16
/** Of many requests that fail together one counts. */
const NARROW_EVERY_MS = 500

/** The one place that repeats requests and decides how many are under way: half as many after an overload, slowly more after successes, as TCP does. */
export function createRequester(options: RequesterOptions): Requester {
  const gate = createGate(options.most)
  const tries = options.tries ?? TRIES
  let answered = false

  async function attempt<T>(request: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    await gate.enter(signal)
    try {
      const answer = await request()
      answered = true
      gate.widen()
      return answer
    } finally {
      gate.leave()
    }
  }

  return {
    get width() {
      return gate.width
    },
    send<T>(request: (limit: number | undefined) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
      shareSignal(signal)
      const once = async (number: number): Promise<T | Again> => {
        try {
          return await attempt(() => request(answered ? undefined : FIRST_LIMITS_MS[number - 1]), signal)
        } catch (error) {
          signal?.throwIfAborted()
          const verdict = options.judge(error)
          if (verdict !== 'silence') answered = true
          if (verdict === 'final') throw error
          if (verdict === 'overload') gate.narrow()
          if (number >= (answered ? tries : Math.min(tries, triesBeforeFirstAnswer(error)))) throw error
          return new Again(askedPause(options, error))
        }
      }
      return repeat(once, PAUSES, signal)
    },
  }
}

function askedPause({ askedPause }: RequesterOptions, error: unknown): number {
  return Math.min(LONGEST_ASKED_PAUSE_MS, askedPause?.(error) ?? 0)
}

function triesBeforeFirstAnswer(error: unknown): number {
  return (error as Error).name === 'TimeoutError' ? SILENT_TRIES_BEFORE_FIRST_ANSWER : TRIES_BEFORE_FIRST_ANSWER
}

/** Runs a request whose answer is to begin within a limit. @param start gets a signal that ends the request, and gives its answer's beginning
 *  @throws a TimeoutError; what the request throws */
export async function inTime<T>(
  limit: number | undefined,
  signal: AbortSignal | null | undefined,
  start: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  if (limit === undefined) return start(signal ?? undefined)
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new DOMException('no answer in time', 'TimeoutError')), limit)
  try {
    return await start(signal ? AbortSignal.any([signal, late.signal]) : late.signal)
  } catch (error) {
    throw late.signal.aborted && !signal?.aborted ? late.signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}

/** Lets one signal serve any number of requests at once; Node warns on the terminal from the eleventh on. */
function shareSignal(signal: AbortSignal | undefined): void {
  if (signal) setMaxListeners(0, signal)
}

interface Gate {
  readonly width: number
  enter(signal: AbortSignal | undefined): Promise<void>
  leave(): void
  widen(): void
  narrow(): void
}

function createGate(most: number): Gate {
  let width = Math.min(FIRST_WIDTH, most)
  let inside = 0
  let narrowed = Number.NEGATIVE_INFINITY
  const waiting: (() => void)[] = []
  function admit(): void {
    while (inside < Math.floor(width) && waiting.length > 0) {
      inside++
      waiting.shift()!()
    }
  }
  return {
    get width() {
      return Math.floor(width)
    },
    async enter(signal) {
      if (inside < Math.floor(width)) {
        inside++
        return
      }
      await new Promise<void>((resolve, reject) => {
        const turn = () => {
          signal?.removeEventListener('abort', give)
          resolve()
        }
        const give = () => {
          const at = waiting.indexOf(turn)
          if (at >= 0) waiting.splice(at, 1)
          reject(signal!.reason)
        }
        waiting.push(turn)
        signal?.addEventListener('abort', give, { once: true })
      })
    },
    leave() {
      inside--
      admit()
    },
    widen() {
      width = Math.min(most, width + 1 / width)
    },
    narrow() {
      const now = performance.now()
      if (now - narrowed < NARROW_EVERY_MS) return
      narrowed = now
      width = Math.max(1, width / 2)
    },
  }
}
