import {
  closeSync,
  constants,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { temporaryName } from '../base/atomic.ts'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import type { PlacedFile } from './checkout-plan.ts'
import type { StatRow } from './stat-table.ts'

const FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Opens a new file; undefined when something lies there already. */
function openNew(path: string, mode: number): number | undefined {
  try {
    return openSync(path, FLAGS, mode)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return undefined
    throw error
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  let done = 0
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done)
}

/** Writes a small file: straight to its name where nothing lies, else beside it and renamed.
 *  @param time seconds since 1970; lies before now, so that a later change always shows */
export function writeSmall(path: string, bytes: Buffer, options: { mode: number; replaces: boolean; time: number }): Stats {
  faultPoint('file: open')
  const direct = options.replaces ? undefined : openNew(path, options.mode)
  const temporary = direct === undefined ? temporaryName(path) : undefined
  const fd = direct ?? openSync(temporary!, FLAGS, options.mode)
  let stats: Stats
  try {
    faultPoint('file: write')
    writeAll(fd, bytes)
    futimesSync(fd, options.time, options.time)
    stats = fstatSync(fd)
  } catch (error) {
    closeSync(fd)
    unlinkSync(temporary ?? path)
    throw error
  }
  try {
    if (!temporary) return stats
    faultPoint('file: name')
    renameSync(temporary, path)
    // A new name is a change of the inode. What somebody wrote meanwhile is not what was placed.
    const named = fstatSync(fd)
    return named.mtimeMs === stats.mtimeMs && named.size === stats.size ? named : stats
  } finally {
    closeSync(fd)
  }
}

export function rowOf(entry: PlacedFile['entry'], stats: Stats): StatRow {
  return {
    kind: entry.kind,
    oid: entry.oid,
    size: entry.kind === 'link' ? stats.size : entry.size,
    files: 0,
    mtime: stats.mtimeMs,
    ctime: stats.ctimeMs,
    inode: stats.ino,
    recorded: true,
    racy: false,
    unsettled: true,
  }
}

/** Makes a folder's parts one by one; a link or file on the way is never followed. @throws PATH_INVALID */
export function makeFolder(path: string, shown: string): void {
  try {
    faultPoint('folder: make')
    mkdirSync(path)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw fileError(error, 'making', shown)
    if (!lstatSync(path).isDirectory())
      throw new MlvError('PATH_INVALID', `${shown} is no folder, where one belongs`, {
        hint: `Move it away, then run "mlv checkout" again.`,
      })
  }
}

export function placeLink(path: string, target: Buffer, replaces: boolean): Stats {
  const name = replaces ? temporaryName(path) : path
  faultPoint('link: make')
  symlinkSync(target, name)
  if (replaces) {
    faultPoint('link: name')
    renameSync(name, path)
  }
  return lstatSync(path)
}
