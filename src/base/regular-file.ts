import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { MlvError, systemCode } from './errors.ts'

/** Opens a file for reading, and nothing else: a FIFO would keep the reader waiting, a device would never end. Folders are left to the reader.
 *  @returns its descriptor   @throws FILE_UNREADABLE, system errors */
export function openRegularFile(path: string): number {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    // What a socket says.
    throw systemCode(error) === 'ENXIO' ? noFile(path) : error
  }
  const stats = fstatSync(fd)
  if (stats.isFile() || stats.isDirectory()) return fd
  closeSync(fd)
  throw noFile(path)
}

function noFile(path: string): MlvError {
  return new MlvError('FILE_UNREADABLE', `${path} is neither a file nor a folder`, {
    hint: 'Move it away, or restore it from git.',
  })
}

/** Reads a whole file. @throws FILE_UNREADABLE for a FIFO, a socket or a device; system errors, EISDIR among them */
export function readRegularFile(path: string): Buffer {
  const fd = openRegularFile(path)
  try {
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}
