import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { quotePath, type RepoPath } from '../base/paths.ts'
import { isPageLost, type PageReader } from '../store/tree.ts'
import { findPath } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import type { Project } from './project.ts'
import { notTracked } from './tracked.ts'
import { insidePath, pageReader } from './worktree.ts'

/** A path that was asked for, as the part of a version of what is tracked. */
export interface AskedPart {
  target: { path: RepoPath; entry: Entry }
  /** below the target's path; '' for all of it */
  part: string
}

/** Whether a version holds a part; true where its list of files is not at hand: whoever needs that list says so. */
async function mayHold({ target: { entry }, part }: AskedPart, read: PageReader): Promise<boolean> {
  if (part === '') return true
  try {
    return entry.kind === 'tree' && (await findPath(entry.oid, part, read)) !== undefined
  } catch (error) {
    if (isPageLost(error)) return true
    throw error
  }
}

/** A name that was mistyped must not pass for one that is in place or on a remote.
 *  @param parts one path, in each version that was asked for   @param wherever what lies in the workspace will do, too
 *  @throws PATH_MISSING where none of them holds it */
export async function refuseUnknownPart(project: Project, parts: readonly AskedPart[], wherever: boolean): Promise<void> {
  const [first] = parts
  if (first === undefined || parts.some(({ part }) => part === '')) return
  const full = insidePath(first.target.path, first.part)
  const isHere = existsSync(join(project.root, full))
  if (isHere && wherever) return
  const read = pageReader(await project.cache('read'))
  for (const part of parts) if (await mayHold(part, read)) return
  if (isHere) throw notTracked(full)
  const { path } = first.target
  throw new MlvError('PATH_MISSING', `${path} holds no ${full}`, { hint: `See what it holds with "mlv ls ${quotePath(path)}".` })
}
