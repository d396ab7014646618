import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { applyTransfer, planTransfer, type Wanted } from '../store/transfer.ts'
import { findLost, type StoreFault } from '../store/verify.ts'
import type { Concern } from './concerns.ts'
import type { Findings, LostObject } from './fsck.ts'
import { gatherObjects } from './gather.ts'
import type { Project } from './project.ts'
import { storeFromWorkspace } from './store-again.ts'

/** What was done about faults. */
export interface Repairs {
  /** indexes made again from the packs */
  indexes: number
  /** packs and whole objects of which something was set aside */
  setAside: number
  /** objects that are whole again, by where they came from: a remote's name, `cache` or `workspace` */
  restored: { oid: Oid; from: string }[]
  /** objects that are still not whole */
  left: LostObject[]
  /** places that could not be asked, and why */
  unasked: { from: string; message: string }[]
}

/** What was lost below a lost page shows once that is back; deeper trees than this take another run. */
const ROUNDS = 64

/** Why a place to mend from cannot be asked; the others are. */
const ASIDE = [
  'REMOTE_MISSING',
  'REMOTE_UNREACHABLE',
  'REMOTE_DENIED',
  'REMOTE_FAILED',
  'STORE_INVALID',
  'STORE_TOO_NEW',
  'INDEX_CORRUPT',
  'CONFIG_INVALID',
  'PATH_MISSING',
] as const

interface Source {
  name: string
  store: ObjectStore
}

/** The other side: of the cache every remote that answers, of a remote the cache. */
async function openSources(project: Project, remote: string | undefined, repairs: Repairs): Promise<Source[]> {
  if (remote !== undefined) return [{ name: 'cache', store: await project.cache('check') }]
  const sources: Source[] = []
  const chosen = project.config.get('core.remote')
  const names = project.config.remotes().sort((a, b) => Number(b === chosen) - Number(a === chosen))
  for (const name of names) {
    try {
      sources.push({ name, store: (await project.remote(name, 'read')).store })
    } catch (error) {
      if (!hasCode(error, ...ASIDE)) throw error
      repairs.unasked.push({ from: name, message: error.message })
    }
  }
  return sources
}

/** Writes down what is wrong, so that it counts as missing for every command, and makes indexes again. */
async function setAside(store: ObjectStore, findings: Findings, repairs: Repairs): Promise<void> {
  const { inspection } = store
  const { faults, sound } = findings.verified
  for (const pack of sound) await inspection.clear(pack)
  if (faults.some(({ kind }) => kind === 'index') || findings.unnamed.length > 0)
    repairs.indexes = await inspection.replaceIndexes()
  for (const fault of faults) {
    if (fault.kind === 'pack-gone' || fault.kind === 'pack-corrupt') await inspection.record(fault.pack)
    else if (fault.kind === 'pack-table') await inspection.rewritePack(fault.pack)
    else if (fault.kind === 'object-corrupt') store.loose?.setAside(fault.oid)
    if (fault.kind !== 'index') repairs.setAside++
  }
  for (const { oid, loss } of findings.lost.values())
    if (loss === 'corrupt' && store.loose?.has(oid) && !store.locate(oid)) {
      store.loose.setAside(oid)
      repairs.setAside++
    }
}

/** What an index that lied let seem corrupt is whole where its pack proved right. */
async function stillLost(store: ObjectStore, findings: Findings): Promise<Map<Oid, LostObject>> {
  const { lost, objects, verified } = findings
  const sound = new Set(verified.sound)
  const seeming = [...lost.keys()].filter((oid) => sound.has(store.locate(oid)?.pack as Oid))
  const again = await findLost(
    store,
    seeming.map((oid): Wanted => objects.get(oid) ?? { oid, size: undefined }),
  )
  const left = new Map(lost)
  for (const oid of seeming) if (!again.has(oid) && lost.get(oid)?.loss === 'corrupt') left.delete(oid)
  return left
}

/** Objects that nothing checked needs, but that were here. */
function corruptOids(faults: readonly StoreFault[]): Oid[] {
  return faults.flatMap((fault) => {
    if (fault.kind === 'pack-corrupt' || fault.kind === 'pack-gone') return [...fault.objects]
    return fault.kind === 'object-corrupt' ? [fault.oid] : []
  })
}

