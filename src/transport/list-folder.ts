import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../base/errors.ts'
import { compareUtf8 } from '../base/paths.ts'
import type { BlobInfo } from '../store/blobs.ts'
import { folderError } from './folder-error.ts'

/** Every file whose path below `root` starts with `prefix`, in the order of whole paths: `a.b` before `a/b`, as a bucket lists them.
 *  One folder at a time is in memory. A file that vanishes meanwhile is left out. Folders in `hidden` (of the root) are passed over.
 *  @throws FILE_UNREADABLE */
export function* listFolder(root: string, prefix: string, hidden: string[]): Generator<BlobInfo> {
  const cut = prefix.lastIndexOf('/') + 1
  const start = prefix.slice(0, cut)
  const skipped = start === '' ? hidden : []
  if (hidden.some((name) => start.startsWith(`${name}/`))) return
  yield* walk(root, start, prefix.slice(cut), skipped)
}

function* walk(root: string, folder: string, nameStart: string, skipped: string[]): Generator<BlobInfo> {
  const entries = readEntries(root, folder)
    .filter((entry) => entry.name.startsWith(nameStart) && !skipped.includes(entry.name))
    // A folder's name ends in a slash in the keys below it, and is ordered so.
    .map((entry) => ({
      isFolder: entry.isDirectory(),
      isFile: entry.isFile(),
      key: entry.isDirectory() ? `${entry.name}/` : entry.name,
    }))
    .sort((a, b) => compareUtf8(a.key, b.key))
  for (const entry of entries) {
    const key = folder + entry.key
    if (entry.isFolder) yield* walk(root, key, '', [])
    else if (entry.isFile) {
      const info = statSync(join(root, key), { throwIfNoEntry: false })
      if (info) yield { key, size: info.size, modified: info.mtimeMs }
    }
  }
}

function readEntries(root: string, below: string): Dirent[] {
  const folder = below === '' ? root : join(root, below)
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    // A blob has no keys below it; a file in place of the root is another matter.
    if (systemCode(error) === 'ENOTDIR' && folder !== root) return []
    throw folderError(error, 'reading', folder)
  }
}
