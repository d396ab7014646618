import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { foldersAround, type RepoPath } from '../../base/paths.ts'
import type { Sight } from './sight.ts'
import type { Touched } from './touched.ts'

/** The files of a project, with what changes when one is written. */
export type FileTable = ReadonlyMap<RepoPath, string>

/** Notes size, times and inode of every file that counts, also of those that git ignores. */
export function readFileTable(root: string, sight: Sight): FileTable {
  const table = new Map<RepoPath, string>()
  for (const path of sight.walk('', true)) {
    const stats = lstatSync(join(root, path), { throwIfNoEntry: false })
    if (stats) table.set(path, `${stats.ino} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}`)
  }
  return table
}

/** What was written, made and removed between two looks. What was read leaves no mark. */
export function compareFiles(before: FileTable, after: FileTable): Touched[] {
  const same = { read: false, written: false, updated: false, removed: false, listed: false, made: false, also: [] }
  const found: Touched[] = []
  for (const [path, state] of after) if (before.get(path) !== state) found.push({ ...same, path, written: true })
  for (const path of before.keys()) if (!after.has(path)) found.push({ ...same, path, removed: true })
  const known = foldersAround(before.keys())
  for (const path of foldersAround(after.keys())) if (!known.has(path)) found.push({ ...same, path, made: true })
  return found
}
