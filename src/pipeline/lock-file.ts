import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { acquireLock } from '../base/lock-file.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { readRegularFile } from '../base/regular-file.ts'
import type { Project } from '../workspace/project.ts'
import { emptyLock, formatLock, type Lock, type LockedStage, parseLock } from './lock.ts'
import { LOCK_FILE } from './stage.ts'

function readText(project: Pick<Project, 'root'>): string | undefined {
  try {
    return readRegularFile(join(project.root, LOCK_FILE)).toString('utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    if (systemCode(error) === 'EISDIR')
      throw new MlvError('LOCK_INVALID', `${LOCK_FILE} is a folder`, { hint: 'Give the folder another name.', cause: error })
    throw fileError(error, 'reading', LOCK_FILE)
  }
}

type Place = Pick<Project, 'root' | 'stateDir'>

/** Where the SHA-256 of the last text is kept that mlv wrote, or would have written: checking one takes as long as reading it. */
function ownTextPath(project: Place): string {
  return join(project.stateDir, 'lock-canonical')
}

function isOwnText(project: Place, oid: Oid): boolean {
  try {
    return readFileSync(ownTextPath(project), 'utf8') === oid
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw fileError(error, 'reading', ownTextPath(project))
  }
}

function rememberOwnText(project: Place, oid: Oid): void {
  try {
    writeFileAtomic(ownTextPath(project), oid, { flush: false })
  } catch (error) {
    // It only saves time; a project may be read by someone who may not write to it.
    if (!hasCode(error, 'FILE_UNWRITABLE', 'DISK_FULL')) throw error
  }
}

/** The workspace's mlv.lock; an empty lock without one. @throws LOCK_INVALID, PATH_INVALID, FILE_UNREADABLE */
export async function readLock(project: Place): Promise<Lock> {
  const text = readText(project)
  if (text === undefined) return emptyLock()
  const oid = oidOfBytes(text)
  if (isOwnText(project, oid)) return parseLock(text, true)
  const lock = await parseLock(text)
  // What a person has edited is read with all checks each time, until mlv writes it.
  if (formatLock(lock) === text) rememberOwnText(project, oid)
  return lock
}

/** An interrupted command still records what it has done, and a project's own `locked` refuses to start then. */
async function locked<T>(project: Project, work: () => Promise<T>): Promise<T> {
  if (!project.surroundings.signal?.aborted) return project.locked(work)
  const release = await acquireLock(join(project.homeDir, 'lock'), { timeout: 5, command: project.surroundings.command })
  try {
    return await work()
  } finally {
    release()
  }
}

/** Reads mlv.lock, edits it and writes it back while holding the project's lock. @returns whether its text changed */
export async function updateLock(project: Project, edit: (lock: Lock) => void): Promise<boolean> {
  return locked(project, async () => {
    const before = readText(project)
    const lock = await readLock(project)
    edit(lock)
    const after = formatLock(lock)
    if (after === before || (before === undefined && lock.stages.size === 0)) return false
    writeFileAtomic(join(project.root, LOCK_FILE), after)
    rememberOwnText(project, oidOfBytes(after))
    return true
  })
}

export interface LockRecorder {
  /** Remembers what a stage ran with, and writes when it has been long enough since the last write. */
  record(name: string, stage: LockedStage): Promise<void>
  /** Writes what is left; with `known`, drops the stages that are not among them from a lock that is written anyway. */
  finish(known?: ReadonlySet<string>): Promise<void>
  /** What mlv.lock says of a stage since another mlv has written it; undefined where none has. @throws as readLock */
  news(name: string): Promise<LockedStage | undefined>
  /** whether mlv.lock was changed */
  readonly written: boolean
}

/** Writing gives the file a new inode: what differs is another text. */
function stampOf({ root }: Place): string | undefined {
  const stats = lstatSync(join(root, LOCK_FILE), { bigint: true, throwIfNoEntry: false })
  return stats && `${stats.ino} ${stats.mtimeNs} ${stats.size}`
}

/** A long pipeline of quick stages would write a large mlv.lock again and again: there is a second between two writes at least. */
const WRITE_EVERY = 1000
/** And this many times as long as the last one took: however many stages there are, a twentieth of the time goes into mlv.lock at most. */
const REST = 20

/** @param now ms, of a clock that never goes back */
export function createLockRecorder(project: Project, now: () => number = () => performance.now()): LockRecorder {
  const pending = new Map<string, LockedStage>()
  let nextAt = Number.NEGATIVE_INFINITY
  let written = false
  let stamp = stampOf(project)
  let latest: Lock | undefined

  async function write(known?: ReadonlySet<string>): Promise<void> {
    const begun = now()
    const changed = await updateLock(project, (lock) => {
      for (const [name, stage] of pending) lock.stages.set(name, stage)
      if (known) for (const name of [...lock.stages.keys()]) if (!known.has(name)) lock.stages.delete(name)
      latest = lock
    })
    stamp = stampOf(project)
    written ||= changed
    pending.clear()
    const ended = now()
    nextAt = ended + Math.max(WRITE_EVERY, REST * (ended - begun))
  }

  return {
    async record(name, stage) {
      pending.set(name, stage)
      if (now() >= nextAt) await write()
    },
    async finish(known) {
      if (pending.size > 0 || (written && known)) await write(known)
    },
    async news(name) {
      const now = stampOf(project)
      if (now !== undefined && now !== stamp) latest = await readLock(project)
      stamp = now
      return latest?.stages.get(name)
    },
    get written() {
      return written
    },
  }
}
