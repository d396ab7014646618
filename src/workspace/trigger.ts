import type { MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ChangeCounts } from './entry.ts'
import { type Look, lookAtSource, type SourceVersion, versionIn } from './look.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import type { Source } from './source.ts'
import { findImports, type ImportedPath, importFailure } from './update.ts'
import { insidePath } from './worktree.ts'

/** An import, and whether its source has another version by now. */
export interface ImportState {
  path: RepoPath
  source: Source
  /** `unknown`: the server does not say which version it has; `failed`: it could not be asked */
  state: Look['state'] | 'failed'
  before: SourceVersion
  after?: SourceVersion
  /** files that differ; undefined where nobody knows what was taken */
  counts?: ChangeCounts
  /** what may differ in the project: files of the import, or all of it */
  changed: RepoPath[]
  error?: MlvError
}

export interface TriggerPlan {
  imports: ImportState[]
  /** the versions to take, by path */
  looks: Map<RepoPath, { now: ImportedPath; look: Look }>
  close(): void
}

async function lookAt(
  project: Project,
  now: ImportedPath,
  options: { read: boolean; fetched: Set<string> },
): Promise<{ state: ImportState; look?: Look }> {
  const { path, source } = now
  const base = { path, source, before: versionIn(source), changed: [] }
  try {
    const look = await lookAtSource(project, now, options)
    const { state, version, counts, files } = look
    if (state !== 'changed') return { state: { ...base, state }, look }
    const changed = files === undefined ? [path] : files.map((file) => insidePath(path, file))
    return { state: { ...base, state, after: version, counts, changed }, look }
  } catch (error) {
    return { state: { ...base, state: 'failed', error: importFailure(error) } }
  }
}

/** Asks the sources of a revision's imports which version they have: a listing, a HEAD, or a fetch of git history each, and no data unless `read`.
 *  To be closed. One that cannot be asked keeps none of the others from it.
 *  @param read also read files whose server has no name for their version   @throws as findImports */
export async function planTrigger(
  project: Project,
  paths: readonly RepoPath[],
  { revision, read }: { revision: Revision; read: boolean },
): Promise<TriggerPlan> {
  const plan: TriggerPlan = {
    imports: [],
    looks: new Map(),
    close() {
      for (const { look } of plan.looks.values()) look.close()
    },
  }
  const fetched = new Set<string>()
  for (const now of await findImports(project, paths, revision)) {
    const { state, look } = await lookAt(project, now, { read, fetched })
    plan.imports.push(state)
    if (state.state === 'changed' && look) plan.looks.set(now.path, { now, look })
    else look?.close()
  }
  return plan
}
