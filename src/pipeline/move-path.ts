import { cpSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileError, systemCode } from '../base/errors.ts'

export function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Moves a file or folder; over the border of a file system it copies. The folders above are made. @throws FILE_UNWRITABLE, DISK_FULL */
export function movePath(from: string, to: string): void {
  try {
    mkdirSync(dirname(to), { recursive: true })
    renameSync(from, to)
  } catch (error) {
    if (systemCode(error) !== 'EXDEV') throw fileError(error, 'writing', to)
    cpSync(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
    rmSync(from, { recursive: true, force: true })
  }
}
