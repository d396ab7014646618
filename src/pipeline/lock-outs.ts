import type { Target } from '../workspace/target.ts'

/** What a mlv.lock says mlv stores: outs, which the workspace's verbs treat like data with a pointer, and what belongs to them. @throws LOCK_INVALID */
export async function lockOuts(text: string): Promise<Omit<Target, 'origin'>[]> {
  const { parseLock } = await import('./lock.ts')
  const lock = await parseLock(text)
  // A stage that was renamed stands there under both names until all stages are looked at.
  const found = new Map<string, Omit<Target, 'origin'>>()
  for (const { outs, runKey: run, datums } of lock.stages.values())
    for (const { path, entry, git } of outs) {
      if (git) continue
      found.set(path, { path, entry, run })
      if (datums) found.set(`${path} datums`, { path, entry: datums, run, derived: true })
    }
  return [...found.values()]
}
