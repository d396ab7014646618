import type { RepoPath } from '../base/paths.ts'
import { readTable, type StatTable, writeTable } from './stat-table.ts'

/** The tables of one worktree, read on first use and written when asked. */
export interface StatCache {
  /** a tracked folder's rows */
  folder(path: RepoPath): StatTable
  /** the rows of single files, by path in the project */
  files(): StatTable
  /** writes tables that changed */
  flush(): void
}

export function createStatCache(stateDir: string): StatCache {
  const tables = new Map<RepoPath, StatTable>()
  function open(path: RepoPath): StatTable {
    let table = tables.get(path)
    if (!table) {
      table = readTable(stateDir, path)
      tables.set(path, table)
    }
    return table
  }
  return {
    folder: open,
    files: () => open('' as RepoPath),
    flush() {
      for (const [path, table] of tables) if (table.dirty) writeTable(stateDir, path, table)
    },
  }
}
