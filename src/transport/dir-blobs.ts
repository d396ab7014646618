import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  read as readCallback,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { flushFolder } from '../base/atomic.ts'
import { MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Rate } from '../base/rate.ts'
import { openRootFolder } from '../base/root-folder.ts'
import type { Blobs, GetOptions } from '../store/blobs.ts'
import { folderError } from './folder-error.ts'
import { listFolder } from './list-folder.ts'

const read = promisify(readCallback)

/** Below this, a synchronous read costs less than the way to a thread and back (about 0.1 ms). */
const SYNC_READ_BYTES = 1 << 20

/** A temporary file that old belongs to a process that is gone. */
const LEFTOVER_AGE_MS = 24 * 3600 * 1000

/** The folder for files that have no final name yet; no blob lives in it. */
const TEMPORARY = 'tmp'

export interface DirOptions {
  /** absolute; made by the first put */
  root: string
  /** for messages; the root when not given */
  url?: string
  /** do not hash again what `put` is told the oid of: for the cache, whose writers have just hashed it */
  trustOids?: boolean
  /** bytes per second that pass at most */
  rate?: Rate
}

/** Blobs as files below one folder. Files are read-only (0444), written to `tmp/`, flushed, then given their name. */
export function createDirBlobs(options: DirOptions): Blobs & { filePath(key: string): string } {
  const { root } = options
  const place = options.url ?? root
  const madeFolders = new Set<string>()
  const top = openRootFolder(root)
  let swept = false

  const pathOf = (key: string) => join(root, checkKey(key, place))

  /** Makes a folder and those above it. Not by `recursive`, which calls a read-only disk ENOENT. */
  function makeFolder(folder: string): void {
    if (madeFolders.has(folder)) return
    try {
      if (!makeOne(folder)) {
        makeFolder(dirname(folder))
        mkdirSync(folder)
      }
      if (folder.startsWith(root) && folder !== root) top.shareFolder(folder)
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
    // The new name must survive power loss, too.
    flushFolder(dirname(folder))
    madeFolders.add(folder)
  }

  async function writeTemporary(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<string> {
    const folder = join(root, TEMPORARY)
    top.check()
    makeFolder(folder)
    const path = join(folder, `${process.pid}-${randomBytes(9).toString('hex')}`)
    faultPoint('blob: open')
    const file = await openNew(path)
    try {
      faultPoint('blob: write')
      if (options.rate) await writePaced(file, bytes, { rate: options.rate, signal })
      else await file.writeFile(bytes, { signal })
      top.shareFile(file.fd)
      faultPoint('blob: flush')
      await file.sync()
      if (!swept) sweep(folder, (await file.stat()).mtimeMs)
      swept = true
    } catch (error) {
      removeIfThere(path)
      throw error
    } finally {
      await file.close()
    }
    return path
  }

  async function openNew(path: string): Promise<FileHandle> {
    try {
      return await open(path, 'wx', 0o444)
    } catch (error) {
      // Somebody removed the folder since.
      if (systemCode(error) !== 'ENOENT') throw error
      top.check()
      madeFolders.clear()
      makeFolder(dirname(path))
      return await open(path, 'wx', 0o444)
    }
  }

  /** @returns false when the name is taken and must stay */
  function giveName(temporary: string, path: string, ifAbsent: boolean): boolean {
    makeFolder(dirname(path))
    const name = ifAbsent ? linkOrRename : rename
    try {
      return name(temporary, path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      top.check()
      madeFolders.clear()
      makeFolder(dirname(path))
      return name(temporary, path)
    }
  }

  return {
    url: place,
    filePath: pathOf,

    async get(key, range = {}) {
      range.signal?.throwIfAborted()
      const path = pathOf(key)
      let fd: number | undefined
      try {
        fd = openSync(path, 'r')
        top.note()
        return await readRange(fd, range, options.rate)
      } catch (error) {
        if (systemCode(error) === 'ENOENT' || systemCode(error) === 'EISDIR') throw missing(key, place)
        throw folderError(error, 'reading', path)
      } finally {
        if (fd !== undefined) closeSync(fd)
      }
    },

    async put(key, bytes, { oid, ifAbsent = false, signal } = {}) {
      signal?.throwIfAborted()
      const path = pathOf(key)
      let temporary: string | undefined
      try {
        if (ifAbsent && existsSync(path)) {
          // Its writer may not have got to this yet.
          flushFolder(dirname(path))
          return 'present'
        }
        if (oid && !options.trustOids) checkOid(bytes, oid, key)
        temporary = await writeTemporary(bytes, signal)
        signal?.throwIfAborted()
        faultPoint('blob: name')
        const written = giveName(temporary, path, ifAbsent)
        flushFolder(dirname(path))
        return written ? 'written' : 'present'
      } catch (error) {
        signal?.throwIfAborted()
        throw folderError(error, 'writing', path)
      } finally {
        if (temporary) removeIfThere(temporary)
      }
    },

    async *list(prefix, signal) {
      if (prefix !== '') checkKey(prefix.replace(/\/$/, ''), place)
      for (const file of listFolder(root, prefix, [TEMPORARY])) {
        signal?.throwIfAborted()
        yield file
      }
    },

    async head(key, signal) {
      signal?.throwIfAborted()
      const path = pathOf(key)
      try {
        const info = statSync(path, { throwIfNoEntry: false })
        return info?.isFile() ? { key, size: info.size, modified: info.mtimeMs } : undefined
      } catch (error) {
        throw folderError(error, 'reading', path)
      }
    },

    async delete(key, signal) {
      signal?.throwIfAborted()
      const path = pathOf(key)
      try {
        faultPoint('blob: delete')
        // After a power loss a deleted index must not be back when the pack it names, deleted later, is not.
        if (removeIfThere(path)) flushFolder(dirname(path))
      } catch (error) {
        throw folderError(error, 'deleting', path)
      }
    },
  }
}

function missing(key: string, place: string): MlvError {
  return new MlvError('BLOB_MISSING', `${place} has no ${key}`, {
    hint: 'Run "mlv push --all-commits" from a clone that has the data.',
  })
}

/** Keys come from files that others wrote: none may lead out of the root. @throws STORE_INVALID */
function checkKey(key: string, place: string): string {
  const broken = key.includes('\0') || key.split('/').some((segment) => segment === '' || segment === '.' || segment === '..')
  if (!broken) return key
  throw new MlvError('STORE_INVALID', `${place}: "${key.slice(0, 200)}" cannot be the key of a blob`, {
    hint: 'What names it was made by a broken or hostile program; restore the pointer from an earlier commit.',
  })
}

function checkOid(bytes: Uint8Array, oid: Oid, key: string): void {
  const actual = oidOfBytes(bytes)
  if (actual === oid) return
  throw new MlvError('OBJECT_CORRUPT', `The bytes for ${key} hash to ${actual}, not to ${oid}`, {
    hint: 'Run the command again; if it happens twice, the memory or disk of this machine is at fault.',
  })
}

/** Bytes that a limited rate lets pass at once. */
const PACED_BYTES = 256 << 10

async function writePaced(
  file: FileHandle,
  bytes: Uint8Array,
  { rate, signal }: { rate: Rate; signal: AbortSignal | undefined },
): Promise<void> {
  for (let at = 0; at < bytes.length; at += PACED_BYTES) {
    const piece = bytes.subarray(at, at + PACED_BYTES)
    await rate.take(piece.length, signal)
    await file.writeFile(piece, { signal })
  }
}

async function readRange(fd: number, { start = 0, end, signal }: GetOptions, rate: Rate | undefined): Promise<Uint8Array> {
  const size = fstatSync(fd).size
  const length = Math.max(0, Math.min(end ?? size, size) - start)
  const bytes = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const most = Math.min(length - done, rate ? PACED_BYTES : 4 << 20)
    const step =
      length <= SYNC_READ_BYTES
        ? readSync(fd, bytes, done, most, start + done)
        : (await read(fd, bytes, done, most, start + done)).bytesRead
    if (step === 0) break
    done += step
    await rate?.take(step, signal)
    signal?.throwIfAborted()
  }
  return bytes.subarray(0, done)
}

/** @returns false when the folder above is not there */
function makeOne(folder: string): boolean {
  try {
    mkdirSync(folder)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

function rename(temporary: string, path: string): boolean {
  renameSync(temporary, path)
  return true
}

function linkOrRename(temporary: string, path: string): boolean {
  try {
    linkSync(temporary, path)
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST') return false
    // File systems without hard links (exFAT, many network shares): two writers of one key may both win, with the same bytes.
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS' && code !== 'EMLINK') throw error
    return existsSync(path) ? false : rename(temporary, path)
  }
}

/** Removes what killed processes left behind. `now` is by the clock of the disk, which may be another machine's. */
function sweep(folder: string, now: number): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const age = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? now)
    if (age <= LEFTOVER_AGE_MS) continue
    try {
      removeIfThere(path)
    } catch (error) {
      // In a folder with the sticky bit, that of another user.
      if (systemCode(error) !== 'EPERM' && systemCode(error) !== 'EACCES') throw error
    }
  }
}

function removeIfThere(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    return false
  }
}
