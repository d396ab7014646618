import { hasCode } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import { nameOf } from '../base/paths.ts'
import type { TreeEntry } from '../store/tree.ts'
import { diffTrees, findPath } from '../store/tree-walk.ts'
import type { CheckoutPlan } from './checkout-plan.ts'
import { editEntry } from './edit-entry.ts'
import { type Entry, sameEntry } from './entry.ts'
import { placedEntry } from './placed.ts'
import { openSaving } from './saving.ts'
import { scannedFiles } from './scan.ts'
import { pageReader, recordedEntry, type Worktree } from './worktree.ts'

/** Files that stay because the objects to replace them are in no cache, as mlv placed them: what the user made of one is no old version.
 *  @param before what was placed at the path */
async function staying(worktree: Worktree, plan: CheckoutPlan, before: Entry | undefined): Promise<Map<string, TreeEntry>> {
  const { path, part, snapshot, target } = plan
  const missing = new Set(plan.missing.map((item) => item.path.slice(path.length + 1)))
  const stay = new Map<string, TreeEntry>()
  if (missing.size === 0 || snapshot.scan.kind !== 'folder') return stay
  for (const file of scannedFiles(snapshot.scan.folder))
    if (missing.has(file.path)) stay.set(file.path, { name: file.name, kind: file.kind, oid: file.oid!, size: file.size })
  // Where the whole is what was placed, each file is.
  if (part === '' && sameEntry(before ?? (await placedEntry(worktree, snapshot)), snapshot.entry)) return stay
  if (before?.kind !== 'tree' || target?.kind !== 'tree') return part === '' ? new Map() : stay
  const placed = new Map<string, TreeEntry>()
  const read = pageReader(await worktree.project.cache('read'))
  try {
    for await (const change of diffTrees(before.oid, target.oid, read))
      if (change.before && stay.has(change.path)) placed.set(change.path, change.before)
  } catch (error) {
    // Nobody knows any more which of them the user changed.
    if (!hasCode(error, 'OBJECT_MISSING')) throw error
    return stay
  }
  return placed
}

/** What will have been placed at a path once its plan is carried out. Where only a part of a folder is placed, the rest is still what was
 *  placed before: recorded as the new version, its old files would pass for the user's changes.
 *  @returns undefined where it is the target itself   @throws OBJECT_MISSING */
export async function entryAfter(worktree: Worktree, plan: CheckoutPlan, part: string): Promise<Entry | undefined> {
  const { target, path } = plan
  const before = recordedEntry(worktree.cache, path)
  if (!target || plan.upToDate) return undefined
  if (target.kind !== 'tree') return plan.missing.length > 0 && before ? before : undefined
  const changes = await staying(worktree, plan, before)
  const isPartial = part !== '' && before?.kind === 'tree' && !sameEntry(before, target)
  if (!isPartial && changes.size === 0) return undefined
  const saving = await openSaving(worktree.project)
  await loadFingerprint()
  if (isPartial) {
    const wanted = await findPath(target.oid, part, pageReader(saving.store))
    if (changes.size === 0) changes.set(part, wanted as TreeEntry)
    else for (const file of plan.place) changes.set(file.path, { ...file.entry, name: nameOf(file.path) } as TreeEntry)
  }
  const entry = await editEntry(isPartial ? before : target, changes as Map<string, TreeEntry | undefined>, saving)
  await saving.finish()
  return entry
}