function sizeIn(store: ObjectStore, oid: Oid): number | undefined {
  return store.locate(oid)?.size ?? store.loose?.size(oid)
}

/** Gets lost objects from another store. @returns those it gave */
async function restoreFrom(
  project: Project,
  source: ObjectStore,
  store: ObjectStore,
  wanted: Wanted[],
  jobs: number | undefined,
): Promise<Oid[]> {
  const had: Wanted[] = []
  for (const { oid, size } of wanted) {
    if (!source.has(oid)) continue
    had.push({ oid, size: size ?? sizeIn(source, oid) })
    // A large object that lacks chunks has a place all the same, which must not be taken for a whole one.
    await store.inspection.disown(oid)
  }
  const done = await applyTransfer(planTransfer(source, store, had), source, store, {
    concurrency: jobs ?? project.config.get('core.jobs'),
    signal: project.surroundings.signal,
  })
  const failed = new Set(done.failed.map(({ oid }) => oid))
  return had.flatMap(({ oid }) => (failed.has(oid) ? [] : [oid]))
}

/** What of the needed is still not whole. */
async function findLeft(
  findings: Findings,
  sides: readonly ObjectStore[],
  signal: AbortSignal | undefined,
): Promise<Map<Oid, LostObject>> {
  const { store, needed } = findings
  const left = new Map<Oid, LostObject>()
  for (const item of findings.lost.values()) if (item.loss === 'invalid' || item.loss === 'size') left.set(item.oid, item)
  for (const target of needed.targets) {
    const gathered = await gatherObjects([{ entry: target.entry, part: '' }], sides, { signal, onInvalid: () => {} })
    for (const { oid } of gathered.unreadable) gathered.objects.set(oid, { oid, size: undefined })
    for (const [oid, loss] of await findLost(store, gathered.objects.values(), new Set(), signal)) {
      const isPage = gathered.objects.get(oid)!.size === undefined
      if (loss !== 'purged' && (findings.lost.has(oid) || needed.isExpected(oid, isPage, target)))
        left.set(oid, { oid, loss, isPage })
      findings.objects.set(oid, gathered.objects.get(oid)!)
    }
  }
  return left
}

/** Mends what a check found: indexes from packs, objects from the other side, then from files of the workspace. Safe to repeat.
 *  @throws what writing to the store throws; that another place cannot be asked is told */
export async function repairStore(
  project: Project,
  findings: Findings,
  options: { name: string | undefined; concerns: readonly Concern[]; jobs?: number },
): Promise<Repairs> {
  const { signal } = project.surroundings
  const { store } = findings
  const repairs: Repairs = { indexes: 0, setAside: 0, restored: [], left: [], unasked: [] }
  await setAside(store, findings, repairs)
  const extra = corruptOids(findings.verified.faults).filter((oid) => !findings.lost.has(oid))
  let left = await stillLost(store, findings)
  if (left.size === 0 && extra.length === 0) return repairs
  const sources = await openSources(project, options.name, repairs)
  const sides = [store, ...sources.map((source) => source.store)]
  for (let round = 0; round < ROUNDS && left.size + extra.length > 0; round++) {
    const before = repairs.restored.length
    const note = (oids: readonly Oid[], from: string) => {
      for (const oid of oids) {
        left.delete(oid)
        const at = extra.indexOf(oid)
        if (at >= 0) extra.splice(at, 1)
        repairs.restored.push({ oid, from })
      }
    }
    const wanted = () =>
      [...[...left.values()].filter(({ loss }) => loss === 'missing' || loss === 'corrupt').map(({ oid }) => oid), ...extra].map(
        (oid): Wanted => findings.objects.get(oid) ?? { oid, size: undefined },
      )
    for (const { name, store: source } of sources) note(await restoreFrom(project, source, store, wanted(), options.jobs), name)
    if (left.size > 0) {
      const cache = options.name === undefined ? store : await project.cache('write')
      const lost = new Set(wanted().map(({ oid }) => oid))
      const stored = await storeFromWorkspace(project, cache, findings.needed.targets, { lost, pages: sides })
      const items = wanted().filter(({ oid }) => stored.includes(oid))
      note(cache === store ? stored : await restoreFrom(project, cache, store, items, options.jobs), 'workspace')
    }
    left = await findLeft(findings, sides, signal)
    if (repairs.restored.length === before) break
  }
  repairs.left = [...left.values()]
  return repairs
}
