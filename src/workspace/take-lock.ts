import { acquireLock } from '../base/lock-file.ts'
import type { Surroundings } from './project.ts'

/** Takes a lock for a command: says when it waits, and stops waiting when the user interrupts.
 *  @param seconds how long to wait   @returns a function that gives the lock back   @throws LOCK_HELD, INTERRUPTED, FILE_UNWRITABLE */
export function takeLock(path: string, seconds: number, surroundings: Surroundings): Promise<() => void> {
  const { command, signal, warn } = surroundings
  return acquireLock(path, { timeout: seconds, command, signal, onWait: (owner) => warn(`waiting for ${owner}`) })
}
