import type { RepoPath } from '../base/paths.ts'
import type { Entry } from '../workspace/entry.ts'

/** The outs that a mlv.lock says mlv stores: what the workspace's verbs treat like data with a pointer. @throws LOCK_INVALID */
export async function lockOuts(text: string): Promise<{ path: RepoPath; entry: Entry }[]> {
  const { parseLock } = await import('../pipeline/lock.ts')
  const lock = await parseLock(text)
  const outs: { path: RepoPath; entry: Entry }[] = []
  for (const stage of lock.stages.values())
    for (const out of stage.outs) if (!out.git) outs.push({ path: out.path, entry: out.entry })
  return outs
}
