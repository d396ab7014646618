import { acquireLock } from '../base/lock-file.ts'
import type { Surroundings } from './project.ts'

/** Takes a lock for a command: says when it waits, and stops waiting when the user interrupts.
 *  @param seconds how long to wait   @returns a function that gives the lock back   @throws LOCK_HELD, INTERRUPTED, FILE_UNWRITABLE */
export async function takeLock(path: string, seconds: number, surroundings: Surroundings): Promise<() => void> {
  const { command, signal, warn } = surroundings
  const waiting = acquireLock(path, { timeout: seconds, command, onWait: (owner) => warn(`waiting for ${owner}`) })
  if (!signal) return waiting
  let stop = () => {}
  const interrupted = new Promise<never>((_, fail) => {
    stop = () => fail(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([waiting, interrupted])
  } catch (error) {
    // A lock that comes later is given back.
    waiting.then(
      (release) => release(),
      () => {},
    )
    throw error
  } finally {
    // One command may take the lock a thousand times.
    signal.removeEventListener('abort', stop)
  }
}
