import type { Stats } from 'node:fs'
import type { Oid } from '../base/oid.ts'
import { isWithin } from '../base/paths.ts'
import { OBJECT_TIME } from '../store/loose-writer.ts'
import type { Entry } from './entry.ts'
import { TrackedRows } from './tracked-rows.ts'

/** What a path was when its bytes were last hashed. */
export interface StatRow {
  kind: 'file' | 'exec' | 'link' | 'tree'
  oid: Oid
  /** bytes; of a tree: of all files below */
  size: number
  /** trees: files below; else 0 */
  files: number
  /** ms since 1970, fractions kept */
  mtime: number
  /** ms since 1970 at which the file or what is known of it last changed, which nobody can set back; 0: not looked at */
  ctime: number
  inode: number
  /** mlv placed or recorded this path here: if it is gone, a user deleted it */
  recorded: boolean
  /** the file's time was as young as the row: it may have changed since without a trace */
  racy: boolean
  /** written by mlv and not flushed: after a power loss it may hold anything */
  unsettled: boolean
  /** only looked at: these bytes may be in no store, whatever was recorded of the path before */
  unsaved?: boolean
  /** xxh64 of a large file's bytes, 16 hex digits: tells whether they are still these where the times do not */
  fingerprint?: string
}

/** Rows of one tracked directory, or (at '') of all single files. Derived: may be lost at any time. */
export interface StatTable {
  rows: Map<string, StatRow>
  /** what mlv last placed or recorded, by path; for a directory's table the path is '' */
  recorded: Map<string, Entry>
  /** the directory as its rows say, when they say it all */
  computed: Entry | undefined
  /** the cache's epoch in which it had all that `recorded` names, and what recorded rows say of it; of a directory only */
  held?: string
  dirty: boolean
  /** which writing of the table's file `rows` began with, to write only what differs. Rows are replaced, never edited in place */
  base?: { id: string; size: number; rows: TrackedRows }
}

/** A kernel stamps files with the time of its last tick, at most 10 ms ago. */
export const TICK_MS = 10

export function emptyTable(): StatTable {
  return { rows: new TrackedRows(), recorded: new Map(), computed: undefined, dirty: false }
}

/** A hard link to one of the cache's own files: its ctime changes with each link that is made or removed elsewhere, and the cache, too, takes its
 *  time and mode for a sign that nobody has written to it. */
function isObjectLink(stats: Stats): boolean {
  return stats.nlink > 1 && stats.mtimeMs === OBJECT_TIME * 1000 && (stats.mode & 0o222) === 0
}

/** Whether a file is still what its row says, by its times alone. Whoever sets the time of an edited file back changes its ctime; so do a chmod
 *  and a hard link, and then the file is read once more, as git does it. */
export function isUnchanged(row: StatRow | undefined, stats: Stats): row is StatRow {
  return (
    row !== undefined &&
    !row.racy &&
    row.kind !== 'tree' &&
    row.size === stats.size &&
    row.mtime === stats.mtimeMs &&
    (row.ctime === stats.ctimeMs || row.ctime === 0 || isObjectLink(stats)) &&
    row.inode === stats.ino &&
    row.kind === kindOf(stats)
  )
}

export function hasFingerprint(row: StatRow | undefined): row is StatRow & { fingerprint: string } {
  return row?.fingerprint !== undefined
}

/** After a change at a path of a tracked folder, the rows of the folders around and below it say nothing any more. */
export function forgetTrees(table: StatTable, below: string): void {
  for (const [path, row] of table.rows)
    if (row.kind === 'tree' && (isWithin(below, path) || isWithin(path, below))) table.rows.delete(path)
  table.computed = undefined
  table.dirty = true
}

export function kindOf(stats: Stats): 'file' | 'exec' | 'link' {
  return stats.isSymbolicLink() ? 'link' : (stats.mode & 0o100) !== 0 ? 'exec' : 'file'
}
