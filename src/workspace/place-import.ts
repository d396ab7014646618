import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { writeFilesAtomic } from '../base/atomic.ts'
import { MlvError } from '../base/errors.ts'
import { isWithin, nameOf, quotePath, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { pointerEntry } from './add-checks.ts'
import { applyCheckout } from './checkout-apply.ts'
import { planCheckout } from './checkout-plan.ts'
import { type Entry, sameEntry } from './entry.ts'
import { findPointers } from './find-pointers.ts'
import { hideFromGit, ignorePaths } from './ignored.ts'
import { dataPathOf, formatPointer, type Pointer, pointerPathOf, readPointer } from './pointer.ts'
import type { Project } from './project.ts'
import { followSame, keptSource, parseSource, type Source } from './source.ts'
import { checkParents, findTracked } from './tracked.ts'
import { refuseUnsaved } from './unsaved-work.ts'
import { noteEntry, openWorktree } from './worktree.ts'

export interface Imported {
  path: RepoPath
  before: Entry | undefined
  entry: Entry
  /** the pointer's text was written */
  changed: boolean
  source: Source
  /** files for the user to `git add` */
  written: RepoPath[]
}

function trackedAlready(path: RepoPath, isImport: boolean): MlvError {
  return new MlvError('PATH_TRACKED', `${path} is tracked already`, {
    hint: isImport
      ? `Get the newest version with "mlv update ${quotePath(path)}", or take another source with --force.`
      : 'Name another place with -o, or replace it with --force.',
  })
}

/** An earlier import of the same to the same place: it may have been interrupted. */
export interface Earlier {
  entry: Entry
  source: Source
}

/** Refuses places where nothing can be imported to, before anything is asked of the source.
 *  @param source what is to be imported, at whatever version   @returns the import of the same that is there already
 *  @throws PATH_INVALID, PATH_OVERLAP, PATH_TRACKED */
export async function checkPlace(
  project: Project,
  path: RepoPath,
  { force, source }: { force: boolean; source: Source },
): Promise<Earlier | undefined> {
  const { root } = project
  const refuse = (what: string, hint: string) => new MlvError('PATH_INVALID', what, { hint })
  if (path === '') throw refuse('The project itself cannot be imported to', 'Name a place in it with -o.')
  if (path.endsWith('.mlv')) throw refuse(`${path} is the name of a pointer`, 'Name the data itself with -o.')
  if (Buffer.byteLength(nameOf(pointerPathOf(path))) > 255)
    throw refuse(`The name of ${path} is too long for its pointer`, 'Name another place with -o.')
  checkParents(root, path)
  const covering = await findTracked(root, path)
  if (covering && covering.below !== '')
    throw new MlvError('PATH_OVERLAP', `${path} lies in ${covering.path}, which is tracked as one`, {
      hint: 'Name another place with -o.',
    })
  const inside = findPointers(project)
    .map(dataPathOf)
    .find((other) => other !== path && isWithin(other, path))
  if (inside !== undefined)
    throw new MlvError('PATH_OVERLAP', `${path} holds ${inside}, which is tracked already`, {
      hint: 'Name another place with -o.',
    })
  if (force) return undefined
  if (covering) {
    const { entry, source: known } = covering.pointer
    const before = known && parseSource(known, pointerPathOf(path))
    if (before && followSame(before, source)) return { entry, source: before }
    throw trackedAlready(path, before !== undefined)
  }
  if (lstatSync(join(root, path), { throwIfNoEntry: false }))
    throw new MlvError('PATH_OVERLAP', `${path} is there already`, {
      hint: 'Name another place with -o, or replace it with --force.',
    })
  return undefined
}

/** The same import again finishes an interrupted one, and brings nothing new: that is for updates. @throws PATH_TRACKED */
export function checkAgain(path: RepoPath, earlier: Earlier | undefined, entry: Entry): void {
  if (earlier && !sameEntry(earlier.entry, entry)) throw trackedAlready(path, true)
}

/** Records data that `store` holds, the cache or a remote, and, with `place`, puts it into the workspace.
 *  @returns undefined, with nothing done, where a collection has condemned something meanwhile: then it must be stored again
 *  @throws WORK_UNSAVED before anything is changed, unless `force`; LOCK_HELD, DISK_FULL */
export async function placeImport(
  project: Project,
  request: { path: RepoPath; entry: Entry; source: Source; force: boolean; place: boolean; remote?: string; store: ObjectStore },
): Promise<Imported | undefined> {
  const { path, source, force } = request
  const entry = pointerEntry(path, request.entry)
  return project.locked(async () => {
    if (await request.store.recheck()) return undefined
    const worktree = openWorktree(project)
    const now = await readPointer(project.root, path)
    const plan = request.place ? await planCheckout(worktree, path, entry, { force }) : undefined
    if (plan) refuseUnsaved([plan], '--force')
    const next: Pointer = { ...now, entry, source: keptSource(source) }
    if (request.remote !== undefined) next.remote = request.remote
    const text = await formatPointer(next)
    const changed = now === undefined || text !== (await formatPointer(now))
    const written: RepoPath[] = []
    if (changed) {
      writeFilesAtomic([{ path: join(project.root, pointerPathOf(path)), bytes: text }])
      written.push(pointerPathOf(path))
    }
    // Before the data lies there, so that git never sees it.
    written.push(...(now === undefined ? ignorePaths(project, [path]) : []))
    if (plan) {
      await applyCheckout(worktree, plan)
      noteEntry(worktree.cache, path, entry)
    }
    if (now !== undefined && existsSync(join(project.root, path))) written.push(...(await hideFromGit(project, [path])))
    worktree.flush()
    return { path, before: now?.entry, entry, changed: changed && !sameEntry(now?.entry, entry), source, written }
  })
}
