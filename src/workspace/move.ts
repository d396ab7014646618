import { existsSync, lstatSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { flushFolder } from '../base/atomic.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { isWithin, joinPath, nameOf, parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import { ignoreLines, unignoreLines } from '../git/gitignore.ts'
import { pointerPathOf } from './pointer.ts'
import type { Project } from './project.ts'
import { ignoreFileOf, type RemoveResult } from './remove.ts'
import { checkParents, findTracked, notTracked } from './tracked.ts'
import { openWorktree, recordedEntry, type Worktree } from './worktree.ts'

/** Whether a move was begun and not ended: the pointer moves first, then the data, and what was recorded of the old path is forgotten last. */
function isHalfMoved({ project: { root }, cache }: Worktree, from: RepoPath, target: RepoPath): boolean {
  const has = (path: RepoPath) => existsSync(join(root, path))
  return (
    has(pointerPathOf(target)) &&
    !has(pointerPathOf(from)) &&
    !(has(from) && has(target)) &&
    recordedEntry(cache, from) !== undefined
  )
}

/** @returns where the path goes   @throws PATH_MISSING, USAGE, PATH_INVALID, PATH_OVERLAP when something is at the goal */
async function findGoal({ root }: Project, from: RepoPath, to: RepoPath): Promise<RepoPath> {
  const found = await findTracked(root, from)
  if (!found) throw notTracked(from)
  if (found.below !== '')
    throw new MlvError('USAGE', `${from} is an entry of ${found.path}, which is tracked as one`, {
      hint: `Move the file with "mv", then run "mlv add ${quotePath(found.path)}".`,
    })
  const isFolder = lstatSync(join(root, to), { throwIfNoEntry: false })?.isDirectory()
  const target = isFolder ? joinPath(to, nameOf(from)) : to
  for (const path of [from, target]) checkParents(root, path)
  if (isWithin(target, from))
    throw new MlvError('PATH_OVERLAP', `${target} lies in ${from}`, { hint: 'Choose a place outside of it.' })
  const above = await findTracked(root, target)
  for (const path of [target, pointerPathOf(target)])
    if (existsSync(join(root, path)))
      throw new MlvError('PATH_OVERLAP', `${path} is there already`, { hint: 'Choose another name.' })
  if (above)
    throw new MlvError('PATH_OVERLAP', `${target} would lie in ${above.path}, which is tracked`, {
      hint: 'Choose another place.',
    })
  return target
}

/** Moves a tracked path with its pointer; one that was killed halfway goes on. @throws PATH_MISSING, PATH_OVERLAP when something is at the goal */
export async function movePath(project: Project, from: RepoPath, to: RepoPath): Promise<RemoveResult> {
  return project.locked(async () => {
    const worktree = openWorktree(project)
    const begun = [to, joinPath(to, nameOf(from))].find((goal) => isHalfMoved(worktree, from, goal))
    const target = begun ?? (await findGoal(project, from, to))
    for (const path of [from, target]) checkParents(project.root, path)
    const absolute = (path: RepoPath) => join(project.root, path)
    mkdirSync(absolute(parentOf(target)), { recursive: true })
    const rename = (a: RepoPath, b: RepoPath) => {
      if (existsSync(absolute(a))) renameSync(absolute(a), absolute(b))
    }
    try {
      faultPoint('pointer: move')
      rename(pointerPathOf(from), pointerPathOf(target))
      faultPoint('data: move')
      rename(from, target)
    } catch (error) {
      if (!begun) rename(pointerPathOf(target), pointerPathOf(from))
      throw fileError(error, 'writing', target)
    }
    for (const path of [from, target]) flushFolder(absolute(parentOf(path)))
    const written = [pointerPathOf(from), pointerPathOf(target)]
    if (unignoreLines(absolute(parentOf(from)), [nameOf(from)])) written.push(ignoreFileOf(from))
    if (ignoreLines(absolute(parentOf(target)), [nameOf(target)])) written.push(ignoreFileOf(target))
    moveRows(worktree, from, target)
    return { removed: [target], written: [...new Set(written)] }
  })
}

function moveRows(worktree: Worktree, from: RepoPath, to: RepoPath): void {
  const [old, next, files] = [worktree.cache.folder(from), worktree.cache.folder(to), worktree.cache.files()]
  const { computed, held } = old
  Object.assign(next, { rows: new Map(old.rows), recorded: new Map(old.recorded), computed, held, dirty: true })
  const row = files.rows.get(from)
  const recorded = files.recorded.get(from)
  if (row) files.rows.set(to, row)
  if (recorded) files.recorded.set(to, recorded)
  files.dirty = true
  worktree.flush()
  // Now that the new path's are written: they are what says that a move was begun.
  Object.assign(old, { rows: new Map(), recorded: new Map(), computed: undefined, held: undefined, dirty: true })
  files.rows.delete(from)
  files.recorded.delete(from)
  files.dirty = true
  worktree.flush()
}
