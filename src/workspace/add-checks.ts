import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, MlvError } from '../base/errors.ts'
import { nameOf, quotePath, type RepoPath } from '../base/paths.ts'
import { type Entry, sameEntry } from './entry.ts'
import { isAsPlaced, placedEntry } from './placed.ts'
import { dataPathOf, POINTER_SUFFIX, type Pointer, pointerPathOf, readPointer } from './pointer.ts'
import { linkedObject, refuseLostLink, scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { checkParents, findTracked, type Tracked } from './tracked.ts'
import { insidePath, type Worktree } from './worktree.ts'

/** Refuses what cannot be tracked, before anything is read. @throws PATH_INVALID, PATH_MISSING, PATH_UNSUPPORTED, PATH_OVERLAP */
export async function checkPath(worktree: Worktree, path: RepoPath): Promise<Tracked | undefined> {
  const { root } = worktree.project
  if (path === '')
    throw new MlvError('PATH_INVALID', 'The project itself cannot be tracked', {
      hint: 'Name a file or folder in it, for example "mlv add data".',
    })
  checkParents(root, path)
  const covering = await findTracked(root, path)
  const stats = lstatSync(join(root, path), { throwIfNoEntry: false })
  if (!stats)
    throw new MlvError('PATH_MISSING', `No such file or folder: ${path}`, {
      hint: covering ? `If it should go, run "mlv remove ${quotePath(path)}".` : 'Check the path with "ls".',
    })
  if (!covering && Buffer.byteLength(nameOf(pointerPathOf(path))) > 255)
    throw new MlvError('PATH_INVALID', `The name of ${path} is too long: its pointer's name would have more than 255 bytes`, {
      hint: 'Rename it, or add the folder that it lies in.',
    })
  if (!covering && path.endsWith('.mlv'))
    throw new MlvError('PATH_INVALID', `${path} is a pointer itself`, {
      hint: `Name the data it stands for: "mlv add ${quotePath(path.slice(0, -4))}".`,
    })
  if (stats.isSymbolicLink() && (!covering || covering.below === '') && !linkedObject(join(root, path), worktree.objects)) {
    refuseLostLink(join(root, path), worktree.objects, path)
    throw new MlvError('PATH_UNSUPPORTED', `${path} is a symbolic link`, {
      hint: 'Add the file or folder it leads to, or a folder that holds the link.',
    })
  }
  if (!stats.isFile() && !stats.isDirectory() && !stats.isSymbolicLink())
    throw new MlvError('PATH_UNSUPPORTED', `${path} is neither a file nor a folder`, {
      hint: 'Only files, folders and symbolic links can be tracked.',
    })
  return covering
}

/** Pointers inside a folder that is to be tracked as one would name the same files twice. @throws PATH_OVERLAP */
export async function refuseInnerPointers(worktree: Worktree, snapshot: Snapshot): Promise<void> {
  if (snapshot.scan.kind !== 'folder') return
  for (const file of scannedFiles(snapshot.scan.folder)) {
    if (!file.name.endsWith(POINTER_SUFFIX)) continue
    const below = insidePath(snapshot.path, dataPathOf(file.path as RepoPath))
    try {
      if (!(await readPointer(worktree.project.root, below))) continue
    } catch (error) {
      // Plain data that happens to be called so.
      if (hasCode(error, 'POINTER_INVALID')) continue
      throw error
    }
    throw new MlvError('PATH_OVERLAP', `${snapshot.path} holds ${below}, which is tracked already`, {
      hint: `Run "mlv remove ${quotePath(below)}" first to track both as one, or add the other parts of ${snapshot.path} one by one.`,
    })
  }
}

/** Refuses to add parts of what the pointer calls a file. @returns the pointer, of a folder   @throws PATH_OVERLAP */
export function folderPointer(path: RepoPath, pointer: Pointer | undefined): Pointer & { entry: Entry & { kind: 'tree' } } {
  if (pointer?.entry.kind === 'tree') return pointer as Pointer & { entry: Entry & { kind: 'tree' } }
  throw new MlvError('PATH_OVERLAP', `${path} is tracked as a file`, {
    hint: `Run "mlv add ${quotePath(path)}" to track it as the folder it is now.`,
  })
}

/** A name for a pointer, or an error where an entry cannot be one. */
export function pointerEntry(path: RepoPath, entry: Entry): Pointer['entry'] {
  if (entry.kind === 'link')
    throw new MlvError('PATH_UNSUPPORTED', `${path} is a symbolic link`, { hint: 'Add the file or folder it leads to.' })
  return entry as Pointer['entry']
}

export function pointerMoved(path: RepoPath): MlvError {
  return new MlvError('WORKSPACE_OUTDATED', `The pointer of ${path} changed while it was being added`, {
    hint: 'Run the same command again.',
  })
}

/** @throws WORKSPACE_OUTDATED when the pointer has moved since mlv last placed the path here */
export async function refuseOutdated(worktree: Worktree, snapshot: Snapshot, pointer: Pointer | undefined): Promise<void> {
  const { path } = snapshot
  if (!pointer || sameEntry(snapshot.entry, pointer.entry)) return
  const placed = await placedEntry(worktree, snapshot)
  if (!placed || sameEntry(placed, pointer.entry)) return
  // What was placed is read after the pointer: another add may have moved both in between.
  const now = await readPointer(worktree.project.root, path)
  if (sameEntry(now?.entry, snapshot.entry)) return
  if (!sameEntry(now?.entry, pointer.entry)) throw pointerMoved(path)
  const store = await worktree.project.cache('read')
  const isPlaced = sameEntry(snapshot.entry, placed)
  if (!isPlaced && (await isAsPlaced(snapshot, pointer.entry, store))) return
  if (isPlaced || (await isAsPlaced(snapshot, placed, store)))
    throw new MlvError('WORKSPACE_OUTDATED', `${path} is outdated: its pointer has changed since it was checked out`, {
      hint: `Run "mlv checkout ${quotePath(path)}" to get the version the pointer names, or go back to this one with "mlv add --force ${quotePath(path)}".`,
    })
  throw new MlvError('WORKSPACE_OUTDATED', `${path} was changed here, and its pointer has changed, too`, {
    hint: `Keep your version with "mlv add --force ${quotePath(path)}", or take the pointer's with "mlv checkout --force ${quotePath(path)}".`,
  })
}
