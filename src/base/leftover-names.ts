import { readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isTemporaryName, temporaryName } from './atomic.ts'
import { fileError, systemCode } from './errors.ts'
import { hasEnded, machineMark } from './process-state.ts'

/** A temporary file that old belongs to a process that is gone. */
export const LEFTOVER_AGE_MS = 24 * 3600 * 1000

/** A `temporaryName` that says which process of which machine is at it, so that nobody need wait a day to know that it is gone. */
export function ownedName(path: string): string {
  return temporaryName(path, `.${process.pid}.${machineMark()}`)
}

/** Whether an `ownedName` is of a process of this machine that has ended. */
export function isAbandoned(path: string): boolean {
  const [, pid, machine] = /^\.mlv-tmp-[0-9a-f]{12}\.([0-9]+)\.([0-9a-f]{8})-/.exec(basename(path)) ?? []
  return machine === machineMark() && hasEnded(Number(pid))
}

function temporaryNames(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => isTemporaryName(name))
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw fileError(error, 'reading', folder)
  }
}

/** Finds what a killed command had begun for a path, beside it, under `temporaryName`s; what others write in that folder is not named.
 *  Each folder is listed once: of ten thousand files that lie side by side each would list it again. */
export function createLeftoverFinder(): (path: string) => string[] {
  const listed = new Map<string, string[]>()
  return (path) => {
    const folder = dirname(path)
    const names = listed.get(folder) ?? temporaryNames(folder)
    listed.set(folder, names)
    return names.filter((name) => isTemporaryName(name, path)).map((name) => join(folder, name))
  }
}
