import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isTemporaryName } from './atomic.ts'
import { fileError, systemCode } from './errors.ts'

/** A temporary file that old belongs to a process that is gone. */
export const LEFTOVER_AGE_MS = 24 * 3600 * 1000

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
