import { statSync } from 'node:fs'
import { acquireShortLock } from '../base/lock-file.ts'
import type { RepoPath } from '../base/paths.ts'
import { sameEntry } from './entry.ts'
import type { StatTable } from './stat-table.ts'
import { readTable, tablePath, writeTable } from './stat-table-file.ts'

/** The tables of one worktree, read on first use and written when asked. */
export interface StatCache {
  /** a tracked folder's rows */
  folder(path: RepoPath): StatTable
  /** the rows of single files, by path in the project */
  files(): StatTable
  /** Writes tables that changed. What another command wrote meanwhile stays: its records go before what was only looked at here. */
  flush(): void
}

interface Opened {
  table: StatTable
  /** which writing of the table was read */
  stamp: string
  recorded: StatTable['recorded']
}

/** A table of a million rows is written in a second or two. */
const WAIT_SECONDS = 30

/** @param trustCtime false: no ctime counts, since something else than writing keeps changing it here */
export function createStatCache(stateDir: string, trustCtime = true): StatCache {
  const tables = new Map<RepoPath, Opened>()

  function stampOf(path: RepoPath): string {
    const file = tablePath(stateDir, path)
    const stamps = [file, `${file}.changes`].map((name) => statSync(name, { throwIfNoEntry: false, bigint: true }))
    return stamps.map((stats) => (stats ? `${stats.ino} ${stats.mtimeNs}` : '')).join()
  }

  function open(path: RepoPath): StatTable {
    let opened = tables.get(path)
    if (!opened) {
      // Before the table itself: a writing in between then shows.
      const stamp = stampOf(path)
      const table = readTable(stateDir, path, trustCtime)
      opened = { table, stamp, recorded: new Map(table.recorded) }
      tables.set(path, opened)
    }
    return opened.table
  }

  function write(path: RepoPath, opened: Opened): void {
    const { table } = opened
    // What was only looked at is not worth waiting for; a record that got lost would turn a deletion into an absence.
    const giveBack = acquireShortLock(`${tablePath(stateDir, path)}.lock`, 'rows', recordsSomething(opened) ? WAIT_SECONDS : 0)
    if (!giveBack) return
    try {
      if (stampOf(path) !== opened.stamp && !merge(opened, readTable(stateDir, path, trustCtime))) return
      writeTable(stateDir, path, table)
      Object.assign(opened, { stamp: stampOf(path), recorded: new Map(table.recorded) })
    } finally {
      giveBack()
    }
  }

  return {
    folder: open,
    files: () => open('' as RepoPath),
    flush() {
      for (const [path, opened] of tables) if (opened.table.dirty) write(path, opened)
    },
  }
}

function isOurs({ table, recorded }: Opened, key: string): boolean {
  return !sameEntry(table.recorded.get(key), recorded.get(key))
}

function recordsSomething(opened: Opened): boolean {
  return [...opened.recorded.keys(), ...opened.table.recorded.keys()].some((key) => isOurs(opened, key))
}

/** Takes over what another command recorded since the table was read. @returns false where there is nothing of ours worth writing */
function merge(opened: Opened, current: StatTable): boolean {
  if (!recordsSomething(opened)) return false
  const { table, recorded } = opened
  for (const key of new Set([...recorded.keys(), ...table.recorded.keys(), ...current.recorded.keys()])) {
    const now = current.recorded.get(key)
    if (isOurs(opened, key)) continue
    if (now) table.recorded.set(key, now)
    else table.recorded.delete(key)
  }
  for (const [path, row] of current.rows)
    if (!table.rows.has(path) && !table.base?.rows.before?.get(path)) table.rows.set(path, row)
  // Neither side's folders hold what both sides' files make together.
  for (const [path, row] of table.rows) if (row.kind === 'tree') table.rows.delete(path)
  table.computed = undefined
  if (current.held !== table.held) table.held = undefined
  // What is on disk is not what was read: all of it is written.
  table.base = undefined
  return true
}
