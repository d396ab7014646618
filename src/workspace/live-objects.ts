import { hasCode, MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Wanted } from '../store/transfer.ts'
import { type Gathered, gatherObjects } from './gather.ts'
import { openProject } from './open-project.ts'
import type { Project } from './project.ts'
import type { DataRoot } from './roots.ts'

export interface Live {
  /** every object that the roots need, tree pages included */
  objects: Map<Oid, Wanted>
  /** trees or pages that nobody could give: what they need is unknown */
  unknown: string[]
}

/** Finds all that some roots need. Pages that the store lacks are read from wherever this clone can have them.
 *  @param store the store that is collected   @param clones folders of other clones, whose caches may have pages that they never pushed
 *  @throws TREE_INVALID for a tree that is broken where it lies, and what the stores throw */
export async function findLive(
  project: Project,
  store: ObjectStore,
  roots: { kept: readonly DataRoot[]; guessed: ReadonlySet<Oid> },
  clones: readonly string[] = [],
): Promise<Live> {
  const others = otherStores(project, store, clones)
  try {
    return await gatherLive(store, roots, others, project.surroundings.signal)
  } finally {
    await others.return(undefined)
  }
}

async function gatherLive(
  store: ObjectStore,
  roots: { kept: readonly DataRoot[]; guessed: ReadonlySet<Oid> },
  others: AsyncGenerator<ObjectStore>,
  signal: AbortSignal | undefined,
): Promise<Live> {
  const entries = new Map(roots.kept.map(({ entry }) => [`${entry.kind} ${entry.oid}`, { entry, part: '' }]))
  const stores: ObjectStore[] = [store]
  let gathered: Gathered
  for (;;) {
    gathered = await gatherObjects([...entries.values()], stores, { signal })
    if (gathered.unreadable.every(({ oid }) => stores.some((one) => one.isPurged(oid)))) break
    const next = await others.next()
    if (next.done) break
    stores.push(next.value)
  }
  const { objects } = gathered
  for (const oid of roots.guessed) await addGuess(objects, oid, stores)
  // A page that nobody gives is kept where it is, should it turn up.
  for (const { oid } of gathered.unreadable) objects.set(oid, { oid, size: undefined })
  const unknown = gathered.unreadable
    .filter(({ oid }) => !stores.some((one) => one.isPurged(oid)))
    .map(({ oid, folder }) => {
      const root = roots.kept.find(({ entry }) => entry.oid === oid)
      return root ? `${root.path} (${root.where})` : folder === '' ? oid : `${folder} (${oid})`
    })
  return { objects, unknown }
}

/** Where else pages may lie, opened one by one as they are needed: the cache first, those of other clones last. They are closed at its end. */
async function* otherStores(project: Project, store: ObjectStore, clones: readonly string[]): AsyncGenerator<ObjectStore> {
  const cache = await project.cache('write')
  if (cache.description.id !== store.description.id) yield cache
  for (const name of project.config.remotes()) {
    const remote = (await project.remote(name, 'read')).store
    if (remote.description.id !== store.description.id) yield remote
  }
  const opened: Project[] = []
  try {
    for (const cwd of clones) {
      const clone = await openProjectIn({ ...project.surroundings, cwd })
      if (!clone) continue
      opened.push(clone)
      yield await clone.cache('read')
    }
  } finally {
    for (const clone of opened) await clone.close()
  }
}

async function openProjectIn(surroundings: Project['surroundings']): Promise<Project | undefined> {
  try {
    return await openProject(surroundings)
  } catch (error) {
    // The branch that is checked out there may know nothing of mlv.
    if (hasCode(error, 'PROJECT_MISSING')) return undefined
    throw error
  }
}

/** What may be a file or a tree counts as both. */
async function addGuess(objects: Map<Oid, Wanted>, oid: Oid, stores: readonly ObjectStore[]): Promise<void> {
  objects.set(oid, objects.get(oid) ?? { oid, size: undefined })
  try {
    const below = await gatherObjects([{ entry: { kind: 'tree', oid, size: 0, files: 0 }, part: '' }], stores)
    for (const [found, wanted] of below.objects) if (!objects.has(found)) objects.set(found, wanted)
  } catch (error) {
    if (!hasCode(error, 'TREE_INVALID')) throw error
  }
}

/** @throws OBJECT_MISSING: what a missing list of files needs would be deleted */
export function refuseUnknown({ unknown }: Live): void {
  if (unknown.length === 0) return
  const more = unknown.length > 1 ? ` and ${unknown.length - 1} more` : ''
  throw new MlvError(
    'OBJECT_MISSING',
    `The list of files of ${unknown[0]}${more} is nowhere to be had, so what it needs is unknown`,
    {
      hint: 'Run "mlv push --all-commits" in a clone that has it, or give --force: what only it needs is then deleted.',
    },
  )
}
