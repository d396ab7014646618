import { hasCode } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { compareUtf8, isWithin, joinPath, nameOf, type RepoPath } from '../base/paths.ts'
import type { TreeEntry } from '../store/tree.ts'
import { diffTrees, editPaths, findPath, walkTree } from '../store/tree-walk.ts'
import { addPaths } from './add.ts'
import { refuseOutdated } from './add-checks.ts'
import { applyCheckout } from './checkout-apply.ts'
import { planCheckout } from './checkout-plan.ts'
import type { Collector, DataFile, WorkspaceData } from './data.ts'
import type { ChangeCounts, Entry } from './entry.ts'
import { isWhole } from './fetch-entries.ts'
import { hashFiles, isStored, type Saving } from './hash-files.ts'
import { loadIgnore } from './ignore.ts'
import { ignorePaths } from './ignored.ts'
import { POINTER_SUFFIX } from './pointer.ts'
import type { Project } from './project.ts'
import { openSaving, recordSnapshot } from './saving.ts'
import { scannedFiles, scanPath } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { emptyTable } from './stat-table.ts'
import { findTracked } from './tracked.ts'
import { insidePath, openWorktree, pageReader, recordedEntry, type Worktree } from './worktree.ts'

type VisibleOptions = { all?: boolean; also?: readonly RepoPath[] }

/** Opens the workspace's data for a pipeline. */
export async function openWorkspaceData(project: Project): Promise<WorkspaceData> {
  let worktree = openWorktree(project)

  async function hash(path: RepoPath, options: VisibleOptions = {}, saving?: Saving): Promise<Entry | undefined> {
    const direct = await worktree.quickFile(path, saving)
    if (direct) return direct
    // Nothing, most often: a stage's out before its first run. Rows and rules of a folder take ten times as long.
    if (!(await worktree.isFolder(path))) return undefined
    if (options.all || (await findTracked(project.root, path))) return (await worktree.snapshot(path, { saving })).entry
    return hashVisible(worktree, path, options.also ?? [], saving)
  }

  return {
    hash: (path, options) => hash(path, options),
    files: (path, options = {}) => listFiles(worktree, path, options),
    collector: () => openCollector(project),
    async list(tree) {
      const read = pageReader(await project.cache('write'))
      const files: DataFile[] = []
      for await (const { path, entry } of walkTree(tree.oid, read))
        if (entry.kind !== 'tree') files.push({ path, kind: entry.kind, oid: entry.oid, size: entry.size })
      return files
    },
    read: async (oid) => (await project.cache('write')).read(oid),
    async save(paths) {
      const saved = new Map<RepoPath, Entry>()
      let snapshots: Snapshot[]
      let saving: Awaited<ReturnType<typeof openSaving>>
      do {
        saving = await openSaving(project)
        snapshots = []
        for (const path of paths) {
          const snapshot = await worktree.snapshot(path, { saving })
          if (!snapshot.entry) continue
          saved.set(path, snapshot.entry)
          snapshots.push(snapshot)
        }
        await saving.finish()
        // What a collection has condemned meanwhile must be stored again before the lock refers to it.
      } while (await saving.store.refresh())
      for (const snapshot of snapshots) recordSnapshot(worktree.cache, snapshot, snapshot.entry!, saving.store.epoch())
      return saved
    },
    async keep(items) {
      const kept = new Map<RepoPath, Entry>()
      let saving: Awaited<ReturnType<typeof openSaving>>
      do {
        saving = await openSaving(project)
        for (const { path, ...options } of items) {
          const entry = await hash(path, options, saving)
          if (entry) kept.set(path, entry)
        }
        await saving.finish()
      } while (await saving.store.refresh())
      return kept
    },
    async place(path, entry, options = {}) {
      await applyCheckout(worktree, await planCheckout(worktree, path, entry, options))
    },
    isCached: async (entry) => isWhole(entry, await project.cache('write')),
    async compare(before, after) {
      const counts: ChangeCounts = { added: 0, deleted: 0, modified: 0 }
      if (before.oid === after.oid) return counts
      if (before.kind !== 'tree' || after.kind !== 'tree') return { ...counts, modified: 1 }
      const store = await project.cache('write')
      try {
        for await (const change of diffTrees(before.oid, after.oid, pageReader(store))) {
          if (!change.before) counts.added++
          else if (!change.after) counts.deleted++
          else counts.modified++
        }
        return counts
      } catch (error) {
        if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED', 'OBJECT_CORRUPT', 'BLOB_MISSING')) return undefined
        throw error
      }
    },
    async tracked(path) {
      const found = await findTracked(project.root, path)
      if (!found || found.below === '') return found?.pointer.entry
      if (found.pointer.entry.kind !== 'tree') return undefined
      const store = await project.cache('write')
      return findPath(found.pointer.entry.oid, found.below, pageReader(store))
    },
    async outdated(path) {
      const found = await findTracked(project.root, path)
      if (found?.below !== '') return undefined
      try {
        await refuseOutdated(worktree, await worktree.snapshot(path), found.pointer)
        return undefined
      } catch (error) {
        if (hasCode(error, 'WORKSPACE_OUTDATED')) return error
        throw error
      }
    },
    recorded: (path) => recordedEntry(worktree.cache, path),
    async add(path) {
      worktree.flush()
      await addPaths(project, [path])
      // What was recorded stands in the tables on disk now.
      worktree = openWorktree(project)
    },
    ignore: async (paths) => ignorePaths(project, paths),
    async close() {
      worktree.flush()
    },
  }
}

