import type { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Wanted } from '../store/transfer.ts'
import { findLost, type Loss, type Part, type StoreFault, type Verified, verifyStore } from '../store/verify.ts'
import { type Concern, findConcerns } from './concerns.ts'
import { type Repairs, repairStore } from './fsck-repair.ts'
import { type Needed, selectNeeded } from './fsck-selection.ts'
import { gatherObjects } from './gather.ts'
import type { Project } from './project.ts'
import type { SelectedTarget, Selection } from './selection.ts'

export interface FsckOptions extends Selection {
  /** check this remote instead of the cache; '' for the default one */
  remote?: string
  /** hash this part of the data again */
  part?: Part
  repair?: boolean
  /** transfers at once */
  jobs?: number
}

/** An object that has to be there and is not whole. */
export interface LostObject {
  oid: Oid
  loss: Loss | 'invalid'
  isPage: boolean
}

export interface FsckReport {
  /** the remote's name; undefined for the cache */
  remote: string | undefined
  url: string
  /** objects that the revisions need */
  needed: number
  packs: number
  /** packs that no index names: of a writer that was interrupted, or is at work */
  unnamed: number
  /** what was read and hashed */
  read: Verified['read']
  faults: StoreFault[]
  lost: LostObject[]
  /** whether lost objects are still there and count as missing because `mlv gc` condemned them */
  isCondemned: boolean
  /** what lacks the lost objects, or holds corrupt ones */
  concerns: Concern[]
  /** versions of the workspace that were never fetched or pushed: no fault */
  absent: { path: RepoPath; objects: number }[]
  /** needed objects that were purged on purpose: no fault */
  purged: number
  /** what was done about the faults; undefined when that was not asked */
  repairs: Repairs | undefined
}

/** What a check found, with the stores to mend it from. */
export interface Findings {
  store: ObjectStore
  needed: Needed
  objects: Map<Oid, Wanted>
  verified: Verified
  /** packs that no index names */
  unnamed: readonly Oid[]
  lost: Map<Oid, LostObject>
  absent: Map<SelectedTarget, Set<Oid>>
  purged: number
}

/** Which targets need which of the lost objects decides whether they are lost or were never here. */
async function sortLost(
  needed: Needed,
  losses: ReadonlyMap<Oid, LostObject>,
  stores: readonly [ObjectStore, ...ObjectStore[]],
  signal: AbortSignal | undefined,
): Promise<Pick<Findings, 'lost' | 'absent'>> {
  const lost = new Map<Oid, LostObject>()
  const absent: Findings['absent'] = new Map()
  if (losses.size === 0) return { lost, absent }
  const { wasHere } = stores[0].inspection
  const said = new Set<Oid>()
  for (const target of needed.targets) {
    if (said.has(target.entry.oid)) continue
    said.add(target.entry.oid)
    const { objects, unreadable } = await gatherObjects([{ entry: target.entry, part: '' }], stores, {
      signal,
      onInvalid: () => {},
    })
    for (const oid of new Set([...objects.keys(), ...unreadable.map((page) => page.oid)])) {
      const item = losses.get(oid)
      if (!item || item.loss === 'purged') continue
      // Wrong bytes are a fault wherever they are; missing ones where they have been before.
      if (item.loss !== 'missing' || wasHere(oid) || needed.isExpected(oid, item.isPage, target)) lost.set(oid, item)
      else absent.set(target, (absent.get(target) ?? new Set()).add(oid))
    }
  }
  return { lost, absent }
}

