import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { parsePage } from '../store/tree-page.ts'
import { parsePointer, pointerPathOf } from './pointer.ts'
import type { Project } from './project.ts'
import type { SelectedTarget } from './selection.ts'
import { insidePath } from './worktree.ts'

/** A version of a tracked path that lacks objects. */
export interface Concern {
  /** the tracked path */
  path: RepoPath
  /** its version: what the pointer or lock names */
  oid: Oid
  /** files and folders whose data is concerned, the first hundred */
  files: { path: RepoPath; oid: Oid }[]
  /** how many there are in all */
  count: number
  /** ids of commits that brought this version, newest first */
  commits: string[]
  /** branches and tags whose tip has it; `workspace` for the workspace */
  branches: string[]
}

const SHOWN_FILES = 100

/** Finds the names of lost objects in one version of a path. */
export async function findFiles(
  target: SelectedTarget,
  lost: ReadonlySet<Oid>,
  stores: readonly ObjectStore[],
): Promise<{ files: Concern['files']; lostPages: number }> {
  const files: Concern['files'] = []
  let lostPages = 0
  const seen = new Set<string>()
  async function visit(oid: Oid, folder: RepoPath): Promise<void> {
    const key = `${oid} ${folder}`
    if (seen.has(key)) return
    seen.add(key)
    if (lost.has(oid)) {
      files.push({ path: folder, oid })
      lostPages++
    }
    const bytes = await readPage(oid, stores)
    if (!bytes) return
    for (const entry of parsePage(bytes, oid).entries) {
      if (entry.kind === 'page') await visit(entry.oid, folder)
      else if (entry.kind === 'tree') await visit(entry.oid, insidePath(folder, entry.name))
      else if (lost.has(entry.oid)) files.push({ path: insidePath(folder, entry.name), oid: entry.oid })
    }
  }
  if (target.entry.kind === 'tree') await visit(target.entry.oid, target.path)
  else if (lost.has(target.entry.oid)) files.push({ path: target.path, oid: target.entry.oid })
  return { files, lostPages }
}

async function readPage(oid: Oid, stores: readonly ObjectStore[]): Promise<Buffer | undefined> {
  for (const store of stores) {
    try {
      const bytes = await store.read(oid)
      parsePage(bytes, oid)
      return bytes
    } catch (error) {
      if (!hasCode(error, 'OBJECT_CORRUPT', 'OBJECT_MISSING', 'OBJECT_PURGED', 'TREE_INVALID')) throw error
    }
  }
  return undefined
}

/** What one pointer or lock text says of a path. */
async function namesVersion(project: Project, file: string, text: string, target: SelectedTarget): Promise<boolean> {
  try {
    if (target.origin === 'pointer') return (await parsePointer(text, file)).entry.oid === target.entry.oid
    const outs = (await project.lockOuts?.(text)) ?? []
    return outs.some((out) => out.path === target.path && out.entry.oid === target.entry.oid)
  } catch (error) {
    if (hasCode(error, 'POINTER_INVALID', 'POINTER_CONFLICT', 'LOCK_INVALID', 'YAML_INVALID', 'PATH_INVALID')) return false
    throw error
  }
}

const HEADS = 'refs/heads/'
const TAGS = 'refs/tags/'
const REMOTES = 'refs/remotes/'

/** Which commits brought a version of a path, and which branches and tags have it now. */
async function findCommits(project: Project, target: SelectedTarget): Promise<Pick<Concern, 'commits' | 'branches'>> {
  const git = await project.git()
  const file = project.gitPath(target.origin === 'pointer' ? pointerPathOf(target.path) : ('mlv.lock' as RepoPath))
  const refs = (await git.refs()).filter(({ name }) => [HEADS, TAGS, REMOTES].some((prefix) => name.startsWith(prefix)))
  const head = await git.resolve('HEAD')
  const from = [...new Set([...refs.map((ref) => ref.commit), ...(head ? [head] : [])])]
  const branches = target.revision === 'workspace' ? ['workspace'] : []
  if (from.length === 0) return { commits: [], branches }
  const log = await git.logChanges(from, { paths: [`:(top,literal)${file}`] })
  const changes = log.flatMap((commit) =>
    commit.changed.flatMap(({ path, blob }) => (path === file && blob ? [{ id: commit.id, blob }] : [])),
  )
  const tips = await git.blobsAt(refs.map((ref) => ({ commit: ref.commit, path: file })))
  const blobs = new Set([...changes.map(({ blob }) => blob), ...tips.filter((blob) => blob !== undefined)])
  const naming = new Set<string>()
  for (const [blob, bytes] of await git.readBlobs(blobs))
    if (await namesVersion(project, file, Buffer.from(bytes).toString('utf8'), target)) naming.add(blob)
  for (const [i, ref] of refs.entries())
    if (tips[i] !== undefined && naming.has(tips[i])) branches.push(ref.name.replace(/^refs\/(heads|tags|remotes)\//, ''))
  return { commits: changes.filter(({ blob }) => naming.has(blob)).map(({ id }) => id), branches: [...new Set(branches)] }
}

/** Names the paths, commits and branches that lack objects. @param targets versions in which some may be named; each is looked at once */
export async function findConcerns(
  project: Project,
  targets: readonly SelectedTarget[],
  lost: ReadonlySet<Oid>,
  stores: readonly ObjectStore[],
): Promise<Concern[]> {
  const concerns: Concern[] = []
  if (lost.size === 0) return concerns
  const said = new Set<string>()
  for (const target of targets) {
    project.surroundings.signal?.throwIfAborted()
    const key = `${target.path} ${target.entry.oid}`
    if (said.has(key)) continue
    said.add(key)
    const { files } = await findFiles(target, lost, stores)
    if (files.length === 0) continue
    const found = { path: target.path, oid: target.entry.oid, files: files.slice(0, SHOWN_FILES), count: files.length }
    concerns.push({ ...found, ...(await findCommits(project, target)) })
  }
  return concerns
}
