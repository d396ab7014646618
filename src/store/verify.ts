import { mapBounded } from '../base/concurrency.ts'
import { isOid, type Oid, oidOfFile } from '../base/oid.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import type { PackSummary } from './pack-index.ts'
import type { Wanted } from './transfer.ts'

/** Something in a store that is not as it should be. */
export type StoreFault =
  /** an index that does not hash to its name, or says what cannot be */
  | { kind: 'index'; key: string }
  /** a pack that indexes name is not there */
  | { kind: 'pack-gone'; pack: Oid; objects: readonly Oid[] }
  /** objects or chunks in a pack do not hash to their names */
  | { kind: 'pack-corrupt'; pack: Oid; objects: readonly Oid[] }
  /** a pack's objects are right, and its own table or the indexes' word of it is not */
  | { kind: 'pack-table'; pack: Oid }
  /** a whole object's file does not hash to its name */
  | { kind: 'object-corrupt'; oid: Oid }

/** The n-th of t parts of a store's data, both from 1. */
export interface Part {
  n: number
  of: number
}

export interface VerifyOptions {
  /** hashes all data of this part again; undefined: none */
  part?: Part
  /** of the data, only packs with one of these objects and whole files of them */
  only?: ReadonlySet<Oid>
  signal?: AbortSignal
  /** told of bytes as they are read */
  onBytes?: (count: number) => void
}

export interface Verified {
  faults: StoreFault[]
  /** packs that were read and are right */
  sound: Oid[]
  packs: number
  /** what was read and hashed */
  read: { packs: number; objects: number; bytes: number }
}

/** Packs read at once; each takes up to 32 MiB of memory. */
const PACKS_AT_ONCE = 2

function isIn(part: Part, oid: Oid): boolean {
  return Number.parseInt(oid.slice(0, 8), 16) % part.of === part.n - 1
}

/** Checks a store as a whole: that indexes are sound, that the packs they name are there and as long as they must be, and, for a part, that the
 *  data hashes to its names. What proves wrong counts as missing in this process afterwards. Changes nothing.
 *  @throws what the store's blobs throw */
export async function verifyStore(store: ObjectStore, options: VerifyOptions = {}): Promise<Verified> {
  const { inspection } = store
  await store.loadChunkIndexes()
  const faults: StoreFault[] = inspection.brokenIndexes.map((key) => ({ kind: 'index', key }))
  const sound: Oid[] = []
  const read = { packs: 0, objects: 0, bytes: 0 }
  const named = inspection.packs()
  const suspects = await findSuspects(store, named)
  const { part, signal } = options
  const only = part && options.only ? await placesOf(store, options.only) : undefined
  const toRead = [...named.keys()].filter(
    (pack) => suspects.has(pack) || (part && isIn(part, pack) && (!only || only.packs.has(pack))),
  )
  await mapBounded(toRead, PACKS_AT_ONCE, async (pack) => {
    signal?.throwIfAborted()
    const state = await inspection.readPack(pack, named.get(pack), signal)
    read.packs++
    read.objects += state.entries
    read.bytes += state.size
    options.onBytes?.(state.size)
    if (state.wrong === 'gone') {
      // Packed anew since the indexes were read, perhaps.
      await store.refresh()
      if (inspection.packs().has(pack) && !inspection.isRecorded(pack, 'gone')) {
        inspection.note(pack, 'gone')
        faults.push({ kind: 'pack-gone', pack, objects: inspection.oidsIn(pack) })
      }
    } else if (state.wrong.length > 0) {
      if (!inspection.isRecorded(pack, state.wrong)) faults.push({ kind: 'pack-corrupt', pack, objects: state.wrong })
      inspection.note(pack, state.wrong)
    } else if (state.isTableBroken) faults.push({ kind: 'pack-table', pack })
    else sound.push(pack)
    for (const key of state.lying) faults.push({ kind: 'index', key })
  })
  // What lying indexes said of other packs as well is made again from the packs.
  if (faults.some(({ kind }) => kind === 'index')) await inspection.findUnnamed({ adopt: true })
  if (part && store.loose) {
    const wanted = only ? only.loose : await listLoose(store)
    for (const oid of wanted) {
      if (!isIn(part, oid)) continue
      signal?.throwIfAborted()
      const size = store.loose.size(oid)
      if (size === undefined) continue
      read.objects++
      read.bytes += size
      if (oidOfFile(store.loose.path(oid)) !== oid) faults.push({ kind: 'object-corrupt', oid })
      options.onBytes?.(size)
    }
  }
  return { faults, sound, packs: named.size, read }
}

