import { setTimeout as sleep } from 'node:timers/promises'

/** A number of bytes per second that all who hold it share. */
export interface Rate {
  readonly bytesPerSecond: number
  /** Waits until these bytes may have passed, in the order of the calls. @throws the signal's reason */
  take(bytes: number, signal?: AbortSignal | null): Promise<void>
}

/** Below this, single pieces would take so long that servers hang up. */
export const LEAST_RATE = 4096

/** Waits shorter than this are left to the next call: a timer is no finer. */
const LEAST_WAIT_MS = 5

export function createRate(bytesPerSecond: number, now: () => number = () => performance.now()): Rate {
  let free = 0
  return {
    bytesPerSecond,
    async take(bytes, signal) {
      signal?.throwIfAborted()
      const time = now()
      free = Math.max(free, time) + (bytes * 1000) / bytesPerSecond
      if (free - time < LEAST_WAIT_MS) return
      try {
        await sleep(free - time, undefined, { signal: signal ?? undefined })
      } catch (error) {
        signal?.throwIfAborted()
        throw error
      }
    },
  }
}

const UNITS: Record<string, number> = { '': 1, k: 1 << 10, m: 1 << 20, g: 2 ** 30, t: 2 ** 40 }

/** Parses `500K`, `10M`, `1.5G`, `10MiB`, `10MB/s` or plain bytes; units are powers of 1024, as curl and rclone take them.
 *  @returns undefined for anything else, and for less than 4 KiB per second */
export function parseRate(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?(?:\/s|ps)?$/i.exec(text.trim()) ?? []
  if (number === undefined) return undefined
  const rate = Math.round(Number(number) * UNITS[unit!.toLowerCase()]!)
  return rate >= LEAST_RATE && rate <= Number.MAX_SAFE_INTEGER ? rate : undefined
}
