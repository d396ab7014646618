import type { Oid } from '../base/oid.ts'
import { isWithin, joinPath, type RepoPath } from '../base/paths.ts'
import { readTree } from '../store/tree.ts'
import { walkTree } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import { createStoreFinder, type FoundEntry, findIn, nothingAt, pagesFrom } from './find-entry.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import { readTargets, type Target } from './target.ts'

/** One line of a listing. */
export interface Listed {
  /** relative to the project's root */
  path: RepoPath
  /** `folder`: one of git's, that holds tracked paths */
  kind: Entry['kind'] | 'folder'
  /** bytes, of all below for a tree or folder */
  size: number
  /** files below, of a tree or folder */
  files?: number
  oid?: Oid
  /** a pointer or a stage stands for this very path */
  tracked?: true
}

function listedFrom(path: RepoPath, entry: Entry): Listed {
  const { kind, size, oid } = entry
  return entry.kind === 'tree' ? { path, kind, size, files: entry.files, oid } : { path, kind, size, oid }
}

/** Adds up what lies in each folder of git directly below `path`. */
function gatherLevel(targets: readonly Target[], path: RepoPath): Listed[] {
  const level = new Map<string, Listed>()
  for (const target of targets) {
    const name = target.path.slice(path === '' ? 0 : path.length + 1).split('/', 1)[0]!
    const at = joinPath(path, name)
    if (at === target.path) {
      level.set(name, { ...listedFrom(at, target.entry), tracked: true })
      continue
    }
    const folder = level.get(name) ?? { path: at, kind: 'folder', size: 0, files: 0 }
    folder.size += target.entry.size
    folder.files = folder.files! + (target.entry.kind === 'tree' ? target.entry.files : 1)
    level.set(name, folder)
  }
  return [...level.values()]
}

async function* listFound(found: FoundEntry, path: RepoPath, recursive: boolean): AsyncGenerator<Listed> {
  const { entry, storeOf } = found
  if (entry.kind !== 'tree') {
    yield listedFrom(path, entry)
    return
  }
  const read = pagesFrom(storeOf)
  if (!recursive) {
    for (const item of await readTree(entry.oid, read, entry)) yield listedFrom(joinPath(path, item.name), item)
    return
  }
  for await (const item of walkTree(entry.oid, read, '', entry))
    if (item.entry.kind !== 'tree') yield listedFrom(joinPath(path, item.path), item.entry)
}

/** Lists what mlv tracks at `path` of a revision: a file itself, else what its folder holds; `recursive`: every file below, and no folders.
 *  Reads pointers and tree pages, no data; what the cache lacks is read on the remote and not kept.
 *  @throws PATH_MISSING, OBJECT_MISSING, and what the remote throws */
export async function* listData(
  project: Project,
  revision: Revision,
  options: { path: RepoPath; recursive?: boolean },
): AsyncGenerator<Listed> {
  const { path, recursive = false } = options
  const targets = await readTargets(project, revision)
  const around = targets.find((target) => isWithin(path, target.path))
  if (around) {
    yield* listFound(await findIn(project, revision, around, path), path, recursive)
    return
  }
  const inside = targets.filter((target) => isWithin(target.path, path))
  if (inside.length === 0 && path !== '') throw nothingAt(project, revision, path)
  if (!recursive) {
    yield* gatherLevel(inside, path)
    return
  }
  for (const target of inside) {
    const storeOf = await createStoreFinder(project, target.remote)
    yield* listFound({ target, entry: target.entry, storeOf }, target.path, true)
  }
}

/** How much a path holds. */
export interface Usage {
  path: RepoPath
  /** bytes of all files, each time they occur */
  size: number
  files: number
  isFolder: boolean
}

function usageOf(item: Listed): Usage {
  const isFolder = item.kind === 'tree' || item.kind === 'folder'
  return { path: item.path, size: item.kind === 'link' ? 0 : item.size, files: item.files ?? 1, isFolder }
}

/** Adds up what lies at `path`, with rows for tracked paths, and for folders down to `depth` levels below it; the row of `path` itself comes last,
 *  as from du. Reads tree pages down to that depth alone. @throws as listData */
export async function measureUsage(
  project: Project,
  revision: Revision,
  options: { path: RepoPath; depth: number },
): Promise<Usage[]> {
  const { path, depth } = options
  const rows: Usage[] = []
  const sum: Usage = { path, size: 0, files: 0, isFolder: true }
  for await (const item of listData(project, revision, { path })) {
    const usage = usageOf(item)
    if (item.path === path) return [usage]
    sum.size += usage.size
    sum.files += usage.files
    if (usage.isFolder && (depth > 1 || (depth > 0 && item.kind === 'folder')))
      rows.push(
        ...(await measureUsage(project, revision, {
          path: item.path,
          depth: Math.max(depth - 1, item.kind === 'folder' ? 1 : 0),
        })),
      )
    else if (depth > 0 && (usage.isFolder || item.tracked)) rows.push(usage)
  }
  return [...rows, sum]
}
