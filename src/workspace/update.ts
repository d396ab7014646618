import { MlvError } from '../base/errors.ts'
import { isWithin, quotePath, type RepoPath } from '../base/paths.ts'
import { findPointers } from './find-pointers.ts'
import { updateFromRepository } from './import-repository.ts'
import { type UrlOptions, updateFromUrl } from './import-url.ts'
import type { Imported } from './place-import.ts'
import { dataPathOf, pointerPathOf, readPointer } from './pointer.ts'
import type { Project } from './project.ts'
import { parseSource } from './source.ts'
import { notTracked } from './tracked.ts'

export interface UpdateOptions extends UrlOptions {
  /** what imports from repositories follow from now on */
  revision?: string
}

/** The tracked paths that were imported, at or below those asked for; all when none are. @throws PATH_MISSING for one that was not */
async function findImports(project: Project, paths: readonly RepoPath[]) {
  const found = []
  for (const path of findPointers(project).map(dataPathOf)) {
    if (paths.length > 0 && !paths.some((asked) => isWithin(path, asked))) continue
    const pointer = await readPointer(project.root, path)
    if (pointer?.source) found.push({ path, entry: pointer.entry, source: parseSource(pointer.source, pointerPathOf(path)) })
    else if (pointer && paths.includes(path))
      throw new MlvError('PATH_MISSING', `${path} was not imported: its pointer names no source`, {
        hint: `Record changes made here with "mlv add ${quotePath(path)}".`,
      })
  }
  for (const asked of paths) if (!found.some(({ path }) => isWithin(path, asked))) throw notTracked(asked)
  return found
}

/** Takes newer versions of imported data from where it came from. Each is done before the next begins.
 *  @returns what each path holds now   @throws as updateFromRepository and updateFromUrl, at the first that fails */
export async function updateImports(project: Project, paths: readonly RepoPath[], options: UpdateOptions): Promise<Imported[]> {
  const results: Imported[] = []
  for (const { path, entry, source } of await findImports(project, paths)) {
    if ('repo' in source) {
      const { revision, force } = options
      results.push(await updateFromRepository(project, { path, entry, source }, { revision, force }))
      continue
    }
    if (options.revision !== undefined && paths.includes(path))
      throw new MlvError('USAGE', `${path} was imported from a url, which has no revisions`, { hint: 'Leave --rev out.' })
    const updated = await updateFromUrl(project, { path, entry, source }, options)
    results.push(updated ?? { path, before: entry, entry, changed: false, source, written: [] })
  }
  return results
}
