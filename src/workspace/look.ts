import { hasCode } from '../base/errors.ts'
import { createOidHash } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { diffTrees } from '../store/tree-walk.ts'
import { UNREADABLE } from './diff.ts'
import { type ChangeCounts, type Entry, sameEntry } from './entry.ts'
import { createStoreFinder, findEntry, type StoreFinder } from './find-entry.ts'
import { openSourceRepository, SOURCE_REPOSITORY_FAULTS, takeFromRepository } from './import-repository.ts'
import { isPinned, SOURCE_URL_FAULTS, storeUrl } from './import-url.ts'
import { type OpenedSource, openUrlSource } from './open-source.ts'
import type { Project } from './project.ts'
import { ofSource, type RepositorySource, type Source, type UrlSource } from './source.ts'
import { changedFiles, countChanges, readSourceFiles } from './source-files.ts'
import type { ImportedPath } from './update.ts'

/** What a source calls the version it has. */
export type SourceVersion = Partial<
  Pick<RepositorySource, 'commit'> & Pick<UrlSource, 'etag' | 'modified' | 'version' | 'listing'>
>

/** What the source of an import holds now, looked at without reading data. */
export interface Look {
  state: 'unchanged' | 'changed' /** the server does not say which version it has */ | 'unknown'
  version: SourceVersion
  /** files that differ from what was taken; undefined where nobody knows what that was */
  counts?: ChangeCounts
  /** which files those are, below the import, '' for itself; undefined: any of them */
  files?: string[]
  /** whether another pointer of the same path has that version already */
  isIn(pointer: { entry: Entry; source: Source }): boolean
  /** Gets it into the cache; the workspace stays as it is. */
  take(): Promise<{ entry: Entry; source: Source }>
  close(): void
}

interface LookOptions {
  /** reads what a server has no name for, to compare it */
  read: boolean
  /** urls of repositories whose history is fresh */
  fetched: Set<string>
}

/** The names by which a pointer pins a version. */
export function versionIn(source: Source): SourceVersion {
  if ('repo' in source) return { commit: source.commit }
  const { etag, modified, version, listing } = source
  return { etag, modified, version, listing }
}

/** Looks at the source of an import. To be closed.
 *  @throws PATH_MISSING, REVISION_UNKNOWN, REMOTE_UNREACHABLE and what else openRepository and openUrlSource throw, naming the import */
export async function lookAtSource(project: Project, now: ImportedPath, options: LookOptions): Promise<Look> {
  const { source, path } = now
  try {
    if ('repo' in source) return await lookAtRepository(project, { ...now, source }, options)
    return await lookAtUrl(project, { ...now, source }, options)
  } catch (error) {
    throw ofSource(path, error, 'repo' in source ? SOURCE_REPOSITORY_FAULTS : SOURCE_URL_FAULTS)
  }
}

const FULL_COMMIT = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/

function unmoved(source: Source): Look {
  const isIn: Look['isIn'] = (pointer) => JSON.stringify(versionIn(pointer.source)) === JSON.stringify(versionIn(source))
  const take = () => Promise.reject(new Error('nothing has moved'))
  return { state: 'unchanged', version: versionIn(source), isIn, take, close() {} }
}

async function lookAtRepository(
  project: Project,
  { entry, source }: ImportedPath & { source: RepositorySource },
  { fetched }: LookOptions,
): Promise<Look> {
  const { repo, path, rev, commit } = source
  // Nothing moves a commit, so nobody need be asked.
  if (rev !== undefined && FULL_COMMIT.test(rev) && rev === commit) return unmoved(source)
  const repository = await openSourceRepository(project, source, fetched)
  try {
    const { revision } = repository
    if (revision.commit === commit) return unmoved(source)
    const found = await findEntry(repository.project, revision, repository.path)
    const state = sameEntry(found.entry, entry) ? 'unchanged' : 'changed'
    const own = await createStoreFinder(project, undefined)
    const differing = state === 'changed' ? await compareEntries(entry, found.entry, [own, found.storeOf]) : undefined
    return {
      ...{ state, version: { commit: revision.commit }, ...differing },
      isIn: (pointer) => sameEntry(pointer.entry, found.entry),
      take: () => takeFromRepository(project, { repo, path, rev }, fetched),
      close() {},
    }
  } finally {
    await repository.close()
  }
}

/** Compares two versions by their trees' pages. @returns undefined where those cannot be had */
async function compareEntries(
  before: Entry,
  after: Entry,
  finders: readonly StoreFinder[],
): Promise<{ counts: ChangeCounts; files: string[] } | undefined> {
  if (before.kind !== 'tree' || after.kind !== 'tree') return { counts: { added: 0, deleted: 0, modified: 1 }, files: [''] }
  const read = async (oid: Entry['oid']) => {
    let last: ObjectStore | undefined
    for (const find of finders) {
      const store = await find(oid).catch((error) => {
        if (!hasCode(error, ...UNREADABLE)) throw error
        return undefined
      })
      if (store?.has(oid)) return store.read(oid)
      last = store ?? last
    }
    return last!.read(oid)
  }
  const counts: ChangeCounts = { added: 0, deleted: 0, modified: 0 }
  const files: string[] = []
  try {
    for await (const change of diffTrees(before.oid, after.oid, read)) {
      if (!change.before) counts.added++
      else if (!change.after) counts.deleted++
      else counts.modified++
      files.push(change.path)
    }
    return { counts, files }
  } catch (error) {
    if (hasCode(error, ...UNREADABLE, 'OBJECT_PURGED')) return undefined
    throw error
  }
}

async function lookAtUrl(project: Project, now: ImportedPath & { source: UrlSource }, { read }: LookOptions): Promise<Look> {
  const { source, pointer } = now
  const opened = await openUrlSource(project, source)
  try {
    const pinned = isPinned(source, opened)
    const state = pinned === 'unknown' ? await compareFile(opened, now.entry, read) : pinned ? 'unchanged' : 'changed'
    const taken = state === 'changed' ? await readSourceFiles(project, source.files, pointer.remote) : undefined
    return {
      ...{ state, version: { ...opened.pin } },
      ...(opened.kind === 'file' ? { counts: { added: 0, deleted: 0, modified: 1 }, files: [''] } : {}),
      ...(opened.kind === 'folder' && taken ? folderChanges(taken, opened) : {}),
      isIn: (other) => !('repo' in other.source) && other.source.url === source.url && isPinned(other.source, opened) === true,
      async take() {
        const remote = taken && project.config.remotes().length > 0 ? (await project.remote(pointer.remote)).store : undefined
        const known = taken && { taken, also: remote }
        return storeUrl(project, { source, opened, known }, { toRemote: false })
      },
      close: () => opened.close(),
    }
  } catch (error) {
    opened.close()
    throw error
  }
}

function folderChanges(taken: Parameters<typeof countChanges>[0], { files }: OpenedSource): Pick<Look, 'counts' | 'files'> {
  const listed = new Set(files.map(({ path }) => path))
  const gone = [...taken.keys()].filter((path) => !listed.has(path))
  return { counts: countChanges(taken, files), files: [...changedFiles(taken, files), ...gone] }
}

/** Tells by its size, or by all its bytes, whether a file is another one. */
async function compareFile({ files }: OpenedSource, entry: Entry, read: boolean): Promise<Look['state']> {
  const [file] = files
  if (!file || (file.size !== undefined && file.size !== entry.size)) return 'changed'
  if (!read) return 'unknown'
  const hash = createOidHash()
  for await (const piece of file.read()) hash.update(piece)
  return hash.digest() === entry.oid ? 'unchanged' : 'changed'
}
