import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, unlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileError, systemCode } from './errors.ts'
import { faultPoint } from './fault-point.ts'
import { writeAll } from './write-piece.ts'

let last: number | undefined

/** 12 hex characters that nobody else uses: a random beginning, then counting, because randomness takes as long as making a file. */
export function uniqueName(): string {
  last = last === undefined ? randomBytes(6).readUIntBE(0, 6) : (last + 1) % 2 ** 48
  return last.toString(16).padStart(12, '0')
}

const TEMPORARY = /^\.mlv-tmp-[0-9a-f]{12}(?:\.[0-9]+\.[0-9a-f]{8})?-/

/** A name beside `path` that no one else uses; leftovers are recognisable by their start, and their end makes none a pointer.
 *  @param owner who is at it, as ownedName puts it in */
export function temporaryName(path: string, owner = ''): string {
  return join(dirname(path), `.mlv-tmp-${uniqueName()}${owner}-${basename(path).slice(0, 40)}.tmp`)
}

/** Whether `temporaryName` makes such names. @param path for this path alone */
export function isTemporaryName(name: string, path?: string): boolean {
  const [start] = TEMPORARY.exec(name) ?? []
  return start !== undefined && (path === undefined || name.slice(start.length) === `${basename(path).slice(0, 40)}.tmp`)
}

/** Makes names durable: renames in a folder survive power loss only once the folder is flushed. */
export function flushFolder(folder: string): void {
  let fd: number
  try {
    fd = openSync(folder, 'r')
  } catch (error) {
    throw fileError(error, 'reading', folder)
  }
  try {
    faultPoint('folder: flush')
    fsyncSync(fd)
  } catch (error) {
    // Some network file systems do not flush folders.
    if (!['EINVAL', 'EBADF', 'ENOTSUP', 'EPERM'].includes(systemCode(error) ?? '')) throw fileError(error, 'flushing', folder)
  } finally {
    closeSync(fd)
  }
}

export interface PendingFile {
  path: string
  bytes: Uint8Array | string
  /** permission bits, 0o666 less umask by default */
  mode?: number
}

/** Writes each file to a temporary name, flushes, renames, and flushes each folder once. A crash leaves the old text or the new.
 *  @throws DISK_FULL, FILE_UNWRITABLE; no final name is touched before every temporary file is flushed */
export function writeFilesAtomic(files: PendingFile[], options: { flush?: boolean } = {}): void {
  const flush = options.flush ?? true
  const pending: { temporary: string; path: string }[] = []
  let current = ''
  try {
    for (const file of files) {
      current = file.path
      mkdirSync(dirname(file.path), { recursive: true })
      const temporary = temporaryName(file.path)
      faultPoint('text: open')
      const fd = openSync(temporary, 'wx', file.mode ?? 0o666)
      pending.push({ temporary, path: file.path })
      try {
        faultPoint('text: write')
        writeAll(fd, typeof file.bytes === 'string' ? Buffer.from(file.bytes) : file.bytes)
        faultPoint('text: flush')
        if (flush) fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
    }
    for (const file of pending) {
      current = file.path
      faultPoint('text: name')
      renameSync(file.temporary, file.path)
    }
  } catch (error) {
    for (const file of pending) {
      try {
        unlinkSync(file.temporary)
      } catch {
        // Already renamed, or gone: the failure that matters is thrown below.
      }
    }
    throw fileError(error, 'writing', current)
  }
  if (flush) for (const folder of new Set(files.map((file) => dirname(file.path)))) flushFolder(folder)
}

export function writeFileAtomic(
  path: string,
  bytes: Uint8Array | string,
  options: { mode?: number; flush?: boolean } = {},
): void {
  writeFilesAtomic([{ path, bytes, mode: options.mode }], options)
}
