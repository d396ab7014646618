import { mkdirSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileError, systemCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Collector } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import { checkParents } from '../workspace/tracked.ts'
import type { DecisionView } from './decide.ts'
import type { MapResults } from './map-results.ts'
import { exists } from './move-path.ts'

/** Where a map stage's out goes, and what is known of it. */
export interface Placing {
  path: RepoPath
  entry: Entry
  /** what lay there before the run and lies there yet, if that is what the last run left */
  from: Entry | undefined
  made: MapResults
  collector: Collector
}

/** Makes the out hold `entry`. Files that datums have just written are moved there, which costs a tenth of writing them again from the cache. */
export async function placeOut(
  { path, entry, from, made, collector }: Placing,
  { project, data }: Pick<DecisionView, 'project' | 'data'>,
): Promise<void> {
  const folder = join(project.root, path)
  let { places } = made
  try {
    if (made.ready && !exists(folder)) {
      checkParents(project.root, path)
      mkdirSync(dirname(folder), { recursive: true })
      renameSync(made.ready, folder)
    } else places = moveEach(path, made, { root: project.root, collector })
  } catch (error) {
    // Something else lies there, or another disk: all comes from the cache.
    if (!['EXDEV', 'EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY'].includes(systemCode(error) ?? ''))
      throw fileError(error, 'writing', folder)
  }
  await data.place(path, entry, { force: true, from, moved: collector.moved(places) })
}

/** @returns where they lie now */
function moveEach(
  path: RepoPath,
  { places }: MapResults,
  { root, collector }: { root: string; collector: Collector },
): MapResults['places'] {
  const parents = new Set<string>()
  const moved = new Map<string, string>()
  for (const [below, at] of places) {
    const to = join(root, path, below)
    const parent = dirname(to)
    if (!parents.has(parent)) {
      checkParents(root, `${path}/${below}` as RepoPath)
      mkdirSync(parent, { recursive: true })
    }
    parents.add(parent)
    collector.move(at, to)
    moved.set(below, to)
  }
  return moved
}
