import { randomBytes } from 'node:crypto'
import { closeSync, linkSync, openSync, readdirSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileError, MlvError, systemCode } from './errors.ts'
import { faultPoint } from './fault-point.ts'
import { LEFTOVER_AGE_MS } from './leftover-names.ts'
import { makeFolders } from './make-folders.ts'
import { isElsewhere, isOwnerGone, type ProcessOwner, thisProcess } from './process-state.ts'

interface LockOwner extends ProcessOwner {
  command: string
  /** ISO 8601 */
  since: string
  nonce: string
  /** names the machine's start; absent where the system does not say */
  boot?: string
}

export interface LockOptions {
  /** seconds to wait for another owner */
  timeout: number
  /** what this process does, for the message another one prints */
  command: string
  /** told once when waiting begins */
  onWait?: (owner: string) => void
  /** ends the waiting with its reason */
  signal?: AbortSignal
}

function isOwner(value: unknown): value is LockOwner {
  const { pid, host, nonce } = (value ?? {}) as Partial<LockOwner>
  return Number.isInteger(pid) && typeof host === 'string' && /^[\w-]{1,64}$/.test(nonce ?? '')
}

/** `cut`: no whole text. A lock gets its name once it is written, so only a crash of the machine leaves that: it belongs to nobody.
 *  @returns undefined where there is no lock, and for the text of something else */
function readOwner(path: string): LockOwner | 'cut' | undefined {
  try {
    const owner: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isOwner(owner) ? owner : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return 'cut'
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'reading', path)
  }
}

function isGone(owner: LockOwner | 'cut'): boolean {
  return owner === 'cut' || isOwnerGone(owner)
}

function nonceOf(owner: LockOwner | 'cut' | undefined): string | undefined {
  return owner === 'cut' ? 'cut' : owner?.nonce
}

/** Breaks a dead owner's lock. Whoever links the guard, which bears that lock's nonce, is alone in doing so, and looks again; a guard whose
 *  maker died is itself broken in the same way.
 *  @param staged this process's own lock text */
function breakLock(path: string, seen: LockOwner | 'cut', staged: string): void {
  const guard = `${path}.breaks-${nonceOf(seen)}`
  try {
    linkSync(staged, guard)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw fileError(error, 'writing', path)
    const other = readOwner(guard)
    if (other && isGone(other)) breakLock(guard, other, staged)
    return
  }
  try {
    if (nonceOf(readOwner(path)) === nonceOf(seen)) unlinkSync(path)
  } finally {
    removeStaged(guard)
  }
}

/** Deletes what processes that have ended left beside the lock: texts that never became it, and guards of locks that are gone. Whoever has the
 *  lock may do so: a guard bears the nonce of an earlier one, which never comes back, so nobody needs it any more. */
function sweepStaged(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(basename(path)) || !STAGED.test(name.slice(basename(path).length))) continue
    const staged = join(dirname(path), name)
    const owner = readOwner(staged)
    // Of another process it may be about to get its text.
    const isLeft = owner === 'cut' ? isOld(staged) : owner && isGone(owner)
    if (isLeft) removeStaged(staged)
  }
}

const STAGED = /^(\.[0-9a-f]{16}|(\.breaks-[\w-]{1,64})+)$/

function isOld(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats !== undefined && stats.mtimeMs < Date.now() - LEFTOVER_AGE_MS
}

/** Writes this process's own lock text beside the lock, to be linked to its name. */
function stage(path: string, command: string): { staged: string; nonce: string } {
  const nonce = randomBytes(8).toString('hex')
  const mine: LockOwner = { ...thisProcess(), command, since: new Date().toISOString(), nonce }
  const staged = `${path}.${nonce}`
  makeFolders(dirname(path))
  try {
    faultPoint('lock: write')
    const fd = openSync(staged, 'wx')
    writeSync(fd, `${JSON.stringify(mine)}\n`)
    closeSync(fd)
  } catch (error) {
    throw fileError(error, 'writing', dirname(path))
  }
  return { staged, nonce }
}

/** Takes the lock if it is free, or its owner gone. @returns a function that gives it back, or who has it */
function take(path: string, { staged, nonce }: ReturnType<typeof stage>): (() => void) | { owner: LockOwner | undefined } {
  for (;;) {
    try {
      faultPoint('lock: take')
      // A link is made whole or not at all: no reader sees an empty lock.
      linkSync(staged, path)
      sweepStaged(path)
      return () => {
        faultPoint('lock: give back')
        if (nonceOf(readOwner(path)) === nonce) unlinkSync(path)
      }
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw fileError(error, 'writing', path)
    }
    const owner = readOwner(path)
    if (!owner || !isGone(owner)) return { owner: owner as LockOwner | undefined }
    breakLock(path, owner, staged)
  }
}

/** Takes the lock file at `path`, waiting for a live owner and breaking a dead one.
 *  @returns a function that gives the lock back   @throws LOCK_HELD, FILE_UNWRITABLE */
export async function acquireLock(path: string, options: LockOptions): Promise<() => void> {
  const mine = stage(path, options.command)
  const deadline = Date.now() + options.timeout * 1000
  let told = false
  try {
    for (let pause = 5; ; pause = Math.min(pause * 2, 200)) {
      const taken = take(path, mine)
      if (typeof taken === 'function') return taken
      const { owner } = taken
      const who = owner ? `"${owner.command}" (process ${owner.pid} on ${owner.host}, since ${owner.since})` : 'another mlv'
      if (Date.now() >= deadline)
        throw new MlvError('LOCK_HELD', `The project is locked by ${who}`, {
          hint: !owner
            ? `If no mlv is at work here, delete ${path}.`
            : isElsewhere(owner)
              ? `If that machine or container no longer runs it, delete ${path}.`
              : `Wait for it to end, or give a longer --lock-timeout; if that process is no mlv, delete ${path}.`,
        })
      if (!told) options.onWait?.(who)
      told = true
      try {
        await sleep(pause, undefined, { signal: options.signal })
      } catch (error) {
        throw options.signal?.aborted ? options.signal.reason : error
      }
    }
  } finally {
    removeStaged(mine.staged)
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4))

/** The same for a moment's work, without leaving the thread: while another one holds the lock, this thread sleeps.
 *  @param seconds how long at most   @returns undefined when somebody held it all the time   @throws FILE_UNWRITABLE, DISK_FULL */
export function acquireShortLock(path: string, command: string, seconds: number): (() => void) | undefined {
  const mine = stage(path, command)
  const deadline = Date.now() + seconds * 1000
  try {
    for (;;) {
      const taken = take(path, mine)
      if (typeof taken === 'function') return taken
      if (Date.now() >= deadline) return undefined
      Atomics.wait(PAUSE, 0, 0, 5)
    }
  } finally {
    removeStaged(mine.staged)
  }
}

function removeStaged(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, 'writing', path)
  }
}
