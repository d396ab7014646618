import { closeSync, existsSync, fstatSync, openSync, read as readCallback, readSync, statSync } from 'node:fs'
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
import { createTemporaryFiles, PACED_BYTES, removeIfThere, TEMPORARY } from './temporary-files.ts'

const read = promisify(readCallback)

/** Below this, a synchronous read costs less than the way to a thread and back (about 0.1 ms). */
const SYNC_READ_BYTES = 1 << 20

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
  const top = openRootFolder(root)
  const files = createTemporaryFiles(root, { top, rate: options.rate })

  const pathOf = (key: string) => join(root, checkKey(key, place))

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
        temporary = await files.write(bytes, signal)
        signal?.throwIfAborted()
        faultPoint('blob: name')
        const written = files.giveName(temporary, path, ifAbsent)
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
