import { existsSync, readdirSync, statSync } from 'node:fs'
import { parentOf, type RepoPath } from '../base/paths.ts'

/** Questions about names of one folder after which it is looked at whether listing it is cheaper. */
const ASKED_FIRST = 32
/** Of a folder's size on disk, per question so far: reading this much takes less time than one more question. */
const BYTES_A_QUESTION = 256

interface Folder {
  asked: number
  /** names of all that lies in it, once it has been listed */
  names?: Set<string>
  /** a pointer may stand for it or for a folder above */
  tracked?: boolean
}

/** Tells which paths have no pointer, nor any folder above them. Most paths of a pipeline have none, and a failing read costs ten times a stat. */
export function findPointersBeside(root: string): { mayBeTracked(path: RepoPath): boolean; forget(): void } {
  const folders = new Map<RepoPath, Folder>()

  function list(path: RepoPath, folder: Folder): void {
    const absolute = path === '' ? root : `${root}/${path}`
    try {
      if (statSync(absolute).size <= folder.asked * BYTES_A_QUESTION) folder.names = new Set(readdirSync(absolute))
    } catch {
      // It is gone or may not be listed: each name is asked for, as before.
    }
  }

  function hasPointer(path: RepoPath, parent: RepoPath, folder: Folder): boolean {
    folder.asked++
    // At 32, 64, 128, … questions.
    if (!folder.names && folder.asked >= ASKED_FIRST && (folder.asked & (folder.asked - 1)) === 0) list(parent, folder)
    if (!folder.names) return existsSync(`${root}/${path}.mlv`)
    return folder.names.has(`${parent === '' ? path : path.slice(parent.length + 1)}.mlv`)
  }

  function folderAt(path: RepoPath): Folder {
    let folder = folders.get(path)
    if (!folder) {
      folder = { asked: 0 }
      folders.set(path, folder)
    }
    return folder
  }

  function mayBeTracked(path: RepoPath): boolean {
    if (path === '') return false
    const parent = parentOf(path)
    const folder = folderAt(parent)
    folder.tracked ??= mayBeTracked(parent)
    return folder.tracked || hasPointer(path, parent, folder)
  }

  return { mayBeTracked, forget: () => folders.clear() }
}
