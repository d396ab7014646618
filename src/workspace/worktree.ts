import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader, TreeEntry } from '../store/tree.ts'
import { walkTree } from '../store/tree-walk.ts'
import { type Entry, sameEntry } from './entry.ts'
import { findPointers } from './find-pointers.ts'
import { isStored, type Saving } from './hash-files.ts'
import { type Ignore, loadIgnore } from './ignore.ts'
import { cacheFolder } from './link.ts'
import { dataPathOf } from './pointer.ts'
import type { Project } from './project.ts'
import { scannedFiles, scannedFolders } from './scan.ts'
import { type Snapshot, type SnapshotOptions, takeFiles, takePartSnapshot, takeSnapshot } from './snapshot.ts'
import { createStatCache, type StatCache } from './stat-cache.ts'
import { isUnchanged, kindOf } from './stat-table.ts'

/** What the verbs share about one worktree: its rows, its tracked paths, and how to look at one of them. */
export interface Worktree {
  project: Project
  cache: StatCache
  /** the cache's objects/ folder, with a slash at its end: links into it stand for files */
  objects: string
  /** paths that pointers stand for, sorted */
  tracked(): RepoPath[]
  snapshot(path: RepoPath, options?: Pick<SnapshotOptions, 'saving' | 'keepPages' | 'onBytes'>): Promise<Snapshot>
  /** a part of a folder alone: its entry is not known */
  partSnapshot(path: RepoPath, part: string): Promise<Snapshot>
  /** the entry of a single file or link that its row knows and whose stats say the same; undefined says nothing */
  glance(path: RepoPath): Entry | undefined
  /** the entry of a single file or link, or undefined where there is none. @param saving its bytes are there when it returns */
  quickFile(path: RepoPath, saving?: Saving): Promise<Entry | undefined>
  /** the entries of many single files or links; what is neither is left out. @param saving as above */
  quickFiles(paths: readonly RepoPath[], saving?: Saving): Promise<Map<RepoPath, Entry>>
  isFolder(path: RepoPath): Promise<boolean>
  /** whether the disk takes `A` and `a` for one name */
  foldsCase(): boolean
  /** writes rows that changed */
  flush(): void
}

const nothingIgnored: Ignore = { ignores: () => false }

export function openWorktree(project: Project, purpose: 'read' | 'write' = 'write'): Worktree {
  const cache = createStatCache(project.stateDir, project.config.get('core.trust_ctime'))
  const objects = `${cacheFolder(project)}/objects/`
  const lookingAt = (path: RepoPath): SnapshotOptions => ({
    root: project.root,
    cache,
    ignore: loadIgnore(project.root, path),
    objects,
    store: () => project.cache(purpose),
    signal: project.surroundings.signal,
  })
  function glance(path: RepoPath): Entry | undefined {
    const row = cache.files().rows.get(path)
    if (!row) return undefined
    // No join: normalising takes as long as the look itself.
    const stats = lstatSync(`${project.root}/${path}`, { throwIfNoEntry: false })
    return stats && isUnchanged(row, stats) ? { kind: kindOf(stats), oid: row.oid, size: row.size } : undefined
  }

  return {
    project,
    cache,
    objects,
    tracked: () => findPointers(project).map(dataPathOf).sort(compareUtf8),
    snapshot: (path, options = {}) => takeSnapshot(path, { ...lookingAt(path), ...options }),
    partSnapshot: (path, part) => takePartSnapshot(path, part, lookingAt(path)),
    glance,
    async quickFiles(paths, saving) {
      const entries = new Map<RepoPath, Entry>()
      const unknown: RepoPath[] = []
      for (const path of paths) {
        const entry = glance(path)
        if (entry && (!saving || isStored(saving, entry.oid))) entries.set(path, entry)
        else unknown.push(path)
      }
      if (unknown.length === 0) return entries
      const looking = { ...lookingAt('' as RepoPath), ignore: nothingIgnored, saving }
      for (const [path, entry] of await takeFiles(unknown, looking)) entries.set(path, entry)
      return entries
    },
    async quickFile(path, saving) {
      const table = cache.files()
      const stats = lstatSync(join(project.root, path), { throwIfNoEntry: false })
      if (!stats || stats.isDirectory()) return undefined
      const row = table.rows.get(path)
      if (isUnchanged(row, stats) && (!saving || isStored(saving, row.oid)))
        return { kind: kindOf(stats), oid: row.oid, size: row.size }
      return (
        await takeSnapshot(path, {
          root: project.root,
          cache,
          ignore: nothingIgnored,
          objects,
          store: () => project.cache(purpose),
          saving,
        })
      ).entry
    },
    isFolder: async (path) => lstatSync(join(project.root, path), { throwIfNoEntry: false })?.isDirectory() ?? false,
    foldsCase: () => existsSync(join(project.root, '.MLV', 'CONFIG')),
    flush: () => cache.flush(),
  }
}

