import { loadFingerprint } from '../base/fingerprint.ts'
import type { Oid } from '../base/oid.ts'
import { compareUtf8, isWithin, joinPath, nameOf, type RepoPath } from '../base/paths.ts'
import type { TreeEntry } from '../store/tree.ts'
import { editPaths } from '../store/tree-walk.ts'
import type { DataFile, Look, LookOptions } from './data.ts'
import type { Entry } from './entry.ts'
import { isStored, type Saving } from './hash-files.ts'
import { loadIgnore } from './ignore.ts'
import { POINTER_SUFFIX } from './pointer.ts'
import { scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { findTracked } from './tracked.ts'
import { insidePath, type Worktree } from './worktree.ts'

/** Looks at a path as WorkspaceData's hash does. @param saving all objects are there once its entry is known   @returns undefined where nothing lies */
export async function lookAt(
  worktree: Worktree,
  path: RepoPath,
  options: LookOptions,
  saving?: Saving,
): Promise<Look | undefined> {
  const single = await worktree.quickFile(path, saving)
  if (single && single.kind !== 'tree') {
    const { kind, oid, size } = single
    return { entry: async () => single, files: async () => [{ path: '', kind, oid, size }] }
  }
  // Nothing, most often: a stage's out before its first run. Rows and rules of a folder take ten times as long.
  if (!(await worktree.isFolder(path))) return undefined
  if (!options.all && !(await findTracked(worktree.project.root, path)))
    return lookAtVisible(worktree, path, options.also ?? [], saving)
  const snapshot = await worktree.snapshot(path, { saving })
  const { entry } = snapshot
  return entry && { entry: async () => entry, files: async () => filesOf(snapshot) }
}

/** A folder as git would keep it, plus what mlv tracks inside it and the paths `also`. */
async function lookAtVisible(
  worktree: Worktree,
  path: RepoPath,
  also: readonly RepoPath[],
  saving: Saving | undefined,
): Promise<Look> {
  const entries = await visibleEntries(worktree, path, also, saving)
  return {
    entry: () => (saving ? treeOf(entries, saving) : treeAt(worktree, path, entries)),
    async files() {
      const files: DataFile[] = []
      for (const [below, entry] of entries) {
        if (entry.kind !== 'tree') files.push({ path: below, kind: entry.kind, oid: entry.oid, size: entry.size })
        else files.push(...filesOf(await worktree.snapshot(insidePath(path, below)), below))
      }
      return files.sort((a, b) => compareUtf8(a.path, b.path))
    },
  }
}

/** Entries by their paths below the folder. Rows of its files are those of single files. */
async function visibleEntries(
  worktree: Worktree,
  path: RepoPath,
  also: readonly RepoPath[],
  saving: Saving | undefined,
): Promise<Map<string, TreeEntry>> {
  const { project } = worktree
  const git = await project.git()
  const listing = git.visible(project.gitPath(path))
  // What fails before it is waited for would end the process.
  listing.catch(() => {})
  const prefix = project.prefix === '' ? '' : `${project.prefix}/`
  const ignore = loadIgnore(project.root, path)
  const belowOf = (full: RepoPath) => (path === '' ? full : full.slice(path.length + 1))
  const inside = [...worktree.tracked().filter((tracked) => isWithin(tracked, path)), ...also]
  const pointed = new Set(inside)
  const visible: RepoPath[] = []
  for (const gitPath of await listing) {
    const full = gitPath.slice(prefix.length) as RepoPath
    if (ignore.ignores(belowOf(full), false) || full.startsWith('.mlv/')) continue
    if (full.endsWith(POINTER_SUFFIX) && pointed.has(full.slice(0, -POINTER_SUFFIX.length) as RepoPath)) continue
    visible.push(full)
  }
  const entries = new Map<string, TreeEntry>()
  const add = (at: RepoPath, entry: Entry | undefined, name: string) => {
    if (entry) entries.set(belowOf(at), { ...entry, name } as TreeEntry)
  }
  for (const [at, entry] of await worktree.quickFiles(visible, saving)) add(at, entry, nameOf(at))
  for (const tracked of inside) add(tracked, (await worktree.snapshot(tracked, { saving })).entry, nameOf(tracked))
  return entries
}

interface Known {
  entries: ReadonlyMap<string, TreeEntry>
  entry: Entry
}

/** The tree that each folder had when it was last looked at: after a run most deps are as they were before, which a comparison shows sooner. */
const knownTrees = new WeakMap<Worktree, Map<RepoPath, Known>>()
/** Entries of a folder that are kept for that. */
const MOST_KEPT = 100_000

async function treeAt(worktree: Worktree, path: RepoPath, entries: Known['entries']): Promise<Entry> {
  const known = knownTrees.get(worktree) ?? new Map<RepoPath, Known>()
  knownTrees.set(worktree, known)
  const before = known.get(path)
  if (before && sameEntries(before.entries, entries)) return before.entry
  const entry = await treeOf(entries)
  if (entries.size <= MOST_KEPT) known.set(path, { entries, entry })
  return entry
}

function sameEntries(before: Known['entries'], now: Known['entries']): boolean {
  if (before.size !== now.size) return false
  for (const [path, entry] of now) {
    const old = before.get(path)
    if (old?.oid !== entry.oid || old.kind !== entry.kind) return false
  }
  return true
}

async function treeOf(entries: ReadonlyMap<string, TreeEntry>, saving?: Saving): Promise<Entry> {
  await loadFingerprint()
  const pages = new Map<Oid, Buffer>()
  const sorted = new Map([...entries].sort((a, b) => compareUtf8(a[0], b[0])))
  const root = await editPaths(undefined, sorted, {
    read: async (oid) => pages.get(oid)!,
    sink: (oid, bytes) => void pages.set(oid, bytes),
  })
  if (saving) for (const [oid, bytes] of pages) if (!isStored(saving, oid)) await saving.writer.add(oid, bytes)
  return { kind: 'tree', ...root }
}

function filesOf({ scan }: Snapshot, prefix = ''): DataFile[] {
  if (scan.kind === 'absent') return []
  const found = scan.kind === 'file' ? [scan.file] : scannedFiles(scan.folder)
  return Array.from(found, ({ path: below, kind, oid, size }) => ({
    path: below === '' ? prefix : joinPath(prefix, below),
    kind,
    oid: oid!,
    size,
  }))
}
