import { statfsSync, statSync } from 'node:fs'
import { type CheckoutResult, checkout } from './checkout.ts'
import { cacheFolder, chosenLinks } from './link.ts'
import type { Project } from './project.ts'
import { namesRevisions } from './selection.ts'
import { fetchData, type SyncOptions, type SyncResult } from './sync.ts'

export interface PullResult extends SyncResult {
  checkedOut: CheckoutResult
}

/** Fetches, then places what the cache has. The caller tells of `missing` and fails at the end. @throws WORK_UNSAVED, and as push */
export async function pull(project: Project, options: SyncOptions & { force?: boolean } = {}): Promise<PullResult> {
  const copies = !options.dryRun && !namesRevisions(options) && chosenLinks(project)[0] === 'copy'
  const spare = copies ? (bytes: number) => hasRoom(project, 2 * bytes) : undefined
  const cache = copies ? await project.cache('write') : undefined
  try {
    const fetched = await fetchData(project, { ...options, workspace: true, spare })
    const checkedOut = await checkout(project, options.paths ?? [], {
      allowMissing: true,
      force: options.force,
      dryRun: options.dryRun,
      mayLack: namesRevisions(options),
    })
    return { ...fetched, checkedOut }
  } finally {
    cache?.loose?.dropSpares()
  }
}

/** Whether the cache's disk, which is the workspace's, has room for so many bytes. */
function hasRoom(project: Project, bytes: number): boolean {
  const cache = cacheFolder(project)
  if (statSync(cache, { throwIfNoEntry: false })?.dev !== statSync(project.root).dev) return false
  const { bavail, bsize } = statfsSync(cache)
  return bavail * bsize > bytes
}