/** A folder as git would keep it, plus what mlv tracks inside it and the paths `also`: entries by their paths below it. Rows of its files are those
 *  of single files. */
async function visibleEntries(
  worktree: Worktree,
  path: RepoPath,
  also: readonly RepoPath[],
  saving?: Saving,
): Promise<Map<string, TreeEntry>> {
  const { project } = worktree
  const git = await project.git()
  const prefix = project.prefix === '' ? '' : `${project.prefix}/`
  const ignore = loadIgnore(project.root, path)
  const entries = new Map<string, TreeEntry>()
  const inside = [...worktree.tracked().filter((tracked) => isWithin(tracked, path)), ...also]
  for (const gitPath of await git.visible(project.gitPath(path))) {
    const full = gitPath.slice(prefix.length) as RepoPath
    const below = path === '' ? full : full.slice(path.length + 1)
    if (ignore.ignores(below, false) || full.startsWith('.mlv/')) continue
    if (full.endsWith(POINTER_SUFFIX) && inside.includes(full.slice(0, -POINTER_SUFFIX.length) as RepoPath)) continue
    const entry = await worktree.quickFile(full, saving)
    if (entry) entries.set(below, { ...entry, name: nameOf(below) } as TreeEntry)
  }
  for (const tracked of inside) {
    const entry = (await worktree.snapshot(tracked, { saving })).entry
    if (entry)
      entries.set(path === '' ? tracked : tracked.slice(path.length + 1), { ...entry, name: nameOf(tracked) } as TreeEntry)
  }
  return entries
}

async function hashVisible(
  worktree: Worktree,
  path: RepoPath,
  also: readonly RepoPath[],
  saving?: Saving,
): Promise<Entry | undefined> {
  const entries = await visibleEntries(worktree, path, also, saving)
  if (entries.size === 0 && !(await worktree.isFolder(path))) return undefined
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

async function allFiles(worktree: Worktree, path: RepoPath, prefix = ''): Promise<DataFile[]> {
  const { scan } = await worktree.snapshot(path)
  if (scan.kind === 'absent') return []
  const found = scan.kind === 'file' ? [scan.file] : scannedFiles(scan.folder)
  return Array.from(found, ({ path: below, kind, oid, size }) => ({
    path: below === '' ? prefix : joinPath(prefix, below),
    kind,
    oid: oid!,
    size,
  }))
}

async function listFiles(worktree: Worktree, path: RepoPath, { all, also = [] }: VisibleOptions): Promise<DataFile[]> {
  const single = await worktree.quickFile(path)
  if (single && single.kind !== 'tree') return [{ path: '', kind: single.kind, oid: single.oid, size: single.size }]
  if (all || (await findTracked(worktree.project.root, path))) return allFiles(worktree, path)
  const files: DataFile[] = []
  for (const [below, entry] of await visibleEntries(worktree, path, also)) {
    if (entry.kind !== 'tree') files.push({ path: below, kind: entry.kind, oid: entry.oid, size: entry.size })
    else files.push(...(await allFiles(worktree, insidePath(path, below), below)))
  }
  return files.sort((a, b) => compareUtf8(a.path, b.path))
}

async function openCollector(project: Project): Promise<Collector> {
  const saving = await openSaving(project)
  const keep = async (oid: Oid, bytes: Buffer) => {
    if (!isStored(saving, oid)) await saving.writer.add(oid, bytes)
  }
  return {
    async collect(folder) {
      const scan = scanPath(folder, '' as RepoPath, emptyTable(), { ignores: () => false })
      if (scan.kind !== 'folder') return []
      const files: DataFile[] = []
      await hashFiles(
        folder,
        scan.unknown,
        (file, row) => files.push({ path: file.path, kind: row.kind as DataFile['kind'], oid: row.oid, size: row.size }),
        { saving, signal: project.surroundings.signal },
      )
      return files.sort((a, b) => compareUtf8(a.path, b.path))
    },
    async tree(files) {
      await loadFingerprint()
      const entries = Array.from(files, (file): [string, TreeEntry] => [file.path, { ...file, name: nameOf(file.path) }])
      const pages = new Map<Oid, Buffer>()
      const root = await editPaths(undefined, new Map(entries), {
        read: async (oid) => pages.get(oid)!,
        sink: (oid, bytes) => void pages.set(oid, bytes),
      })
      for (const [oid, bytes] of pages) await keep(oid, bytes)
      return { kind: 'tree', ...root }
    },
    async put(bytes) {
      const oid = oidOfBytes(bytes)
      await keep(oid, bytes)
      return oid
    },
    finish: saving.finish,
  }
}
