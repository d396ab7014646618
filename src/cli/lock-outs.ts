import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Entry } from '../workspace/entry.ts'

/** The outs that a mlv.lock says mlv stores: what the workspace's verbs treat like data with a pointer. @throws LOCK_INVALID */
export async function lockOuts(text: string): Promise<{ path: RepoPath; entry: Entry; run: Oid }[]> {
  const { parseLock } = await import('../pipeline/lock.ts')
  const lock = await parseLock(text)
  // A stage that was renamed stands there under both names until all stages are looked at.
  const outs = new Map<RepoPath, { path: RepoPath; entry: Entry; run: Oid }>()
  for (const stage of lock.stages.values())
    for (const out of stage.outs) if (!out.git) outs.set(out.path, { path: out.path, entry: out.entry, run: stage.runKey })
  return [...outs.values()]
}
