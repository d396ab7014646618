import { lstatSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../base/errors.ts'
import { loadFingerprint } from '../base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { compareUtf8, nameOf, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TreeEntry } from '../store/tree.ts'
import { diffTrees, editPaths, findPath, walkTree } from '../store/tree-walk.ts'
import { addPaths } from './add.ts'
import { refuseOutdated } from './add-checks.ts'
import { applyCheckout } from './checkout-apply.ts'
import { planCheckout } from './checkout-plan.ts'
import type { Collector, DataFile, EarlierTree, MovedFiles, WorkspaceData } from './data.ts'
import type { ChangeCounts, Entry } from './entry.ts'
import { isWhole } from './fetch-entries.ts'
import { hashFiles, isStored } from './hash-files.ts'
import { ignorePaths, showToGit } from './ignored.ts'
import { isAsSeen, lookAt } from './path-look.ts'
import { placeChanges } from './place-changes.ts'
import type { Project } from './project.ts'
import { openSaving, recordSnapshot } from './saving.ts'
import { scanPath } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import { emptyTable, forgetTrees, type StatRow, type StatTable } from './stat-table.ts'
import { awayEntry } from './status.ts'
import { findTracked } from './tracked.ts'
import { openWorktree, pageReader, recordedEntry, type Worktree } from './worktree.ts'

/** Opens the workspace's data for a pipeline. */
export async function openWorkspaceData(opened: Project): Promise<WorkspaceData> {
  let settling = false
  const project: Project = {
    ...opened,
    surroundings: {
      ...opened.surroundings,
      get signal() {
        return settling ? undefined : opened.surroundings.signal
      },
    },
  }
  let worktree = openWorktree(project)

  return {
    settle() {
      settling = true
    },
    hash: async (path, options = {}) => (await lookAt(worktree, path, options))?.entry(),
    look: (path, options = {}) => lookAt(worktree, path, options),
    glance: (path) => worktree.glance(path),
    isAsSeen: (path, entry) => isAsSeen(worktree, path, entry),
    files: async (path, options = {}) => (await lookAt(worktree, path, options))?.files() ?? [],
    collector: () => openCollector(worktree),
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
      } while (await saving.store.recheck())
      for (const snapshot of snapshots) recordSnapshot(worktree.cache, snapshot, snapshot.entry!, saving.store.epoch())
      return saved
    },
    async keep(items) {
      const kept = new Map<RepoPath, Entry>()
      let saving: Awaited<ReturnType<typeof openSaving>>
      do {
        saving = await openSaving(project)
        for (const { path, ...options } of items) {
          const entry = await (await lookAt(worktree, path, options, saving))?.entry()
          if (entry) kept.set(path, entry)
        }
        await saving.finish()
      } while (await saving.store.refresh())
      return kept
    },
    async place(path, entry, { from, moved, ...options } = {}) {
      if (from && entry && (await placeChanges(worktree, path, { from, to: entry, moved, ...options }))) return
      if (moved && moved.size >= MANY_MOVED) noteMoved(worktree.cache.folder(path), moved)
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
    away: (path) => awayEntry(worktree, path),
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
    unignore: async (paths) => showToGit(project, paths),
    async close() {
      worktree.flush()
    },
  }
}

/** Fewer files than these are read again where they have been moved to: the tree around them is edited, not built anew. */
const MANY_MOVED = 512

function noteMoved(table: StatTable, moved: MovedFiles): void {
  for (const [below, row] of moved) table.rows.set(below, row)
  forgetTrees(table, '')
}

async function openCollector({ project }: Worktree): Promise<Collector> {
  const collected = new Map<string, StatRow>()
  // What has been made is kept, whoever asks for an end meanwhile.
  const saving = await openSaving({ ...project, surroundings: { ...project.surroundings, signal: undefined } })
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
        (file, row) => {
          collected.set(join(folder, file.path), row)
          files.push({ path: file.path, kind: row.kind as DataFile['kind'], oid: row.oid, size: row.size })
        },
        { saving },
      )
      return files.sort((a, b) => compareUtf8(a.path, b.path))
    },
    async tree(files, before) {
      await loadFingerprint()
      const made = (before && (await editTree(files, before, saving.store))) ?? (await buildTree(files))
      for (const [oid, bytes] of made.pages) await keep(oid, bytes)
      return made.entry
    },
    async put(bytes) {
      const oid = oidOfBytes(bytes)
      await keep(oid, bytes)
      return oid
    },
    move(from, to) {
      renameSync(from, to)
      const row = collected.get(from)
      if (!row) return
      const stats = lstatSync(to)
      // A new name is a new ctime. What was written to it before has another mtime.
      const isSame = stats.size === row.size && stats.mtimeMs === row.mtime && stats.ino === row.inode
      if (isSame) collected.set(to, { ...row, ctime: stats.ctimeMs })
    },
    moved: (files) => new Map([...files].flatMap(([below, at]) => (collected.has(at) ? [[below, collected.get(at)!]] : []))),
    finish: saving.finish,
  }
}

interface MadeTree {
  entry: Entry
  pages: Map<Oid, Buffer>
}

const treeEntry = (file: DataFile): TreeEntry => ({ ...file, name: nameOf(file.path) })

async function buildTree(files: readonly DataFile[]): Promise<MadeTree> {
  const pages = new Map<Oid, Buffer>()
  const io = { read: async (oid: Oid) => pages.get(oid)!, sink: (oid: Oid, bytes: Buffer) => void pages.set(oid, bytes) }
  const root = await editPaths(undefined, new Map(files.map((file) => [file.path, treeEntry(file)])), io)
  return { entry: { kind: 'tree', ...root }, pages }
}

/** @returns undefined where the tree must be built anew: the earlier one is not here, or is not what the files say */
async function editTree(files: readonly DataFile[], before: EarlierTree, store: ObjectStore): Promise<MadeTree | undefined> {
  const edits = new Map(before.changes.map((file) => [file.path, treeEntry(file)]))
  const pages = new Map<Oid, Buffer>()
  try {
    const root = await editPaths(before.entry.oid, edits, {
      read: async (oid) => pages.get(oid) ?? store.read(oid),
      sink: (oid, bytes) => void pages.set(oid, bytes),
    })
    return root.files === files.length ? { entry: { kind: 'tree', ...root }, pages } : undefined
  } catch (error) {
    if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'OBJECT_PURGED', 'TREE_INVALID')) return undefined
    throw error
  }
}
