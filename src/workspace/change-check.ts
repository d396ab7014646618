import { lstatSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import type { CheckoutPlan } from './checkout-plan.ts'
import { linkedObject } from './scan.ts'
import { kindOf, type StatRow } from './stat-table.ts'
import { insidePath, type Worktree } from './worktree.ts'

function isSame(row: StatRow, now: Stats, path: string, objects: string): boolean {
  if (now.isSymbolicLink() && row.kind !== 'link') return linkedObject(path, objects)?.oid === row.oid
  return row.size === now.size && row.mtime === now.mtimeMs && row.inode === now.ino && row.kind === kindOf(now)
}

/** Makes a function that looks once more at what is about to be replaced or deleted, by its times: what was saved since the plan was made is work
 *  like any other. A forced plan gives up that, too.
 *  @returns takes a path below the plan's, and whether something lay there then; it throws FILE_CHANGED */
export function createChangeCheck(worktree: Worktree, plan: CheckoutPlan): (below: string, wasHere: boolean) => void {
  const { path, snapshot, force } = plan
  if (force) return () => {}
  const isFolder = snapshot.scan.kind === 'folder'
  return (below, wasHere) => {
    const shown = insidePath(path, below)
    const absolute = join(worktree.project.root, shown)
    const now = lstatSync(absolute, { throwIfNoEntry: false })
    if (!now) return
    const row = snapshot.table.rows.get(isFolder ? below : path)
    // Hidden files have no row; the plan has read them.
    if (wasHere && (!row || isSame(row, now, absolute, worktree.objects))) return
    throw new MlvError('FILE_CHANGED', `${shown} was ${wasHere ? 'changed' : 'written'} while the checkout was under way`, {
      hint: `Keep it with "mlv add ${quotePath(path)}", or run "mlv checkout" again and see what it says.`,
    })
  }
}
