import { lstatSync, readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileError } from '../base/errors.ts'
import { joinPath, parentOf } from '../base/paths.ts'
import { type Scan, scannedFiles, scannedFolders } from './scan.ts'

/** Something that no scan shows, because .mlvignore leaves it out. Paths are below the tracked path. */
export interface Hidden {
  path: string
  kind: 'file' | 'folder' | 'other'
}

function kindOf(item: { isDirectory(): boolean; isFile(): boolean }): Hidden['kind'] {
  return item.isDirectory() ? 'folder' : item.isFile() ? 'file' : 'other'
}

/** Makes a function that names what a scan has not shown at or below a path, folders before what they hold.
 *  @param top the tracked path, absolute   @throws FILE_UNREADABLE */
export function createHiddenFinder(top: string, scan: Scan): (below: string) => Hidden[] {
  if (scan.kind !== 'folder') return () => []
  const files = new Set<string>()
  const folders = new Set<string>()
  return (below) => {
    if (folders.size === 0) {
      for (const file of scannedFiles(scan.folder)) files.add(file.path)
      for (const folder of scannedFolders(scan.folder)) folders.add(folder.path)
    }
    // Where no folder lies nothing can be hidden: most files of a checkout need no look.
    if (!folders.has(parentOf(below))) return []
    const path = join(top, below)
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (!stats) return []
    const found: Hidden[] = [{ path: below, kind: kindOf(stats) }]
    if (stats.isDirectory())
      try {
        for (const item of readdirSync(path, { withFileTypes: true, recursive: true })) {
          const inside = relative(path, join(item.parentPath, item.name)).split(sep).join('/')
          found.push({ path: joinPath(below, inside), kind: kindOf(item) })
        }
      } catch (error) {
        throw fileError(error, 'reading', path)
      }
    return found.filter((item) => !files.has(item.path) && !folders.has(item.path))
  }
}
