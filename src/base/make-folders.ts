import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileError, systemCode } from './errors.ts'

/** Makes a folder and those above it that are not there. Not by `recursive`, with which Node tries for ever where the system takes no folder, as in /proc.
 *  @throws PATH_MISSING, FILE_UNWRITABLE, DISK_FULL */
export function makeFolders(folder: string): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return
    if (systemCode(error) !== 'ENOENT' || dirname(folder) === folder) throw fileError(error, 'making', folder)
    makeFolders(dirname(folder))
    makeOnce(folder)
  }
}

/** The folder above is there: a second failure is the system's last word. */
function makeOnce(folder: string): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw fileError(error, 'making', folder)
  }
}
