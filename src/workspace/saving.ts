import { statfsSync } from 'node:fs'
import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { readDropped } from './dropped.ts'
import type { Entry } from './entry.ts'
import type { Saving } from './hash-files.ts'
import { workingLinks } from './link.ts'
import type { Project } from './project.ts'
import { scannedFolders } from './scan.ts'
import type { Snapshot } from './snapshot.ts'
import type { StatCache } from './stat-cache.ts'
import type { StatRow, StatTable } from './stat-table.ts'
import { noteEntry } from './worktree.ts'

/** Opens a writer that many paths share: one pack, one index, one flush. @param options `all`: the rows' word for what the cache has is not taken */
export async function openSaving(project: Project, { all = false } = {}): Promise<Saving & { finish(): Promise<void> }> {
  const store = await project.cache('write')
  // One pack is filled while others are named and flushed.
  const writer = store.writer({ concurrency: 3, signal: project.surroundings.signal })
  let dropped: ReadonlySet<Oid> | undefined
  return {
    store,
    writer,
    all,
    dropped: () => {
      dropped ??= readDropped(project)
      return dropped
    },
    checkSpace: (bytes) => checkSpace(project, store, bytes),
    finish: async () => {
      store.loose?.flush()
      await writer.finish()
    },
  }
}

/** Says before copying when the disk will not hold it. */
function checkSpace(project: Project, store: ObjectStore, bytes: number): void {
  const folder = store.loose?.root
  if (folder === undefined || bytes < 64 << 20) return
  // Where the file system clones, a second copy costs nothing.
  if (workingLinks(project).includes('reflink')) return
  const disk = statfsSync(folder)
  const free = disk.bavail * disk.bsize
  if (bytes > free)
    throw new MlvError(
      'DISK_FULL',
      `The cache needs ${Math.ceil(bytes / 2 ** 20)} MiB, and its disk has ${Math.floor(free / 2 ** 20)} MiB free`,
      {
        hint: 'Free some space, move the cache with "mlv config set cache.dir DIR --local", or share the bytes with the workspace: "mlv config set cache.link hardlink --local".',
      },
    )
  if (bytes > 4 * 2 ** 30)
    project.surroundings.warn(
      `copying ${Math.ceil(bytes / 2 ** 30)} GiB into the cache; "mlv config set cache.link" can spare the second copy`,
    )
}

/** Notes that `entry` is what mlv recorded at a path: what is gone later was deleted by the user. Rows of what is gone now are forgotten.
 *  @param held the cache's epoch, in which it has all of it */
export function recordSnapshot(cache: StatCache, snapshot: Snapshot, entry: Entry, held: string | undefined): void {
  const { table, path, scan } = snapshot
  noteEntry(cache, path, entry, held)
  if (entry.kind !== 'tree') {
    const row = table.rows.get(path)
    if (row) markRecorded(table, path, row)
    return
  }
  if (scan.kind !== 'folder') return
  const complete = scan.count === table.rows.size
  const present = new Set<string>()
  if (!complete)
    for (const folder of scannedFolders(scan.folder)) {
      present.add(folder.path)
      for (const file of folder.files) present.add(file.path)
    }
  for (const [below, row] of table.rows) {
    if (complete || present.has(below)) markRecorded(table, below, row)
    else {
      table.rows.delete(below)
      table.dirty = true
    }
  }
}

function markRecorded(table: StatTable, path: string, row: StatRow): void {
  if (row.recorded) return
  // A table that was never written is written whole, so its rows may be edited where they are.
  if (table.base) table.rows.set(path, { ...row, recorded: true })
  else row.recorded = true
  table.dirty = true
}
