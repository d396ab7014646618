import { existsSync, lstatSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { type Oid, oidOfBytes, oidOfFile } from '../base/oid.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import { cutPieces } from '../store/cut-object.ts'
import { CHUNK_FROM } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { applyStorePurge, planStorePurge, type StorePurged, type StorePurgePlan } from '../store/purge.ts'
import type { Project } from './project.ts'
import { type PurgeFound, searchPurge } from './purge-search.ts'
import { scannedFiles } from './scan.ts'
import { commitsWith, type History, readHistory } from './versions.ts'
import { insidePath, openWorktree } from './worktree.ts'

export interface PurgeOptions {
  paths: readonly RepoPath[]
  oids: readonly Oid[]
  /** beside this machine's cache */
  remotes?: readonly string[]
}

/** What one store would lose. */
export interface PurgedStore {
  /** `cache`, or the remote's name */
  name: string
  url: string
  /** objects, recipes, chunks and files */
  removed: number
  bytes: number
  /** chunks that stay, because other objects are made of them, too */
  keptChunks: number
}

export interface PurgeReport {
  /** what is purged: files and links, and the lists of whole folders */
  objects: Oid[]
  /** bytes of the files */
  bytes: number
  paths: RepoPath[]
  /** full ids of the commits in which it stands, newest first */
  commits: string[]
  /** refs whose own commit is one of them */
  refs: string[]
  /** files that stay, since they lie elsewhere as well */
  shared: { oid: Oid; path: string }[]
  /** files of the workspace that hold what is purged, which stay until they are deleted */
  workspace: RepoPath[]
  /** URLs of what only a reference stands for: the bytes stay in that bucket */
  foreign: string[]
  /** folders that no store at hand can list: what they hold is not known */
  unreadable: string[]
  stores: PurgedStore[]
  /** remotes of the configuration that are not purged */
  otherRemotes: string[]
}

/** Whether some of what was asked for stays, or may: it lies at other paths as well, or nobody can say what a folder holds. */
export function isIncomplete({ shared, unreadable }: PurgeReport): boolean {
  return shared.length > 0 || unreadable.length > 0
}

export interface PurgePlan {
  report: PurgeReport
  stores: { store: ObjectStore; plan: StorePurgePlan }[]
  /** files that failed stages had written, with such bytes; absolute */
  failed: string[]
}

/** Finds everything that is to be deleted for good, in all commits and in each store. Reads only.
 *  @throws PATH_MISSING for a path that no commit tracks or that no version of what is tracked holds; OBJECT_MISSING for an object that nothing here knows; REMOTE_UNKNOWN, and what the remotes throw */
export async function planPurge(
  project: Project,
  options: PurgeOptions,
  purpose: 'read' | 'write' = 'write',
): Promise<PurgePlan> {
  const { signal } = project.surroundings
  const cache = await project.cache(purpose)
  const remotes: { name: string; store: ObjectStore }[] = []
  for (const asked of new Set(options.remotes)) remotes.push(await project.remote(asked, purpose))
  const stores = [cache, ...remotes.map(({ store }) => store)]
  const history = await readHistory(project)
  refuseUnknown(history, options.paths)
  const found = await searchPurge(history.versions, { paths: options.paths, oids: new Set(options.oids) }, { stores, signal })
  refuseAbsent(found)
  addUnnamed(found, options.oids, stores)
  const levels = [[...found.files.keys()], ...found.pages]
  // Remotes first: the cache may know chunks that they can no longer name.
  const named = [...remotes, { name: 'cache', store: cache }]
  const known = remotes.length > 0 ? await cutLarge(cache, found.files, signal) : undefined
  const plans: (PurgePlan['stores'][number] & { name: string })[] = []
  for (const { name, store } of named) plans.push({ name, store, plan: await planStorePurge(store, levels, { known, signal }) })
  const commits = commitsWith(project, history, found.versions)
  const isHolder = new Set(commits)
  const report: PurgeReport = {
    objects: levels.flat(),
    bytes: [...found.files.values()].reduce((sum, size) => sum + size, 0),
    paths: [...new Set(found.versions.map(({ path }) => path))].sort(),
    commits,
    refs: history.refs.filter((ref) => isHolder.has(ref.commit)).map((ref) => ref.name),
    shared: [...found.shared].map(([oid, path]) => ({ oid, path })),
    workspace: await findInWorkspace(project, found),
    foreign: [...new Set(plans.flatMap(({ plan }) => plan.foreign))].sort(),
    unreadable: [...new Set(found.unreadable.map(({ path }) => path))].sort(),
    stores: plans.map(({ name, store, plan }) => ({
      name,
      url: store.blobs.url,
      removed: plan.packed.count + plan.files.paths.length,
      bytes: plan.packed.bytes + plan.files.bytes,
      keptChunks: plan.keptChunks,
    })),
    otherRemotes: project.config.remotes().filter((name) => !remotes.some((remote) => remote.name === name)),
  }
  return { report, stores: plans, failed: findFailed(project, found.files) }
}

/** Carries a plan out, one store after the other, the cache last. Interrupted, it can be planned and carried out again. */
export async function applyPurge(project: Project, plan: PurgePlan): Promise<StorePurged[]> {
  return project.locked(async () => {
    const done: StorePurged[] = []
    for (const path of plan.failed) rmSync(path, { force: true })
    for (const { store, plan: of } of plan.stores) done.push(await applyStorePurge(store, of, project.surroundings.signal))
    return done
  })
}

function refuseUnknown({ versions }: History, paths: readonly RepoPath[]): void {
  for (const path of paths)
    if (
      !versions.some((version) => isWithin(version.path, path) || (version.entry.kind === 'tree' && isWithin(path, version.path)))
    )
      throw new MlvError('PATH_MISSING', `${path} is tracked in no commit`, {
        hint: 'Name a path as it was when it was tracked, or the oid of an object.',
      })
}

/** A name that was mistyped must not pass for data that is gone. */
function refuseAbsent({ absent }: PurgeFound): void {
  if (absent.length > 0)
    throw new MlvError('PATH_MISSING', `${absent[0]} lies in no version of what is tracked`, {
      hint: 'Name it as it was when it was tracked: "mlv ls -R --rev REVISION" lists all names; or give the oid of an object.',
    })
}

/** Objects that no version names, such as those of a branch that is gone. @throws OBJECT_MISSING */
function addUnnamed(found: PurgeFound, oids: readonly Oid[], stores: readonly ObjectStore[]): void {
  const known = new Set([...found.files.keys(), ...found.pages.flat()])
  for (const oid of oids) {
    if (known.has(oid)) continue
    const store = stores.find((each) => each.isPurged(oid) || each.locate(oid) !== undefined || each.loose?.has(oid))
    if (!store)
      throw new MlvError('OBJECT_MISSING', `No commit names the object ${oid}, and no store asked has it`, {
        hint: 'Check the oid, or name the remote that has it with "--remote NAME".',
      })
    found.files.set(oid, store.locate(oid)?.size ?? store.loose?.size(oid) ?? 0)
  }
}

/** Cuts the large objects of the cache as a push would: an interrupted push leaves chunks on a remote that no recipe names. */
async function cutLarge(cache: ObjectStore, files: ReadonlyMap<Oid, number>, signal?: AbortSignal): Promise<Map<Oid, Oid[]>> {
  const chunks = new Map<Oid, Oid[]>()
  for (const [oid, size] of files) {
    if (size < CHUNK_FROM || !cache.has(oid)) continue
    const list: Oid[] = []
    for await (const bytes of cutPieces(cache.stream(oid, { signal }))) list.push(oidOfBytes(bytes))
    chunks.set(oid, list)
  }
  return chunks
}

/** What failed stages had written may be deleted at any time. */
function findFailed(project: Project, files: ReadonlyMap<Oid, number>): string[] {
  const folder = join(project.homeDir, 'failed')
  if (!existsSync(folder)) return []
  const sizes = new Set(files.values())
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath, item.name))
    .filter((path) => sizes.has(lstatSync(path).size) && files.has(oidOfFile(path)))
}

/** Files of this worktree with the bytes of a purged object, also where they were never added. */
async function findInWorkspace(project: Project, found: PurgeFound): Promise<RepoPath[]> {
  const worktree = openWorktree(project, 'read')
  const holding: RepoPath[] = []
  for (const path of new Set(found.versions.map((version) => version.path))) {
    const { scan } = await worktree.snapshot(path)
    if (scan.kind === 'absent') continue
    for (const file of scan.kind === 'folder' ? scannedFiles(scan.folder) : [scan.file])
      if (file.oid !== undefined && found.files.has(file.oid)) holding.push(insidePath(path, file.path))
  }
  return holding.sort()
}
