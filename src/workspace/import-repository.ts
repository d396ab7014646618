import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import { parseRepository } from '../git/repository-name.ts'
import { KEYS } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { applyTransfer, planTransfer } from '../store/transfer.ts'
import type { Entry } from './entry.ts'
import { findEntry } from './find-entry.ts'
import { gatherObjects } from './gather.ts'
import { openRepository, type Repository } from './open-repository.ts'
import { checkAgain, checkPlace, type Imported, placeImport } from './place-import.ts'
import type { Project } from './project.ts'
import { keptFolder, ofSource, type RepositorySource, type Source } from './source.ts'

/** The stores of another project, those that need no network first; a remote is asked only where it must be. */
async function* storesOf(repository: Repository, remote: string | undefined): AsyncGenerator<ObjectStore> {
  yield await repository.project.cache('read')
  yield (await repository.project.remote(remote)).store
}

/** Copies all objects of an entry into this project's cache, each hashed on its way.
 *  @throws OBJECT_MISSING where the other project cannot give all of it, OBJECT_PURGED where some of it was purged there or here */
async function copyEntry(
  project: Project,
  repository: Repository,
  found: { entry: Entry; remote: string | undefined },
): Promise<void> {
  const { signal, progress } = project.surroundings
  const cache = await project.cache('write')
  const roots = [{ entry: found.entry, part: '' }]
  const order: ObjectStore[] = [cache]
  const task = progress.start('importing')
  try {
    for await (const store of storesOf(repository, found.remote)) {
      order.push(store)
      const { objects, unreadable } = await gatherObjects(roots, order, { signal })
      const plan = planTransfer(store, cache, objects.values())
      if (plan.purged.length > 0) throw purged(repository, cache, plan.purged[0]!.oid)
      task.grow(plan.bytes)
      const concurrency = project.config.get('core.jobs')
      const done = await applyTransfer(plan, store, cache, { concurrency, signal, onBytes: (count) => task.advance(count) })
      if (unreadable.length + plan.missing.length + done.failed.length === 0) return
    }
  } finally {
    task.finish()
  }
  throw new MlvError('OBJECT_MISSING', `The data is not whole in ${repository.name}`, {
    hint: 'Run "mlv push" in a clone of it that has the data.',
  })
}

function purged({ name }: Repository, cache: ObjectStore, oid: Oid): MlvError {
  const where = cache.isPurged(oid) ? 'this cache' : name
  return new MlvError('OBJECT_PURGED', `The data holds what was purged from ${where} (record ${KEYS.purged}${oid})`, {
    hint: 'Import a path or a revision without it.',
  })
}

/** Opens the source of an import. @param fetched urls whose history is fresh: it is not fetched again, and those that are come in   @throws as openRepository */
export async function openSourceRepository(
  project: Project,
  source: Omit<RepositorySource, 'commit'>,
  fetched?: Set<string>,
): Promise<Repository> {
  const { root, place, surroundings, lockOuts } = project
  const { repo, path, rev } = source
  const request = { repo, path, revision: rev, from: root, workTree: place.workTree, lockOuts, fetched }
  return openRepository(request, surroundings)
}

export interface ImportRequest {
  /** a url, or a folder; relative ones start at the current folder */
  repo: string
  /** in it */
  path: string
  revision: string | undefined
  /** where to put it */
  out: RepoPath
  force: boolean
}

/** Takes data of another project into this one, pinned to a commit: objects into the cache, then the pointer, then the files.
 *  @throws as checkPlace, openRepository and placeImport; PATH_MISSING, OBJECT_MISSING */
export async function importRepository(project: Project, request: ImportRequest): Promise<Imported> {
  const { repo, out, force, revision } = request
  const { cwd } = project.surroundings
  const place = parseRepository(repo, cwd)
  const kept = place.kind === 'folder' ? keptFolder(repo, place.folder, project.root) : repo
  const source = { repo: kept, path: request.path, rev: revision }
  const earlier = await checkPlace(project, out, { force, source: { ...source, commit: '' } })
  const pin = (taken: Taken) => {
    checkAgain(out, earlier, taken.entry)
    return earlier ? earlier.source : taken.source
  }
  return takeAndPlace(project, source, { path: out, force, pin })
}

interface Taken {
  entry: Entry
  source: RepositorySource
}

/** @param how `pin`: the source as the pointer is to name it */
async function takeAndPlace(
  project: Project,
  source: Omit<RepositorySource, 'commit'>,
  how: { path: RepoPath; force: boolean; fetched?: Set<string>; pin(taken: Taken): Source },
): Promise<Imported> {
  const { path, force } = how
  const store = await project.cache('write')
  for (;;) {
    const taken = await takeFromRepository(project, source, how.fetched)
    const placed = await placeImport(project, { path, entry: taken.entry, source: how.pin(taken), force, place: true, store })
    if (placed) return placed
  }
}

/** Copies what the source holds now into the cache. @throws as openRepository; PATH_MISSING, OBJECT_MISSING */
export async function takeFromRepository(
  project: Project,
  source: Omit<RepositorySource, 'commit'>,
  fetched?: Set<string>,
): Promise<{ entry: Entry; source: RepositorySource }> {
  const repository = await openSourceRepository(project, source, fetched)
  try {
    const { entry, target } = await findEntry(repository.project, repository.revision, repository.path)
    await copyEntry(project, repository, { entry, remote: target.remote })
    return { entry, source: { ...source, commit: repository.revision.commit } }
  } finally {
    await repository.close()
  }
}

/** What may be wrong with the repository that an import came from. */
export const SOURCE_REPOSITORY_FAULTS = [
  'PATH_MISSING',
  'PATH_INVALID',
  'PROJECT_MISSING',
  'REVISION_UNKNOWN',
  'REMOTE_FAILED',
  'REMOTE_UNREACHABLE',
  'REMOTE_MISSING',
  'OBJECT_MISSING',
  'OBJECT_PURGED',
  'SECRET_REFUSED',
] as const

/** Looks whether the source of an import has another version by now, and takes it.
 *  @param revision to follow from now on   @throws as importRepository, naming the pointer */
export async function updateFromRepository(
  project: Project,
  now: { path: RepoPath; entry: Entry; source: RepositorySource },
  options: { revision?: string; force: boolean; fetched?: Set<string> },
): Promise<Imported> {
  const { path, source } = now
  const followed = { repo: source.repo, path: source.path, rev: options.revision ?? source.rev }
  try {
    return await takeAndPlace(project, followed, {
      path,
      force: options.force,
      fetched: options.fetched,
      // The same data in a newer commit is no reason to write the pointer.
      pin: (taken) => (taken.entry.oid === now.entry.oid && options.revision === undefined ? source : taken.source),
    })
  } catch (error) {
    throw ofSource(path, error, SOURCE_REPOSITORY_FAULTS)
  }
}