async function look(project: Project, store: ObjectStore, options: FsckOptions & { name?: string }): Promise<Findings> {
  const { signal, progress } = project.surroundings
  const needed = await selectNeeded(project, options, options.name)
  // Where the store lacks a page, the other side tells what else is needed.
  const stores: [ObjectStore, ...ObjectStore[]] = options.name === undefined ? [store] : [store, await project.cache('check')]
  const task = progress.start('checking')
  try {
    await store.loadChunkIndexes()
    // No other command finds what lies in them: it counts once the indexes are made, by a repair.
    const unnamed = await store.inspection.findUnnamed({ adopt: options.repair })
    const invalid = new Map<Oid, MlvError>()
    const roots = needed.targets.map(({ entry }) => ({ entry, part: '' }))
    const gathered = await gatherObjects(roots, stores, { signal, onInvalid: (oid, error) => invalid.set(oid, error) })
    const { objects } = gathered
    for (const { oid } of gathered.unreadable) objects.set(oid, { oid, size: undefined })
    const isNamed = Boolean(options.revisions?.length || options.allBranches || options.allTags || options.allCommits)
    const verified = await verifyStore(store, {
      part: options.part,
      only: isNamed ? new Set(objects.keys()) : undefined,
      signal,
      onBytes: (count) => task.advance(count),
    })
    const corrupt = new Set(verified.faults.flatMap((fault) => (fault.kind === 'object-corrupt' ? [fault.oid] : [])))
    const losses = new Map<Oid, LostObject>()
    for (const [oid, loss] of await findLost(store, objects.values(), corrupt, signal))
      losses.set(oid, { oid, loss, isPage: objects.get(oid)!.size === undefined })
    for (const { oid } of gathered.unreadable) if (!losses.has(oid)) losses.set(oid, { oid, loss: 'corrupt', isPage: true })
    for (const oid of invalid.keys()) losses.set(oid, { oid, loss: 'invalid', isPage: true })
    const purged = [...losses.values()].filter(({ loss }) => loss === 'purged').length
    return { store, needed, objects, verified, unnamed, purged, ...(await sortLost(needed, losses, stores, signal)) }
  } finally {
    task.finish()
  }
}

/** Objects that are corrupt in the store, needed or not: who holds them wants to know. */
function concernedOids({ verified, lost }: Findings): Set<Oid> {
  const oids = new Set(lost.keys())
  for (const fault of verified.faults) {
    if (fault.kind === 'object-corrupt') oids.add(fault.oid)
    else if (fault.kind === 'pack-corrupt') for (const oid of fault.objects) oids.add(oid)
  }
  return oids
}

/** Checks the cache or a remote: its indexes, packs and records, that what the revisions need is there, and, when asked, that data hashes to its
 *  names. With `repair`, makes indexes again, sets aside what is corrupt, and gets it from the other side or from the workspace.
 *  @throws REVISION_UNKNOWN, REMOTE_MISSING, REMOTE_UNKNOWN, REMOTE_UNREACHABLE, REMOTE_DENIED, STORE_INVALID, STORE_TOO_NEW */
export async function fsck(project: Project, options: FsckOptions = {}): Promise<FsckReport> {
  const purpose = options.repair ? 'repair' : 'check'
  const opened = options.remote === undefined ? undefined : await project.remote(options.remote || undefined, purpose)
  const store = opened?.store ?? (await project.cache(purpose))
  const name = opened?.name
  const findings = await look(project, store, { ...options, name })
  const others = name === undefined ? [] : [await project.cache('check')]
  const concerns = await findConcerns(project, findings.needed.targets, concernedOids(findings), [store, ...others])
  const repairs = options.repair ? await repairStore(project, findings, { name, concerns, jobs: options.jobs }) : undefined
  const { verified, unnamed } = findings
  return {
    remote: name,
    url: store.blobs.url,
    needed: findings.objects.size,
    packs: verified.packs,
    unnamed: unnamed.length,
    read: verified.read,
    faults: verified.faults,
    lost: [...findings.lost.values()],
    isCondemned: [...findings.lost.keys()].some((oid) => store.isCondemned(oid)),
    concerns,
    purged: findings.purged,
    absent: [...findings.absent].map(([target, oids]) => ({ path: target.path, objects: oids.size })),
    repairs,
  }
}
