import { setTimeout as sleep } from 'node:timers/promises'

export interface Pauses {
  /** ms before the second try; each later pause is three times the one before */
  first: number
  /** ms at most */
  longest?: number
  /** half of each pause by chance, so that many who failed together do not come back at once */
  byChance?: boolean
}

/** What a try gives that is to be done again. */
export class Again {
  /** @param atLeast ms to wait before */
  constructor(readonly atLeast = 0) {}
}

/** Tries something until it gives anything but Again, with pauses between the tries. What a try throws, and when it is the last one, is its own to say.
 *  @param once is told its number, from 1   @throws what a try throws; the signal's reason, also in a pause */
export async function repeat<T>(once: (number: number) => Promise<T | Again>, pauses: Pauses, signal?: AbortSignal): Promise<T> {
  for (let number = 1; ; number++) {
    signal?.throwIfAborted()
    const result = await once(number)
    if (!(result instanceof Again)) return result
    await pause(Math.max(result.atLeast, lengthOf(pauses, number)), signal)
  }
}

function lengthOf({ first, longest = Number.POSITIVE_INFINITY, byChance }: Pauses, number: number): number {
  return Math.min(longest, first * 3 ** (number - 1)) * (byChance ? 0.5 + Math.random() / 2 : 1)
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
