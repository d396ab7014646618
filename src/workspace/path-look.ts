import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { loadFingerprint } from '../base/fingerprint.ts'
import type { Oid } from '../base/oid.ts'
import { compareUtf8, foldersAround, isWithin, joinPath, nameOf, parentOf, type RepoPath, upwards } from '../base/paths.ts'
import type { TreeEntry } from '../store/tree.ts'
import { editPaths } from '../store/tree-walk.ts'
import type { DataFile, Look, LookOptions } from './data.ts'
import { type Entry, sameEntry } from './entry.ts'
import { isStored, type Saving } from './hash-files.ts'
import { loadIgnore } from './ignore.ts'
import { POINTER_SUFFIX, readPointer } from './pointer.ts'
import { scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { TICK_MS } from './stat-table.ts'
import { awayEntry } from './status.ts'
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
  const at = Date.now()
  const { entries, away, edited } = await visibleEntries(worktree, path, also, saving)
  return {
    away,
    edited,
    entry: () => (saving ? treeOf(entries, saving) : treeAt(worktree, path, { entries, at })),
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

/** Entries by their paths below the folder, and tracked data that is not what its pointer says. Rows of its files are those of single files. */
async function visibleEntries(
  worktree: Worktree,
  path: RepoPath,
  also: readonly RepoPath[],
  saving: Saving | undefined,
): Promise<{ entries: Map<string, TreeEntry>; away: Map<RepoPath, Entry>; edited: RepoPath[] }> {
  const { project } = worktree
  const git = await project.git()
  const listing = git.visible(project.gitPath(path))
  // What fails before it is waited for would end the process.
  listing.catch(() => {})
  const prefix = project.prefix === '' ? '' : `${project.prefix}/`
  const ignore = loadIgnore(project.root, path)
  const belowOf = (full: RepoPath) => (path === '' ? full : full.slice(path.length + 1))
  const tracked = new Set(worktree.tracked().filter((at) => isWithin(at, path)))
  const inside = [...tracked, ...also]
  const pointed = new Set(inside)
  // What is looked at in whole does not count file by file, too.
  const isCounted = (full: RepoPath) => pointed.size > 0 && [...upwards(full)].some((at) => pointed.has(at))
  const visible: RepoPath[] = []
  for (const gitPath of await listing) {
    const full = gitPath.slice(prefix.length) as RepoPath
    if (ignore.ignores(belowOf(full), false) || full.startsWith('.mlv/')) continue
    if (isCounted(full)) continue
    if (full.endsWith(POINTER_SUFFIX) && pointed.has(full.slice(0, -POINTER_SUFFIX.length) as RepoPath)) continue
    visible.push(full)
  }
  const entries = new Map<string, TreeEntry>()
  const add = (at: RepoPath, entry: Entry | undefined, name: string) => {
    if (entry) entries.set(belowOf(at), { ...entry, name } as TreeEntry)
  }
  for (const [at, entry] of await worktree.quickFiles(visible, saving)) add(at, entry, nameOf(at))
  const away = new Map<RepoPath, Entry>()
  const edited: RepoPath[] = []
  for (const at of inside) {
    const snapshot = await worktree.snapshot(at, { saving })
    // What is stored is what lies here.
    const pointer = saving || !tracked.has(at) ? undefined : await readPointer(project.root, at)
    const differs = pointer !== undefined && !sameEntry(snapshot.entry, pointer.entry)
    const said = differs ? await awayEntry(worktree, at, snapshot) : undefined
    if (said) away.set(at, said)
    else if (differs) edited.push(at)
    add(at, said ?? snapshot.entry, nameOf(at))
  }
  return { entries, away, edited }
}

/** What a look saw of a folder. */
interface Seen {
  entries: ReadonlyMap<string, TreeEntry>
  /** ms since 1970, before it began */
  at: number
}

interface Known extends Seen {
  entry: Entry
}

/** The tree that each folder had when it was last looked at: after a run most deps are as they were before, which a comparison shows sooner. */
const knownTrees = new WeakMap<Worktree, Map<RepoPath, Known>>()
/** Entries of a folder that are kept for that. */
const MOST_KEPT = 100_000

async function treeAt(worktree: Worktree, path: RepoPath, seen: Seen): Promise<Entry> {
  const known = knownTrees.get(worktree) ?? new Map<RepoPath, Known>()
  knownTrees.set(worktree, known)
  const before = known.get(path)
  const entry = before && sameEntries(before.entries, seen.entries) ? before.entry : await treeOf(seen.entries)
  if (seen.entries.size <= MOST_KEPT) known.set(path, { ...seen, entry })
  return entry
}

/** Names in each folder that holds files, or folders with some: how many are folders. */
function countFolders(paths: Iterable<string>): Map<string, number> {
  const folders = new Map<string, number>(Array.from(foldersAround(paths), (folder) => [folder, 0]))
  for (const folder of folders.keys()) if (folder !== '') folders.set(parentOf(folder), folders.get(parentOf(folder))! + 1)
  return folders
}

/** Whether a folder is as the last look at it, which found `entry` there, left it: no file has other times, no name has come or gone. False says
 *  nothing. What git ignores and tracks is not asked again. */
export function isAsSeen(worktree: Worktree, path: RepoPath, entry: Entry): boolean {
  const known = knownTrees.get(worktree)?.get(path)
  if (!known || !sameEntry(known.entry, entry)) return false
  const { root } = worktree.project
  for (const [below, inside] of countFolders(known.entries.keys())) {
    const stats = lstatSync(join(root, path, below), { throwIfNoEntry: false })
    if (!stats?.isDirectory() || stats.mtimeMs >= known.at - TICK_MS) return false
    // Each folder has a link from each folder in it: there is none but these. File systems that count otherwise are looked at in whole.
    if (stats.nlink - 2 !== inside) return false
  }
  for (const [below, { kind, oid }] of known.entries) {
    const now = kind === 'tree' ? undefined : worktree.glance(insidePath(path, below))
    if (now?.oid !== oid || now.kind !== kind) return false
  }
  return true
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
