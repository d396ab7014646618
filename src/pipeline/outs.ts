import { hasCode, MlvError } from '../base/errors.ts'
import { oidOfBytes } from '../base/oid.ts'
import { joinPath, quotePath, type RepoPath } from '../base/paths.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import type { Project } from '../workspace/project.ts'
import type { LockedOut, LockedStage } from './lock.ts'
import type { Observer } from './observer.ts'
import type { Out, Stage } from './stage.ts'

/** How an out stands against what mlv.lock says. */
export interface OutState {
  out: Out
  locked: LockedOut | undefined
  now: Entry | undefined
  /** outdated: it is what mlv last placed, and mlv.lock has moved on */
  state: 'same' | 'missing' | 'changed' | 'outdated'
}

/** Compares what lies at a stage's outs with what mlv.lock says. */
export async function readOuts(
  stage: Stage,
  locked: LockedStage | undefined,
  { observer, data }: { observer: Observer; data: WorkspaceData },
): Promise<OutState[]> {
  const states: OutState[] = []
  for (const out of stage.outs) {
    const before = locked?.outs.find((one) => one.path === out.path)
    const now = await observer.out(out.path)
    states.push({ out, locked: before, now, state: stateOf(now, before, () => (out.git ? undefined : data.recorded(out.path))) })
  }
  return states
}

function stateOf(now: Entry | undefined, before: LockedOut | undefined, placed: () => Entry | undefined): OutState['state'] {
  if (now === undefined) return 'missing'
  if (before && sameEntry(before.entry, now)) return 'same'
  return before && sameEntry(placed(), now) ? 'outdated' : 'changed'
}

const CONFLICT = /^<<<<<<< /m

/** Whether git can bring back what lies at a path: HEAD holds the same bytes, or it is a merge's two sides. */
async function isInGit(project: Project, path: RepoPath, data: WorkspaceData): Promise<boolean> {
  try {
    const [workspace, head] = await Promise.all([project.revision(undefined), project.revision('HEAD')])
    // Not what git lists: that leaves out what it ignores, as it does most outs.
    for (const { path: below, oid } of await data.files(path, { all: true })) {
      const file = below === '' ? path : (joinPath(path, below) as RepoPath)
      const then = await head.read(file)
      if (then === undefined) return false
      if (oidOfBytes(then) === oid) continue
      const now = await workspace.read(file)
      if (!now || !CONFLICT.test(Buffer.from(now).toString('latin1'))) return false
    }
    return true
  } catch (error) {
    if (hasCode(error, 'REVISION_UNKNOWN')) return false
    throw error
  }
}

/** The outs that would be lost if something took their place: they are in no cache, and not in git. */
export async function findUnsaved(states: OutState[], project: Project, data: WorkspaceData): Promise<RepoPath[]> {
  const unsaved: RepoPath[] = []
  for (const { out, now, state } of states) {
    if (state === 'same' || state === 'missing' || !now) continue
    // An empty file holds nothing; a power loss leaves such.
    if (now.kind !== 'tree' && now.size === 0) continue
    const saved = (await data.isCached(now)) || (await isInGit(project, out.path, data))
    if (!saved) unsaved.push(out.path)
  }
  return unsaved
}

export function unsavedError(stage: Stage, unsaved: RepoPath[], locked: LockedStage | undefined): MlvError {
  const names = unsaved.slice(0, 3).map(quotePath).join(', ') + (unsaved.length > 3 ? ` and ${unsaved.length - 3} more` : '')
  const what = locked ? 'changed by hand' : 'was there before it ever ran'
  return new MlvError('WORK_UNSAVED', `Stage "${stage.name}" would replace ${names}, which ${what} and is saved nowhere`, {
    hint: `Keep it with "mlv accept ${stage.name}", or replace it with "mlv repro --single-stage --force ${stage.name}".`,
  })
}
