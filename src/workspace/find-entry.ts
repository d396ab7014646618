import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { isWithin, quotePath, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader } from '../store/tree.ts'
import { findPath } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import { readTargets, type Target } from './target.ts'
import { notTracked } from './tracked.ts'

/** Gives the store to read an object from: the cache, also where it only knows in which bucket the object stays, else the remote that its pointer
 *  names, or the default one. */
export type StoreFinder = (oid: Oid) => Promise<ObjectStore>

/** Nothing is fetched into the cache by reading this way. */
export async function createStoreFinder(project: Project, remote: string | undefined): Promise<StoreFinder> {
  const cache = await project.cache('read')
  // What was purged here is said by the cache, and what is condemned can be read until it is deleted.
  const isHere = (oid: Oid) => cache.has(oid) || cache.refersTo(oid) || cache.isPurged(oid) || cache.isCondemned(oid)
  return async (oid) => (isHere(oid) ? cache : (await project.remote(remote)).store)
}

/** Reads a tree's pages from wherever they are. */
export function pagesFrom(storeOf: StoreFinder): PageReader {
  return async (oid) => (await storeOf(oid)).read(oid)
}

/** What mlv tracks at a path of a revision, and where to read it. */
export interface FoundEntry {
  target: Target
  entry: Entry
  storeOf: StoreFinder
}

/** Finds the target of a revision that is `path` or holds it. */
export async function findTarget(project: Project, revision: Revision, path: RepoPath): Promise<Target | undefined> {
  return (await readTargets(project, revision)).find((target) => isWithin(path, target.path))
}

/** Finds what a target holds at a path, reading tree pages alone. @throws PATH_MISSING, OBJECT_MISSING, and what the remote throws */
export async function findIn(project: Project, revision: Revision, target: Target, path: RepoPath): Promise<FoundEntry> {
  const storeOf = await createStoreFinder(project, target.remote)
  const below = path.slice(target.path.length + 1)
  const whole = target.entry
  const entry = below === '' ? whole : whole.kind === 'tree' ? await findPath(whole.oid, below, pagesFrom(storeOf)) : undefined
  if (entry) return { target, entry, storeOf }
  throw new MlvError('PATH_MISSING', `${target.path} of ${revision.name} has no ${path}`, {
    hint: 'Check the path, or name a revision that has it with --rev.',
  })
}

/** A folder that git keeps, with data in it. */
function holdsSome(path: RepoPath, targets: readonly Target[]): MlvError {
  const first = quotePath(targets[0]!.path)
  return new MlvError(
    'PATH_MISSING',
    `${path} is not tracked itself, but holds ${targets.length} tracked paths, such as ${first}`,
    {
      hint: `Name one of them, such as ${first}; "mlv get" takes all of a folder's at once.`,
    },
  )
}

/** Nothing is tracked at a path. */
export function nothingAt(project: Project, revision: Revision, path: RepoPath): MlvError {
  if (revision.commit === undefined && existsSync(join(project.root, path))) return notTracked(path)
  return new MlvError(
    'PATH_MISSING',
    `mlv tracks nothing at ${path}${revision.commit === undefined ? '' : ` of ${revision.name}`}`,
    {
      hint: 'See what it tracks with "mlv ls", in another repository with "mlv ls REPO", at another revision with --rev.',
    },
  )
}

/** Finds what mlv tracks at a path of a revision. @throws as findIn; PATH_MISSING where nothing is tracked */
export async function findEntry(project: Project, revision: Revision, path: RepoPath): Promise<FoundEntry> {
  return findAmong(project, revision, await readTargets(project, revision), path)
}

async function findAmong(project: Project, revision: Revision, targets: readonly Target[], path: RepoPath): Promise<FoundEntry> {
  const target = targets.find((each) => isWithin(path, each.path))
  if (target) return findIn(project, revision, target, path)
  const below = targets.filter((each) => isWithin(each.path, path))
  throw below.length > 0 && path !== '' ? holdsSome(path, below) : nothingAt(project, revision, path)
}

/** Finds all that mlv tracks at or below a path of a revision, or what a tracked path holds there. @throws as findEntry */
export async function findEntries(project: Project, revision: Revision, path: RepoPath): Promise<FoundEntry[]> {
  const targets = await readTargets(project, revision)
  const below = targets.filter((target) => target.path !== path && isWithin(target.path, path))
  if (below.length === 0) return [await findAmong(project, revision, targets, path)]
  return Promise.all(below.map((target) => findIn(project, revision, target, target.path)))
}
