import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, type MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Git, GitPlace } from '../git/git.ts'
import type { PushedRef } from '../git/hook-input.ts'
import { type CheckoutResult, checkout } from './checkout.ts'
import type { Project } from './project.ts'
import { selectRevisions } from './selection.ts'
import { readStatus } from './status.ts'
import { push, type SyncResult } from './sync.ts'
import { readTargets } from './target.ts'

const CONFIG = '.mlv/config'

/** Roots of the projects in a work tree, absolute: its top, or else the folders that git tracks as projects. */
export async function findProjects(place: GitPlace, git: () => Promise<Git>): Promise<string[]> {
  if (existsSync(join(place.workTree, CONFIG))) return [place.workTree]
  const configs = (await (await git()).tracked('')).filter((path) => path.endsWith(`/${CONFIG}`))
  const roots = configs.map((path) => join(place.workTree, path.slice(0, -CONFIG.length - 1)))
  return roots.filter((root) => existsSync(join(root, CONFIG)))
}

export interface Placed extends Pick<CheckoutResult, 'placed' | 'removed' | 'bytes' | 'missing'> {
  /** paths left as they are because they hold work that is in no cache */
  kept: { path: RepoPath; error: MlvError }[]
}

/** Places what the cache has, path by path where one of them holds unsaved work: git has moved on already, so the rest should, too.
 *  @throws as checkout, but not WORK_UNSAVED and OBJECT_MISSING */
export async function placeAfterSwitch(project: Project): Promise<Placed> {
  try {
    return { ...(await checkout(project, [], { allowMissing: true })), kept: [] }
  } catch (error) {
    if (!hasCode(error, 'WORK_UNSAVED')) throw error
  }
  const placed: Placed = { placed: 0, removed: 0, bytes: 0, missing: [], kept: [] }
  for (const { path } of await readTargets(project, await project.revision(undefined))) {
    try {
      const result = await checkout(project, [path], { allowMissing: true })
      placed.placed += result.placed
      placed.removed += result.removed
      placed.bytes += result.bytes
      placed.missing.push(...result.missing)
    } catch (error) {
      if (!hasCode(error, 'WORK_UNSAVED')) throw error
      placed.kept.push({ path, error })
    }
  }
  return placed
}

/** Sends the data of the commits that git is about to push: those that no branch of the remote is known to have.
 *  @returns undefined when none of them changed a pointer or lock, without opening the remote   @throws as push */
export async function pushBefore(project: Project, remote: string, refs: readonly PushedRef[]): Promise<SyncResult | undefined> {
  const git = await project.git()
  const from = refs.flatMap(({ localCommit }) => localCommit ?? [])
  const told = refs.flatMap(({ remoteCommit }) => remoteCommit ?? [])
  // What the remote has may be unknown here, after a forced push by someone else.
  const known = [...(await git.commits(told)).keys()]
  const fetched = (await git.refs(`refs/remotes/${remote}/`)).map(({ commit }) => commit)
  // A pushed tag may lead to no commit.
  const commits = (await Promise.all(from.map((id) => git.resolve(id)))).filter((id) => id !== undefined)
  const range = { from: [...new Set(commits)], not: [...new Set([...known, ...fetched])] }
  if ((await selectRevisions(project, { range })).length === 0) return undefined
  return push(project, { range })
}

/** Tracked paths whose data differs from their pointers, as a commit would leave them. */
export async function findUnrecorded(project: Project): Promise<RepoPath[]> {
  const statuses = await readStatus(project, [])
  return statuses
    .filter(({ origin, state }) => origin === 'pointer' && ['modified', 'diverged', 'deleted'].includes(state))
    .map(({ path }) => path)
}
