import { existsSync, fstatSync, linkSync, mkdirSync, readdirSync, renameSync, statSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { flushFolder, uniqueName } from '../base/atomic.ts'
import { systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { LEFTOVER_AGE_MS } from '../base/leftover-names.ts'
import { createNewFile, type NewFile } from '../base/new-file.ts'
import { noteTemporaries, temporaryPath } from '../base/own-temporaries.ts'
import type { Rate } from '../base/rate.ts'
import type { RootFolder } from '../base/root-folder.ts'

/** The folder for files that have no final name yet; no blob lives in it. */
export const TEMPORARY = 'tmp'

/** Bytes that a limited rate lets pass at once. */
export const PACED_BYTES = 256 << 10
/** Written between two looks at the signal. */
const UNPACED_BYTES = 4 << 20

/** Files of a folder of blobs before they have their names. */
export interface TemporaryFiles {
  /** Writes a flushed, read-only file. @returns its path */
  write(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<string>
  /** @returns false when the name is taken and must stay */
  giveName(temporary: string, path: string, ifAbsent: boolean): boolean
}

export function createTemporaryFiles(root: string, { top, rate }: { top: RootFolder; rate: Rate | undefined }): TemporaryFiles {
  const madeFolders = new Set<string>()
  let swept = false

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

  async function write(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<string> {
    const folder = join(root, TEMPORARY)
    top.check()
    makeFolder(folder)
    noteTemporaries(folder)
    const path = temporaryPath(folder, uniqueName())
    faultPoint('blob: open')
    const written = await openNew(path, bytes.length)
    try {
      faultPoint('blob: write')
      const most = rate ? PACED_BYTES : UNPACED_BYTES
      for (let at = 0; at < bytes.length; at += most) {
        const piece = bytes.subarray(at, at + most)
        await rate?.take(piece.length, signal)
        signal?.throwIfAborted()
        await written.write(piece)
      }
      await written.end()
      top.shareFile(written.fd)
      faultPoint('blob: flush')
      await written.sync()
      if (!swept) sweep(folder, fstatSync(written.fd).mtimeMs)
      swept = true
    } catch (error) {
      removeIfThere(path)
      throw error
    } finally {
      await written.close()
    }
    return path
  }

  async function openNew(path: string, size: number): Promise<NewFile> {
    try {
      return await createNewFile(path, 0o444, size)
    } catch (error) {
      // Somebody removed the folder since.
      if (systemCode(error) !== 'ENOENT') throw error
      top.check()
      madeFolders.clear()
      makeFolder(dirname(path))
      return await createNewFile(path, 0o444, size)
    }
  }

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

  return { write, giveName }
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

/** Removes what killed processes left behind: all that nothing has changed for a day.
 *  @param now by the clock of the disk, which may be another machine's, in ms since 1970 */
export function sweep(folder: string, now: number): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    // The time of the last change of any kind: a whole object has had its own time set, long ago, before it is flushed and named.
    const age = now - (statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? now)
    if (age <= LEFTOVER_AGE_MS) continue
    try {
      removeIfThere(path)
    } catch (error) {
      // In a folder with the sticky bit, that of another user.
      if (systemCode(error) !== 'EPERM' && systemCode(error) !== 'EACCES') throw error
    }
  }
}

/** @returns whether there was one */
export function removeIfThere(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    return false
  }
}
