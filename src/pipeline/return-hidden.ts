import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import { joinPath } from '../base/paths.ts'
import type { Ignore } from '../workspace/ignore.ts'
import { exists, movePath } from './move-path.ts'

export interface HiddenPlaces {
  /** the folder as it was */
  from: string
  /** where it lay, and where there is a new one now */
  to: string
  /** takes what has no place in the new one */
  left: string
  /** what .mlvignore leaves out of the folder */
  ignore: Ignore
}

function isPlace(folder: string): boolean {
  const stats = lstatSync(folder, { throwIfNoEntry: false })
  return !stats || stats.isDirectory()
}

/** Moves what .mlvignore hides in an earlier out back to its place in the new one: it is no part of the out, and no cache has it. Where something
 *  lies now, that stays. @throws FILE_UNREADABLE, FILE_UNWRITABLE */
export function returnHidden({ from, to, left, ignore }: HiddenPlaces): void {
  function visit(below: string, room: boolean): void {
    for (const item of list(join(from, below))) {
      const path = joinPath(below, item.name)
      const [was, now] = [join(from, path), join(to, path)]
      if (!ignore.ignores(path, item.isDirectory())) {
        if (item.isDirectory()) visit(path, room && isPlace(now))
      } else if (!room) movePath(was, join(left, path))
      else if (!exists(now)) movePath(was, now)
      else if (item.isDirectory()) visit(path, isPlace(now))
    }
  }
  visit('', isPlace(to))
}

function list(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    throw fileError(error, 'reading', folder)
  }
}
