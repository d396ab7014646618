import type { RepoPath } from '../base/paths.ts'
import { isPageLost } from '../store/tree.ts'
import { diffTrees } from '../store/tree-walk.ts'
import { applyCheckout, noteFolders } from './checkout-apply.ts'
import { type CheckoutPlan, planCheckout } from './checkout-plan.ts'
import type { MovedFiles } from './data.ts'
import { type Entry, sameEntry } from './entry.ts'
import { forgetTrees } from './stat-table.ts'
import { noteEntry, pageReader, recordedEntry, type Worktree } from './worktree.ts'

/** A folder's version, and the one that is to take its place. */
export interface Step {
  from: Entry
  to: Entry
  force?: boolean
  moved?: MovedFiles
}

/** Files that are looked at one by one; of more the whole folder is looked at sooner. */
const MOST_FILES = 64

/** The files that are new or other ones; undefined where there are too many, or any is gone, whose folder might be left empty. */
async function changedFiles(worktree: Worktree, { from, to }: Step): Promise<string[] | undefined> {
  const read = pageReader(await worktree.project.cache('write'))
  const files: string[] = []
  try {
    for await (const { path, before, after } of diffTrees(from.oid, to.oid, read)) {
      if (!after || after.kind === 'tree' || before?.kind === 'tree' || files.length === MOST_FILES) return undefined
      files.push(path)
    }
    return files
  } catch (error) {
    if (isPageLost(error)) return undefined
    throw error
  }
}

/** Makes a folder that was found to hold `from`, as mlv placed it, hold `to`: only files in which the two differ are looked at.
 *  @returns false, with nothing done, where all of it is to be looked at   @throws what applyCheckout throws */
export async function placeChanges(worktree: Worktree, path: RepoPath, step: Step): Promise<boolean> {
  const { from, to, force } = step
  const { cache } = worktree
  const table = cache.folder(path)
  if (from.kind !== 'tree' || to.kind !== 'tree' || worktree.foldsCase()) return false
  if (!sameEntry(table.computed, from) || !sameEntry(recordedEntry(cache, path), from)) return false
  const files = await changedFiles(worktree, step)
  if (!files) return false
  const plans: CheckoutPlan[] = []
  for (const part of files) {
    const row = step.moved?.get(part)
    if (row) table.rows.set(part, row)
    plans.push(await planCheckout(worktree, path, to, { force, part }))
  }
  if (plans.some(({ missing }) => missing.length > 0)) {
    forgetTrees(table, '')
    return false
  }
  try {
    for (const plan of plans) await applyCheckout(worktree, plan)
  } catch (error) {
    // Each part counts as the whole once it is placed.
    noteEntry(cache, path, from)
    forgetTrees(table, '')
    throw error
  }
  for (const { folders } of plans) noteFolders(table, folders)
  table.computed = to
  return true
}
