import { hasCode, MlvError } from '../base/errors.ts'
import { quotePath, type RepoPath } from '../base/paths.ts'
import { applyTransfer, planTransfer } from '../store/transfer.ts'
import type { Entry } from './entry.ts'
import { gatherObjects } from './gather.ts'
import type { Project } from './project.ts'

/** A tree whose pages are wanted. */
export interface TreeOf {
  path: RepoPath
  entry: Entry
  /** the remote its pointer names */
  remote?: string
  /** the work reads little more than the pages that lead to this path below; undefined: all */
  part?: string
}

/** Puts pages of a tree into the cache, no data: those of a part and on the way there, or all. @returns false where no remote gives them */
async function fetchPages(project: Project, tree: TreeOf, part: string): Promise<boolean> {
  const { signal } = project.surroundings
  let from: Awaited<ReturnType<Project['remote']>>['store']
  try {
    from = (await project.remote(tree.remote, 'read')).store
  } catch (error) {
    if (hasCode(error, 'REMOTE_MISSING')) return false
    throw error
  }
  const cache = await project.cache('write')
  const { objects, unreadable } = await gatherObjects([{ entry: tree.entry, part }], [cache, from], { signal })
  const pages = [...objects.values()].filter((object) => object.size === undefined)
  await applyTransfer(planTransfer(from, cache, pages), from, cache, { concurrency: project.config.get('core.jobs'), signal })
  return unreadable.length === 0
}

/** Does work that reads a tree's pages from the cache. Where one is missing, looks for what another command has stored since the cache was
 *  opened, then fetches the pages, and does the work again; so it must be safe to repeat.
 *  @throws OBJECT_MISSING naming the path, and what the remote throws */
export async function withPages<T>(project: Project, tree: TreeOf, work: () => Promise<T>): Promise<T> {
  const attempts = [
    async () => true,
    async () => {
      await (await project.cache('write')).refresh()
      return true
    },
    ...(tree.part === undefined ? [] : [() => fetchPages(project, tree, tree.part!)]),
    () => fetchPages(project, tree, ''),
  ]
  let failure: unknown
  for (const prepare of attempts) {
    if (!(await prepare())) break
    try {
      return await work()
    } catch (error) {
      if (!hasCode(error, 'OBJECT_MISSING')) throw error
      failure = error
    }
  }
  throw new MlvError('OBJECT_MISSING', `The list of files of ${tree.path} is neither in the cache nor on its remote`, {
    hint: `Run "mlv pull ${quotePath(tree.path)}", or push it from a clone that has it.`,
    cause: failure,
  })
}
