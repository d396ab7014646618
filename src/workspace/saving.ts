import { type Entry, sameEntry } from './entry.ts'
import type { Saving } from './hash-files.ts'
import type { Project } from './project.ts'
import { scannedFiles } from './scan.ts'
import type { Snapshot } from './snapshot.ts'

/** Opens a writer that many paths share: one pack, one index, one flush. */
export async function openSaving(project: Project): Promise<Saving & { finish(): Promise<void> }> {
  const store = await project.cache('write')
  const writer = store.writer({ signal: project.surroundings.signal })
  return {
    store,
    writer,
    finish: async () => {
      store.loose?.flush()
      await writer.finish()
    },
  }
}

/** Notes that `entry` is what mlv recorded at a path: what is gone later was deleted by the user. Rows of what is gone now are forgotten. */
export function recordSnapshot(snapshot: Snapshot, entry: Entry): void {
  const { table, path, scan } = snapshot
  const key = entry.kind === 'tree' ? '' : path
  if (!sameEntry(table.recorded.get(key), entry)) {
    table.recorded.set(key, entry)
    table.dirty = true
  }
  if (entry.kind !== 'tree') {
    const row = table.rows.get(path)
    if (row && !row.recorded) {
      row.recorded = true
      table.dirty = true
    }
    return
  }
  if (scan.kind !== 'folder') return
  const present = new Set<string>()
  for (const file of scannedFiles(scan.folder)) present.add(file.path)
  for (const [below, row] of table.rows) {
    const gone = row.kind !== 'tree' && !present.has(below)
    if (!gone && row.recorded) continue
    if (gone) table.rows.delete(below)
    else row.recorded = true
    table.dirty = true
  }
}
