import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { isWithin, joinPath, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { parsePage, type TreePage } from '../store/tree-page.ts'
import type { Version } from './versions.ts'

/** What is to be purged, as the user named it. */
export interface PurgeWanted {
  paths: readonly RepoPath[]
  /** of files, or of folders with all they hold */
  oids: ReadonlySet<Oid>
}

export interface PurgeFound {
  /** files and links, with their sizes */
  files: Map<Oid, number>
  /** tree pages of folders that go as a whole: a page stands in a later group than those it names */
  pages: Oid[][]
  /** files that lie elsewhere as well, so that they stay, with one of those places */
  shared: Map<Oid, string>
  /** the versions in which something lies that is purged */
  versions: Version[]
  /** folders that no store can list, though nobody purged them, each with one version */
  unreadable: { path: string; oid: Oid }[]
  /** paths asked for that no version holds */
  absent: RepoPath[]
}

interface Visit {
  oid: Oid
  path: string
  /** inside: all of it goes; outside: it stays, unless something below goes */
  inside: boolean
}

/** Looks through all versions for what is to go, and for where else that lies. Reads tree pages, whole levels at a time, no data. */
export async function searchPurge(
  versions: readonly Version[],
  wanted: PurgeWanted,
  { stores, signal }: { stores: readonly ObjectStore[]; signal?: AbortSignal },
): Promise<PurgeFound> {
  const pages = new Map<Oid, TreePage>()
  const goes = { files: new Map<Oid, number>(), pages: new Set<Oid>() }
  const stays = new Map<Oid, string>()
  const unreadable = new Map<Oid, string>()
  const visited = new Set<string>()
  let frontier: Visit[] = []

  const met = new Set<RepoPath>()
  const unlisted: string[] = []

  function isInside(path: string, oid: Oid): boolean {
    const gone = wanted.paths.find((each) => isWithin(path, each))
    if (gone !== undefined) met.add(gone)
    return gone !== undefined || wanted.oids.has(oid)
  }

  function open(visit: Visit): void {
    // Where a path to purge lies below, the same page means another thing at another place.
    const mixed = wanted.paths.some((gone) => isWithin(gone, visit.path))
    const key = `${visit.inside} ${visit.oid} ${mixed ? visit.path : ''}`
    if (visit.inside) goes.pages.add(visit.oid)
    else if (!stays.has(visit.oid)) stays.set(visit.oid, visit.path)
    if (visited.has(key)) return
    visited.add(key)
    frontier.push(visit)
  }

  function meet(entry: { kind: string; oid: Oid; size: number }, path: string, above: { inside: boolean }): void {
    const inside = isInside(path, entry.oid) || above.inside
    if (entry.kind === 'tree') open({ oid: entry.oid, path, inside })
    else if (inside) goes.files.set(entry.oid, entry.size)
    else if (!stays.has(entry.oid)) stays.set(entry.oid, path)
  }

  for (const { path, entry } of versions) meet(entry, path, { inside: false })
  while (frontier.length > 0) {
    const level = frontier
    frontier = []
    const lost = await readPages(new Set(level.map(({ oid }) => oid)), pages, { stores, signal })
    for (const visit of level) {
      const page = pages.get(visit.oid)
      if (!page) {
        if (lost.has(visit.oid)) unreadable.set(visit.oid, visit.path)
        unlisted.push(visit.path)
        continue
      }
      for (const entry of page.entries)
        if (entry.kind === 'page') open({ ...visit, oid: entry.oid })
        else meet(entry, joinPath(visit.path, entry.name), visit)
    }
  }

  const shared = new Map<Oid, string>()
  for (const oid of goes.files.keys()) {
    const place = stays.get(oid)
    if (place === undefined) continue
    shared.set(oid, place)
    goes.files.delete(oid)
  }
  for (const oid of goes.pages) if (stays.has(oid)) goes.pages.delete(oid)
  const gone = new Set<Oid>([...goes.files.keys(), ...goes.pages])
  return {
    files: goes.files,
    pages: byHeight(goes.pages, pages),
    shared,
    versions: versions.filter(createHolds(pages, gone)),
    unreadable: [...unreadable].map(([oid, path]) => ({ path, oid })),
    absent: wanted.paths.filter((path) => !met.has(path) && ![...met, ...unlisted].some((known) => isWithin(path, known))),
  }
}

/** Reads pages from whichever store has them. @returns those that none could give and none was told to forget */
async function readPages(
  oids: ReadonlySet<Oid>,
  pages: Map<Oid, TreePage>,
  { stores, signal }: { stores: readonly ObjectStore[]; signal?: AbortSignal },
): Promise<Set<Oid>> {
  const waiting = new Set([...oids].filter((oid) => !pages.has(oid)))
  for (const store of stores) {
    const here = [...waiting].filter((oid) => !store.isPurged(oid) && (store.has(oid) || store.locate(oid)))
    try {
      await store.readEach(
        here,
        (oid, bytes) => {
          pages.set(oid, parsePage(bytes, oid))
          waiting.delete(oid)
        },
        { concurrency: 8, signal },
      )
    } catch (error) {
      if (!hasCode(error, 'OBJECT_CORRUPT', 'OBJECT_MISSING', 'OBJECT_PURGED', 'TREE_INVALID', 'BLOB_MISSING')) throw error
    }
  }
  for (const oid of waiting) if (stores.some((store) => store.isPurged(oid))) waiting.delete(oid)
  return waiting
}

/** Groups the pages that go so that each comes after all that it names. */
function byHeight(gone: ReadonlySet<Oid>, pages: ReadonlyMap<Oid, TreePage>): Oid[][] {
  const heights = new Map<Oid, number>()
  const heightOf = (oid: Oid): number => {
    const known = heights.get(oid)
    if (known !== undefined) return known
    heights.set(oid, 0)
    let height = 0
    for (const entry of pages.get(oid)?.entries ?? [])
      if ((entry.kind === 'tree' || entry.kind === 'page') && gone.has(entry.oid))
        height = Math.max(height, heightOf(entry.oid) + 1)
    heights.set(oid, height)
    return height
  }
  const levels: Oid[][] = []
  for (const oid of gone) {
    const height = heightOf(oid)
    while (levels.length <= height) levels.push([])
    levels[height]!.push(oid)
  }
  return levels
}

/** Answers whether something that goes lies in a version; each page is looked through once. */
function createHolds(pages: ReadonlyMap<Oid, TreePage>, gone: ReadonlySet<Oid>): (version: Version) => boolean {
  const known = new Map<Oid, boolean>()
  function holds(oid: Oid): boolean {
    if (gone.has(oid)) return true
    const answer = known.get(oid)
    if (answer !== undefined) return answer
    known.set(oid, false)
    const found = (pages.get(oid)?.entries ?? []).some((entry) =>
      entry.kind === 'tree' || entry.kind === 'page' ? holds(entry.oid) : gone.has(entry.oid),
    )
    known.set(oid, found)
    return found
  }
  return ({ entry }) => holds(entry.oid)
}
