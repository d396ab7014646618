import type { Oid } from '../base/oid.ts'
import { readDropped } from './dropped.ts'
import type { Project } from './project.ts'
import { type SelectedTarget, type Selection, selectRevisions } from './selection.ts'
import { createStatCache } from './stat-cache.ts'
import { recordedEntry } from './worktree.ts'

/** The versions of paths that a check looks at. */
export interface Needed {
  targets: SelectedTarget[]
  /** Whether an object of a target has to be there. What was never fetched or pushed is no fault of a store. */
  isExpected(oid: Oid, isPage: boolean, target: SelectedTarget): boolean
}

export function isNamed(selection: Selection): boolean {
  return Boolean(
    selection.allBranches || selection.allTags || selection.allCommits || (selection.revisions && selection.revisions.length > 0),
  )
}

/** Decides what a check is about. Revisions that are named must be whole. Else the cache must hold what this worktree's state says that mlv
 *  placed or recorded here, and a remote what published commits need: those that remote-tracking branches lead to.
 *  @param remote its name; undefined for the cache */
export async function selectNeeded(project: Project, selection: Selection, remote: string | undefined): Promise<Needed> {
  const ours = (target: SelectedTarget) => remote === undefined || target.remote === undefined || target.remote === remote
  if (isNamed(selection)) return { targets: (await selectRevisions(project, selection)).filter(ours), isExpected: () => true }
  const workspace = (await selectRevisions(project, {})).filter(ours)
  if (remote === undefined) return { targets: workspace, isExpected: placedHere(project, workspace) }
  const git = await project.git()
  const revisions = (await git.refs('refs/remotes/')).map((ref) => ref.name)
  const published = revisions.length === 0 ? [] : (await selectRevisions(project, { revisions })).filter(ours)
  const expected = new Set(published.map((target) => target.entry.oid))
  return {
    targets: [...published, ...workspace.filter((target) => !expected.has(target.entry.oid))],
    isExpected: (_oid, _isPage, target) => expected.has(target.entry.oid),
  }
}

/** What mlv placed or recorded in this worktree was in the cache. */
function placedHere(project: Project, targets: readonly SelectedTarget[]): Needed['isExpected'] {
  const cache = createStatCache(project.stateDir)
  const placed = new Set<Oid>()
  const whole = new Set<SelectedTarget>()
  const files = cache.files()
  const dropped = readDropped(project)
  for (const target of targets) {
    const { path, entry } = target
    if (recordedEntry(cache, path)?.oid !== entry.oid) continue
    if (entry.kind !== 'tree') {
      if (files.rows.get(path)?.recorded) placed.add(entry.oid)
      continue
    }
    placed.add(entry.oid)
    let count = 0
    for (const row of cache.folder(path).rows.values()) {
      if (!row.recorded || row.unsaved) continue
      placed.add(row.oid)
      if (row.kind !== 'tree') count++
    }
    if (count >= entry.files) whole.add(target)
  }
  return (oid, isPage, target) => (placed.has(oid) && !dropped.has(oid)) || (isPage && whole.has(target))
}
