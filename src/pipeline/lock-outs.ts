import type { Target } from '../workspace/target.ts'

/** What a mlv.lock says mlv stores: outs, which the workspace's verbs treat like data with a pointer, and what belongs to them.
 *  @param also 'git': outs of stages that git keeps whole, too, for their runs' sake   @throws LOCK_INVALID */
export async function lockOuts(text: string, also?: 'git'): Promise<Omit<Target, 'origin'>[]> {
  const { parseLock } = await import('./lock.ts')
  const lock = await parseLock(text)
  // A stage that was renamed stands there under both names until all stages are looked at.
  const found = new Map<string, Omit<Target, 'origin'>>()
  for (const { outs, runKey: run, datums } of lock.stages.values()) {
    const isGits = also === 'git' && outs.every(({ git }) => git)
    for (const { path, entry, git } of outs) {
      if (git && isGits) found.set(path, { path, entry, run, derived: true, git: true })
      if (git) continue
      found.set(path, { path, entry, run })
      if (datums) found.set(`${path} datums`, { path, entry: datums, run, derived: true })
    }
  }
  return [...found.values()]
}
