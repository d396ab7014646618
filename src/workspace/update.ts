import { type ErrorCode, MlvError } from '../base/errors.ts'
import { isWithin, quotePath, type RepoPath } from '../base/paths.ts'
import type { Entry } from './entry.ts'
import { findPointers } from './find-pointers.ts'
import { updateFromRepository } from './import-repository.ts'
import { type UrlOptions, updateFromUrl } from './import-url.ts'
import type { Imported } from './place-import.ts'
import { dataPathOf, POINTER_SUFFIX, type Pointer, parsePointer } from './pointer.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import { parseSource, type Source } from './source.ts'
import { notTracked } from './tracked.ts'

export interface UpdateOptions extends UrlOptions {
  /** what imports from repositories follow from now on */
  revision?: string
}

/** A tracked path that was imported. */
export interface ImportedPath {
  path: RepoPath
  pointer: Pointer
  entry: Entry
  source: Source
}

/** The tracked paths of a revision that were imported, at or below those asked for; all when none are. @throws PATH_MISSING for one that was not */
export async function findImports(project: Project, paths: readonly RepoPath[], revision: Revision): Promise<ImportedPath[]> {
  const pointers =
    revision.commit === undefined
      ? findPointers(project)
      : (await revision.list()).filter((file) => file.endsWith(POINTER_SUFFIX))
  const found: ImportedPath[] = []
  for (const file of pointers) {
    const path = dataPathOf(file)
    if (paths.length > 0 && !paths.some((asked) => isWithin(path, asked))) continue
    const bytes = await revision.read(file)
    if (!bytes) continue
    const where = revision.commit === undefined ? file : `${revision.name}:${file}`
    const pointer = await parsePointer(Buffer.from(bytes).toString('utf8'), where)
    if (pointer.source) found.push({ path, pointer, entry: pointer.entry, source: parseSource(pointer.source, where) })
    else if (paths.includes(path))
      throw new MlvError('PATH_MISSING', `${path} was not imported: its pointer names no source`, {
        hint: `Record changes made here with "mlv add ${quotePath(path)}".`,
      })
  }
  for (const asked of paths) if (!found.some(({ path }) => isWithin(path, asked))) throw notTracked(asked)
  return found
}

async function updateImport(
  project: Project,
  { path, pointer, entry, source }: ImportedPath,
  options: UpdateOptions & { asked: boolean; fetched: Set<string> },
): Promise<Imported> {
  if ('repo' in source) return updateFromRepository(project, { path, entry, source }, options)
  if (options.revision !== undefined && options.asked)
    throw new MlvError('USAGE', `${path} was imported from a url, which has no revisions`, { hint: 'Leave --rev out.' })
  const updated = await updateFromUrl(project, { path, entry, source, remote: pointer.remote }, options)
  return updated ?? { path, before: entry, entry, changed: false, source, written: [] }
}

/** What keeps every import from being updated, and not only one. */
const STOPPING: ErrorCode[] = ['INTERRUPTED', 'DISK_FULL', 'LOCK_HELD', 'FILE_UNWRITABLE']

/** Why an import could not be looked at or updated. @throws errors that are not ours, and those that the next import would meet, too */
export function importFailure(error: unknown): MlvError {
  if (!(error instanceof MlvError) || STOPPING.includes(error.code)) throw error
  return error
}

/** What is thrown at the end for the imports that failed. */
export function importFailures(failed: readonly { path: RepoPath; error: MlvError }[]): MlvError | undefined {
  const [first] = failed
  if (!first || failed.length === 1) return first?.error
  const paths = failed.map(({ path }) => path).join(', ')
  return new MlvError(first.error.code, `${failed.length} imports failed: ${paths}`, { hint: 'See the message of each above.' })
}

/** Takes newer versions of imported data from where it came from. Each is done before the next begins; one that fails keeps no other from it.
 *  @returns what each path holds now, and what failed   @throws as findImports, and what concerns all of them */
export async function updateImports(
  project: Project,
  paths: readonly RepoPath[],
  options: UpdateOptions,
): Promise<{ updated: Imported[]; failed: { path: RepoPath; error: MlvError }[] }> {
  const updated: Imported[] = []
  const failed: { path: RepoPath; error: MlvError }[] = []
  const fetched = new Set<string>()
  for (const found of await findImports(project, paths, await project.revision(undefined)))
    try {
      updated.push(await updateImport(project, found, { ...options, asked: paths.includes(found.path), fetched }))
    } catch (error) {
      failed.push({ path: found.path, error: importFailure(error) })
    }
  return { updated, failed }
}
