import { hasCode, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { KEYS } from '../store/layout.ts'
import { refuseUnknownPart } from './asked-part.ts'
import { applyCheckout, type CheckedOut } from './checkout-apply.ts'
import { type CheckoutPlan, planCheckout } from './checkout-plan.ts'
import { entryAfter } from './checkout-record.ts'
import { hideFromGit, showToGit } from './ignored.ts'
import { findLeftovers } from './leftover.ts'
import type { Project } from './project.ts'
import { readTargets, selectTargets } from './target.ts'
import { notTracked } from './tracked.ts'
import { refuseUnsaved } from './unsaved-work.ts'
import { noteEntry, openWorktree } from './worktree.ts'

export interface CheckoutOptions {
  force?: boolean
  /** place what the cache has and list the rest, instead of failing before anything is done */
  allowMissing?: boolean
  dryRun?: boolean
  /** place files anew with the link types that are set now */
  relink?: boolean
  /** the paths were asked of other revisions, too: what the workspace's version lacks is no error */
  mayLack?: boolean
}

export interface CheckoutResult extends CheckedOut {
  /** per tracked path that needed something */
  paths: { path: RepoPath; placed: number; removed: number; missing: number; bytes: number }[]
  /** files whose objects are in no cache */
  missing: { path: RepoPath; size: number }[]
  /** paths that were left as they are, and why */
  skipped: { path: RepoPath; error: MlvError }[]
  /** .gitignore files that hide or show what was renamed */
  written: RepoPath[]
}

/** Makes the workspace hold what the pointers say, from the cache.
 *  @throws WORK_UNSAVED, OBJECT_MISSING, PATH_MISSING (all before anything is changed), PATH_INVALID, LOCK_HELD */
export async function checkout(
  project: Project,
  paths: readonly RepoPath[],
  options: CheckoutOptions = {},
): Promise<CheckoutResult> {
  return project.locked(async () => {
    const worktree = openWorktree(project)
    const result: CheckoutResult = { placed: 0, removed: 0, bytes: 0, paths: [], missing: [], skipped: [], written: [] }
    const plans: CheckoutPlan[] = []
    const parts = new Map<CheckoutPlan, string>()
    const targets = await readTargets(project, await project.revision(undefined))
    for (const path of paths) if (selectTargets(targets, [path]).length === 0) throw notTracked(path)
    const pointers = new Set(targets.filter((target) => target.origin === 'pointer').map((target) => target.path))
    for (const { target, part } of selectTargets(targets, paths)) {
      // What lies there, though the target does not hold it, is told or removed by the plan.
      if (!options.mayLack) await refuseUnknownPart(project, [{ target, part }], true)
      try {
        const { force, relink } = options
        const plan = await planCheckout(worktree, target.path, target.entry, { force, relink, part })
        plans.push(plan)
        parts.set(plan, part)
      } catch (error) {
        if (!(options.allowMissing && hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED'))) throw error
        result.missing.push({ path: target.path, size: target.entry.size })
      }
    }
    const leftovers: RepoPath[] = []
    if (paths.length === 0)
      for (const { path } of await findLeftovers(worktree, targets)) {
        const plan = await planCheckout(worktree, path, undefined)
        // What the cache has lost since stays: nothing tracks it, so nothing needs its place.
        if (plan.unsaved.length > 0) continue
        plans.push(plan)
        leftovers.push(path)
      }
    refuseBefore(plans, options)
    const task = project.surroundings.progress.start(
      'checking out',
      plans.reduce((sum, plan) => sum + plan.place.reduce((bytes, file) => bytes + file.entry.size, 0), 0),
    )
    try {
      for (const plan of plans) {
        const bytes = plan.place.reduce((sum, file) => sum + file.entry.size, 0)
        if (plan.place.length + plan.remove.length + plan.missing.length > 0)
          result.paths.push({
            path: plan.path,
            placed: plan.place.length,
            removed: plan.remove.length,
            missing: plan.missing.length,
            bytes,
          })
        result.missing.push(...plan.missing)
        if (options.dryRun) {
          result.placed += plan.place.length
          result.removed += plan.remove.length
          result.bytes += bytes
          continue
        }
        const after = await entryAfter(worktree, plan, parts.get(plan)!)
        const done = await applyCheckout(worktree, plan, (count) => task.advance(count))
        if (after) noteEntry(worktree.cache, plan.path, after)
        result.placed += done.placed
        result.removed += done.removed
        result.bytes += done.bytes
      }
      if (!options.dryRun) {
        const here = plans.filter((plan) => plan.target && pointers.has(plan.path)).map((plan) => plan.path)
        result.written = [...new Set([...showToGit(project, leftovers), ...(await hideFromGit(project, here))])]
      }
    } finally {
      task.finish()
      // Also after a failure: what was placed is known.
      if (!options.dryRun) worktree.flush()
    }
    return result
  })
}

/** All paths are looked at before any is changed. @throws WORK_UNSAVED, OBJECT_MISSING */
function refuseBefore(plans: CheckoutPlan[], options: CheckoutOptions): void {
  refuseUnsaved(plans, '"mlv checkout --force"')
  const missing = plans.flatMap((plan) => plan.missing)
  if (missing.length > 0 && !options.allowMissing && !options.dryRun) {
    const more = missing.length > 1 ? ` (and ${missing.length - 1} more files)` : ''
    if (missing.every((file) => file.purged))
      throw new MlvError('OBJECT_PURGED', `${missing[0]!.path}${more} was purged (record ${KEYS.purged}${missing[0]!.oid})`, {
        hint: 'Stop tracking it with "mlv remove", or place the rest with "mlv checkout --allow-missing".',
      })
    if (missing.some((file) => file.condemned))
      throw new MlvError(
        'OBJECT_MISSING',
        `${missing[0]!.path}${more} does not count as being in the cache: "mlv gc" condemned it`,
        {
          hint: 'Take back what it condemned with "mlv gc --undo", or run "mlv pull" to get it from the remote.',
        },
      )
    throw new MlvError('OBJECT_MISSING', `${missing[0]!.path}${more} is not in the cache`, {
      hint: 'Run "mlv pull" to get it, or "mlv checkout --allow-missing" to place the rest.',
    })
  }
}
