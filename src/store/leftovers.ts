import { lstatSync, readdirSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { isOfEnded } from '../base/own-temporaries.ts'
import type { Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'

export interface Leftover {
  path: string
  size: number
}

const HOUR = 3600 * 1000

/** Files that no command will come back to, in a store that is a folder: temporary ones a day old, or an hour old and of
 *  a process of this machine that has ended; and whole objects that proved wrong and were set aside longer than the grace period ago.
 *  @param now by the clock of the disk, in ms since 1970 */
export function findLeftovers(
  blobs: Blobs,
  { now, grace, ownMachine }: { now: number; grace: number; ownMachine: boolean },
): Leftover[] {
  const description = blobs.filePath?.(KEYS.description)
  if (description === undefined) return []
  const root = dirname(description)
  const found: Leftover[] = []
  const look = (path: string, isOld: (age: number) => boolean) => {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats?.isFile() && isOld(now - stats.ctimeMs)) found.push({ path, size: stats.size })
  }
  for (const name of namesIn(join(root, 'tmp'))) {
    look(join(root, 'tmp', name), (age) => age > (isOfEnded(name, ownMachine) ? HOUR : 24 * HOUR))
  }
  for (const fan of namesIn(join(root, 'objects')))
    for (const name of namesIn(join(root, 'objects', fan)))
      if (name.endsWith('.corrupt')) look(join(root, 'objects', fan, name), (age) => age >= grace)
  return found
}

/** @returns bytes that were deleted */
export function deleteLeftovers(leftovers: readonly Leftover[]): number {
  let bytes = 0
  for (const { path, size } of leftovers) {
    try {
      faultPoint('leftover: delete')
      unlinkSync(path)
      bytes += size
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', path)
    }
  }
  return bytes
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw fileError(error, 'reading', folder)
  }
}