/** Packs that by the listing alone cannot be whole. */
async function findSuspects(store: ObjectStore, named: ReadonlyMap<Oid, PackSummary>): Promise<Set<Oid>> {
  const suspects = new Set(named.keys())
  for await (const { key, size } of store.blobs.list('packs/')) {
    const oid = key.slice(key.lastIndexOf('/') + 1)
    if (isOid(oid) && key === KEYS.pack(oid) && named.get(oid)?.size === size) suspects.delete(oid)
  }
  // What is known to be gone is told where something needs it.
  for (const pack of suspects) if (store.inspection.isRecorded(pack, 'gone')) suspects.delete(pack)
  return suspects
}

async function listLoose(store: ObjectStore): Promise<Oid[]> {
  const found: Oid[] = []
  for await (const { key } of store.blobs.list('objects/')) {
    const oid = key.slice(key.lastIndexOf('/') + 1)
    if (isOid(oid) && key === KEYS.object(oid)) found.push(oid)
  }
  return found
}

/** The packs and whole files in which objects lie, their chunks included. */
async function placesOf(store: ObjectStore, oids: ReadonlySet<Oid>): Promise<{ packs: Set<Oid>; loose: Oid[] }> {
  const packs = new Set<Oid>()
  const loose: Oid[] = []
  const add = (oid: Oid) => {
    for (const { pack } of store.inspection.placesOf(oid)) packs.add(pack)
  }
  for (const oid of oids) {
    add(oid)
    if (store.loose?.has(oid)) loose.push(oid)
  }
  await store.readRecipes(oids, (_oid, chunks) => {
    for (const chunk of chunks ?? []) add(chunk.oid)
  })
  return { packs, loose }
}

/** Why an object that is needed is not whole in a store. `size`: it is, but has another size than what refers to it says. */
export type Loss = 'missing' | 'corrupt' | 'purged' | 'size'

/** Looks whether objects are present as far as can be told without reading them: their places, lengths, and of large ones all chunks.
 *  @param corrupt whole objects that are known not to hash to their names   @returns those that are not whole */
export async function findLost(
  store: ObjectStore,
  wanted: Iterable<Wanted>,
  corrupt: ReadonlySet<Oid> = new Set(),
  signal?: AbortSignal,
): Promise<Map<Oid, Loss>> {
  const lost = new Map<Oid, Loss>()
  const { inspection, loose } = store
  const inChunks: Oid[] = []
  for (const { oid, size } of wanted) {
    const fault = inspection.faultOf(oid)
    if (fault) {
      lost.set(oid, fault)
      continue
    }
    const place = store.locate(oid)
    if (place?.type === 'recipe') inChunks.push(oid)
    if (!place && corrupt.has(oid)) lost.set(oid, 'corrupt')
    else if (size !== undefined) {
      const found = place ? place.size : loose?.size(oid)
      if (found === undefined) lost.set(oid, 'missing')
      else if (found !== size) lost.set(oid, place || oidOfFile(loose!.path(oid)) === oid ? 'size' : 'corrupt')
    }
  }
  await store.readRecipes(
    inChunks,
    (oid, chunks) => {
      const fault = chunks ? inspection.faultOfChunks(chunks) : 'corrupt'
      if (fault && !loose?.has(oid)) lost.set(oid, fault)
    },
    { signal },
  )
  return lost
}

/** Makes objects count as missing whose chunks are known to be damaged, so that a transfer writes them again. Only those that `from` can give. */
export async function disownDamaged(from: ObjectStore, to: ObjectStore, wanted: Iterable<Wanted>): Promise<void> {
  if (to.isSound() || to.policy.chunkFrom === undefined) return
  const border = to.policy.chunkFrom
  const large = [...wanted].filter(({ oid, size }) => size !== undefined && size >= border && to.has(oid) && from.has(oid))
  for (const [oid, loss] of await findLost(to, large))
    if (loss === 'missing' || loss === 'corrupt') await to.inspection.disown(oid)
}
