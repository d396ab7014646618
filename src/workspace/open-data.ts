import { hasCode } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import { compareUtf8, isWithin, nameOf, type RepoPath } from '../base/paths.ts'
import type { TreeEntry } from '../store/tree.ts'
import { diffTrees, editPaths, findPath, reachableObjects } from '../store/tree-walk.ts'
import { addPaths } from './add.ts'
import { applyCheckout } from './checkout-apply.ts'
import { planCheckout } from './checkout-plan.ts'
import type { WorkspaceData } from './data.ts'
import type { ChangeCounts, Entry } from './entry.ts'
import { loadIgnore } from './ignore.ts'
import { ignorePaths } from './ignored.ts'
import { POINTER_SUFFIX } from './pointer.ts'
import type { Project } from './project.ts'
import { openSaving, recordSnapshot } from './saving.ts'
import { findTracked } from './tracked.ts'
import { openWorktree, pageReader, type Worktree } from './worktree.ts'

/** Opens the workspace's data for a pipeline. */
export async function openWorkspaceData(project: Project): Promise<WorkspaceData> {
  let worktree = openWorktree(project)

  async function hash(path: RepoPath, options: { all?: boolean; also?: readonly RepoPath[] } = {}): Promise<Entry | undefined> {
    const direct = await worktree.quickFile(path)
    if (direct) return direct
    if (options.all || (await findTracked(project.root, path))) return (await worktree.snapshot(path)).entry
    return hashVisible(worktree, path, options.also ?? [])
  }

  return {
    hash,
    async save(paths) {
      const saving = await openSaving(project)
      const saved = new Map<RepoPath, Entry>()
      const snapshots = []
      for (const path of paths) {
        const snapshot = await worktree.snapshot(path, { saving })
        if (!snapshot.entry) continue
        saved.set(path, snapshot.entry)
        snapshots.push(snapshot)
      }
      await saving.finish()
      for (const snapshot of snapshots) recordSnapshot(worktree.cache, snapshot, snapshot.entry!)
      return saved
    },
    async place(path, entry, options = {}) {
      await applyCheckout(worktree, await planCheckout(worktree, path, entry, options))
    },
    async isCached(entry) {
      const store = await project.cache('write')
      if (!store.has(entry.oid)) return false
      if (entry.kind !== 'tree') return true
      try {
        for await (const { oid } of reachableObjects(entry.oid, pageReader(store), new Set())) if (!store.has(oid)) return false
        return true
      } catch (error) {
        if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'TREE_INVALID', 'BLOB_MISSING')) return false
        throw error
      }
    },
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
        if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'BLOB_MISSING')) return undefined
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

/** A folder as git would keep it, plus what mlv tracks inside it and the paths `also`. Rows of its files are those of single files. */
async function hashVisible(worktree: Worktree, path: RepoPath, also: readonly RepoPath[]): Promise<Entry | undefined> {
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
    const entry = await worktree.quickFile(full)
    if (entry) entries.set(below, { ...entry, name: nameOf(below) } as TreeEntry)
  }
  for (const tracked of inside) {
    const entry = (await worktree.snapshot(tracked)).entry
    if (entry)
      entries.set(path === '' ? tracked : tracked.slice(path.length + 1), { ...entry, name: nameOf(tracked) } as TreeEntry)
  }
  if (entries.size === 0 && !(await worktree.isFolder(path))) return undefined
  await loadFingerprint()
  const pages = new Map<string, Buffer>()
  const sorted = new Map([...entries].sort((a, b) => compareUtf8(a[0], b[0])))
  const root = await editPaths(undefined, sorted, {
    read: async (oid) => pages.get(oid)!,
    sink: (oid, bytes) => void pages.set(oid, bytes),
  })
  return { kind: 'tree', ...root }
}
