import { lstatSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../../base/errors.ts'
import { isWithin, type RepoPath, upwards } from '../../base/paths.ts'
import type { Sight } from './sight.ts'
import type { Touched } from './touched.ts'

/** A file and the other paths under which it was reached, through symbolic links. */
export type Reached = Map<RepoPath, readonly string[]>

/** What of a project's files commands used. Caches, virtual environments and what git ignores are left out. */
export interface Uses {
  /** files whose content before the commands counts */
  reads: Reached
  /** files that are there and that they wrote, and folders that they moved there */
  writes: Reached
  /** files that they read first and wrote then */
  both: Set<RepoPath>
  /** files that were there before and are no longer */
  removes: RepoPath[]
  /** those of them that were read, or moved away, first */
  consumed: RepoPath[]
  /** folders whose names were read, and folders that were made */
  listed: Set<string>
  made: Set<string>
  /** what git or .mlvignore ignores and nothing tracks */
  hidden: { reads: RepoPath[]; writes: RepoPath[] }
}

/** ms: the clock of files lags behind the other one by up to a tick, 10 ms where it is slowest */
const TICK = 20

function look(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    if (['ENOTDIR', 'ELOOP', 'EACCES', 'ENAMETOOLONG'].includes(systemCode(error) ?? '')) return undefined
    throw error
  }
}

/** Sorts out what was touched, by what lies there now. @param since when the commands began, ms since 1970 */
export function findUses(touched: readonly Touched[], sight: Sight, { root, since }: { root: string; since: number }): Uses {
  const uses: Uses = {
    reads: new Map(),
    writes: new Map(),
    both: new Set(),
    removes: [],
    consumed: [],
    listed: new Set(),
    made: new Set(),
    hidden: { reads: [], writes: [] },
  }
  const isHidden = sight.ignores
  for (const one of touched) {
    if (one.listed) uses.listed.add(one.path)
    if (one.path === '') continue
    const path = sight.subject(one.path)
    if (path === undefined) continue
    const stats = look(join(root, one.path))
    if (!stats) {
      if (one.removed && !isHidden(path)) {
        uses.removes.push(path)
        if (one.read) uses.consumed.push(path)
      }
      continue
    }
    if (stats.isDirectory() && one.made) uses.made.add(path)
    if (stats.isDirectory() ? !one.written : !stats.isFile() && !stats.isSymbolicLink()) continue
    const changed = one.updated && stats.ctimeMs >= since - TICK
    const writes = path === one.path && (one.written || changed)
    // Where it was opened for both and made by that, there was nothing to be read.
    const reads = one.read && !(changed && stats.birthtimeMs >= since - TICK) && !stats.isDirectory()
    const hidden = isHidden(path)
    if (hidden && writes) uses.hidden.writes.push(path)
    else if (hidden && reads) uses.hidden.reads.push(path)
    if (hidden) continue
    if (writes) uses.writes.set(path, one.also)
    else if (reads) uses.reads.set(path, [...(uses.reads.get(path) ?? []), ...one.also])
    if (writes && reads) uses.both.add(path)
  }
  return uses
}

/** Takes out what declared paths hold. */
export function uncovered(reached: Reached, declared: readonly string[]): RepoPath[] {
  const folders = new Set(declared)
  const isCovered = (path: string) => {
    for (const at of upwards(path)) if (folders.has(at)) return true
    return false
  }
  return [...reached].filter(([path, also]) => ![path, ...also].some(isCovered)).map(([path]) => path)
}

/** Whether anything of a declared path was looked at. */
export function isUsed(declared: string, touched: readonly Touched[], sight: Sight): boolean {
  return touched.some((one) =>
    [sight.subject(one.path) ?? one.path, one.path, ...one.also].some(
      (path) => isWithin(path, declared) || (one.listed && path === declared),
    ),
  )
}