/** What mlv last placed or recorded at a path, as far as this worktree's state tells. */
export function recordedEntry(cache: StatCache, path: RepoPath): Entry | undefined {
  return cache.folder(path).recorded.get('') ?? cache.files().recorded.get(path)
}

/** Whether mlv placed or recorded anything of a path here. */
export function wasPlaced(cache: StatCache, path: RepoPath): boolean {
  for (const row of cache.folder(path).rows.values()) if (row.recorded) return true
  const files = cache.files()
  return files.rows.get(path)?.recorded ?? files.recorded.has(path)
}

/** A path is recorded once: as a folder in its own table, or as a file in that of all single files. undefined: no longer at all.
 *  @param held of a folder: the cache's epoch in which it has all of it; undefined where nobody has looked */
export function noteEntry(cache: StatCache, path: RepoPath, entry: Entry | undefined, held?: string): void {
  const [folder, files] = [cache.folder(path), cache.files()]
  if (entry?.kind !== 'tree' && (folder.rows.size > 0 || folder.recorded.size > 0))
    Object.assign(folder, { rows: new Map(), recorded: new Map(), computed: undefined, held: undefined, dirty: true })
  if (entry?.kind !== 'file' && entry?.kind !== 'exec' && (files.rows.has(path) || files.recorded.has(path))) {
    files.rows.delete(path)
    files.recorded.delete(path)
    files.dirty = true
  }
  if (!entry) return
  const [table, key] = entry.kind === 'tree' ? [folder, ''] : [files, path]
  const isSame = sameEntry(table.recorded.get(key), entry)
  // What the cache was found to have of this very entry it still has, if the epoch is the same.
  if (table === folder && folder.held !== held && !(isSame && held === undefined)) Object.assign(folder, { held, dirty: true })
  if (isSame) return
  table.recorded.set(key, entry)
  table.dirty = true
}

/** Files (and folders that hold none) of a pointer's tree that are not in the workspace and that mlv never placed or recorded here: kept,
 *  not deleted. Reads the tree only when the rows cannot answer. @throws OBJECT_MISSING when its pages are in no cache */
export async function absentFiles(snapshot: Snapshot, pointer: Entry, read: PageReader): Promise<Map<string, TreeEntry>> {
  const absent = new Map<string, TreeEntry>()
  if (pointer.kind !== 'tree' || snapshot.entry?.oid === pointer.oid) return absent
  const { table, scan } = snapshot
  if (table.recorded.get('')?.oid === pointer.oid) {
    let recorded = 0
    for (const row of table.rows.values()) if (row.recorded && row.kind !== 'tree') recorded++
    if (recorded >= pointer.files) return absent
  }
  const files = new Set<string>()
  const folders = new Set<string>()
  if (scan.kind === 'folder') {
    for (const file of scannedFiles(scan.folder)) files.add(file.path)
    for (const folder of scannedFolders(scan.folder)) folders.add(folder.path)
  }
  // Below this folder nothing is looked at: a file stands in its place, or it is absent as a whole.
  let passed: string | undefined
  for await (const { path, entry } of walkTree(pointer.oid, read)) {
    if (passed !== undefined && path.startsWith(`${passed}/`)) continue
    const isHere = files.has(path) || folders.has(path)
    if (entry.kind === 'tree' && entry.files > 0) {
      if (files.has(path)) passed = path
      continue
    }
    if (entry.kind === 'tree') passed = path
    if (!isHere && !table.rows.get(path)?.recorded) absent.set(path, entry)
  }
  return absent
}

/** A path of a tracked folder as a path of the project. */
export function insidePath(path: RepoPath, below: string): RepoPath {
  return (below === '' ? path : `${path}/${below}`) as RepoPath
}

export function pageReader(store: ObjectStore): PageReader {
  return (oid) => store.read(oid)
}
