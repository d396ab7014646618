import { readdirSync, statSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { flushFolder } from '../base/atomic.ts'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { placesOf, readContent, readUnnamed } from './content.ts'
import { parseForeign } from './foreign.ts'
import { readRecipe } from './held.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import type { Location } from './pack-index.ts'
import { listRecords } from './record.ts'
import { rewritePacks } from './rewrite-pack.ts'

/** What is to be deleted from one store. Only reads were done to make it. */
export interface StorePurgePlan {
  /** Objects that have no record yet, in the order their records are written: what a page names before the page, so that an interrupted purge
   *  still finds the rest through it. */
  unrecorded: Oid[][]
  /** chunks of each large object, as its record will name them */
  chunks: Map<Oid, Oid[]>
  /** objects and chunks to be left out of packs, with those of earlier purges that were interrupted */
  leaveOut: Set<Oid>
  /** objects, recipes and chunks that lie in packs, and their bytes there */
  packed: { count: number; bytes: number }
  /** files of whole objects, of copies set aside, and temporary ones */
  files: { paths: string[]; bytes: number }
  /** chunks that objects share which are to live, so that they stay */
  keptChunks: number
  /** where objects lie that only a reference stands for, as URLs: deleting them there is their owner's part */
  foreign: string[]
  /** packs that no index names and whose table cannot be read: they may hold anything, and go */
  broken: number
}

export interface StorePurged {
  /** objects, recipes and chunks taken out of packs, and files deleted */
  removed: number
  bytes: number
  /** packs written again without them */
  packs: number
  /** records written */
  recorded: number
}

/** A temporary file nobody has touched for this long is left over from a process that ended. */
const LEFTOVER_MS = 60_000

/** Looks for objects, and for what earlier purges have left, everywhere in a store.
 *  @param levels objects to purge: what a page names stands in an earlier level than the page
 *  @param known chunks of large objects, as far as another store knows them
 *  @throws INDEX_CORRUPT, and what the blobs throw */
export async function planStorePurge(
  store: ObjectStore,
  levels: readonly (readonly Oid[])[],
  { known = new Map(), signal }: { known?: ReadonlyMap<Oid, readonly Oid[]>; signal?: AbortSignal } = {},
): Promise<StorePurgePlan> {
  const { blobs } = store
  const recorded = await readPurged(store, signal)
  const doomed = new Set([...levels.flat(), ...recorded.keys()])
  const content = await readContent(blobs, signal)
  const { tables, broken } = await readUnnamed(blobs, content)
  const packs = [...content.packs.keys()].flatMap((oid) => content.table(oid) ?? []).concat(tables)

  const own: Location[] = []
  const living: Location[] = []
  const references: Location[] = []
  for (const pack of packs)
    for (const place of placesOf(pack))
      if (place.type === 'recipe') (doomed.has(place.oid) ? own : living).push(place)
      else if (place.type === 'foreign' && doomed.has(place.oid)) references.push(place)

  const chunks = new Map<Oid, Oid[]>()
  const note = (oid: Oid, more: Iterable<Oid>) => chunks.set(oid, [...new Set([...(chunks.get(oid) ?? []), ...more])])
  for (const [oid, list] of [...recorded, ...known]) if (doomed.has(oid) && list.length > 0) note(oid, list)
  await mapBounded(own, 8, async (place) => note(place.oid, await chunksAt(store, place, signal)))

  const candidates = new Set([...doomed, ...[...chunks.values()].flat()])
  const kept = await neededChunks(store, living, candidates, signal)
  for (const pack of packs) {
    // A living object may have the bytes of a chunk. What no index names is no object, and may be chunks.
    if (!content.table(pack.oid) || content.holdsChunks(pack.oid)) continue
    for (const { oid } of placesOf(pack)) if (!doomed.has(oid) && candidates.has(oid)) kept.add(oid)
  }
  const leaveOut = new Set([...candidates].filter((oid) => !kept.has(oid)))
  const packed = { count: 0, bytes: 0 }
  for (const pack of packs)
    for (const { oid, length } of placesOf(pack))
      if (leaveOut.has(oid)) {
        packed.count++
        packed.bytes += length
      }
  return {
    unrecorded: levels.map((level) => level.filter((oid) => !recorded.has(oid))).filter((level) => level.length > 0),
    chunks,
    leaveOut,
    packed,
    files: findFiles(store, doomed),
    keptChunks: kept.size,
    foreign: await placesElsewhere(store, references, signal),
    broken: broken.length,
  }
}

/** Writes the records, and then deletes: packs are written again without what goes, at once and whether condemned or not. Whoever reads it
 *  from now on is told that it was purged. Interrupted, everything else stays readable, and the same call goes on. @throws what the blobs throw */
export async function applyStorePurge(store: ObjectStore, plan: StorePurgePlan, signal?: AbortSignal): Promise<StorePurged> {
  const { blobs } = store
  const result: StorePurged = { removed: plan.packed.count + plan.files.paths.length, bytes: 0, packs: 0, recorded: 0 }
  result.bytes = plan.packed.bytes + plan.files.bytes
  if (plan.unrecorded.length > 0) await store.announce('purged')
  for (const level of plan.unrecorded)
    await mapBounded(level, 16, async (oid) => {
      await blobs.put(KEYS.purged + oid, Buffer.from(formatPurged(plan.chunks.get(oid))), { signal })
      result.recorded++
    })
  await store.refresh()
  if (plan.packed.count + plan.broken > 0) result.packs = (await rewritePacks(store, plan.leaveOut, { signal })).packs.length
  for (const path of plan.files.paths) removeFile(path)
  return result
}

/** Text of a record below purged/. The chunks are there for a purge that was interrupted, which can no longer ask the recipe. */
function formatPurged(chunks: readonly Oid[] | undefined): string {
  return `${JSON.stringify(chunks ? { chunks } : {})}\n`
}

/** The objects that were purged from a store, each with its chunks. */
async function readPurged(store: ObjectStore, signal?: AbortSignal): Promise<Map<Oid, Oid[]>> {
  const found = new Map<Oid, Oid[]>()
  if (!store.description.records.includes('purged')) return found
  const names: Oid[] = []
  for await (const name of listRecords(store.blobs, KEYS.purged)) names.push(name)
  await mapBounded(names, 16, async (name) => {
    found.set(name, parsePurged(await store.blobs.get(KEYS.purged + name, { signal })))
  })
  return found
}

/** The content of a record says nothing that must be known: whatever cannot be read names no chunks. */
function parsePurged(bytes: Uint8Array): Oid[] {
  try {
    const { chunks } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { chunks?: unknown }
    return Array.isArray(chunks) ? chunks.filter((oid): oid is Oid => typeof oid === 'string' && isOid(oid)) : []
  } catch {
    return []
  }
}

/** @returns the chunks of a recipe; none where it is gone or broken */
async function chunksAt(store: ObjectStore, place: Location, signal?: AbortSignal): Promise<Oid[]> {
  try {
    return (await readRecipe(store, place, signal)).map(({ oid }) => oid)
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING', 'OBJECT_CORRUPT')) return []
    throw error
  }
}

/** @returns the URLs of what references lead to; a reference that is gone or broken leads nowhere */
async function placesElsewhere(store: ObjectStore, references: readonly Location[], signal?: AbortSignal): Promise<string[]> {
  const urls = await mapBounded(references, 8, async ({ pack, offset, length, oid, size }) => {
    try {
      const bytes = await store.blobs.get(KEYS.pack(pack), { start: offset, end: offset + length, signal })
      const { bucket, key } = parseForeign(bytes, oid, size)
      return `s3://${bucket}/${key}`
    } catch (error) {
      if (hasCode(error, 'BLOB_MISSING', 'OBJECT_CORRUPT')) return undefined
      throw error
    }
  })
  return [...new Set(urls.filter((url) => url !== undefined))].sort()
}

/** Which of the candidates recipes of living objects name. */
async function neededChunks(
  store: ObjectStore,
  recipes: readonly Location[],
  candidates: ReadonlySet<Oid>,
  signal?: AbortSignal,
): Promise<Set<Oid>> {
  const needed = new Set<Oid>()
  await mapBounded(recipes, 8, async (place) => {
    for (const oid of await chunksAt(store, place, signal)) if (candidates.has(oid)) needed.add(oid)
  })
  return needed
}

/** Files of a store in a folder: whole objects, copies of them set aside, and what processes that ended left in tmp/, which may be pieces of them. */
function findFiles(store: ObjectStore, oids: Iterable<Oid>): StorePurgePlan['files'] {
  const files: StorePurgePlan['files'] = { paths: [], bytes: 0 }
  const described = store.blobs.filePath?.(KEYS.description)
  if (described === undefined) return files
  const root = dirname(described)
  const take = (path: string, size: number) => {
    files.paths.push(path)
    files.bytes += size
  }
  for (const oid of oids) {
    const path = join(root, KEYS.object(oid))
    for (const file of [path, `${path}.corrupt`]) {
      const stats = statSync(file, { throwIfNoEntry: false })
      if (stats) take(file, stats.size)
    }
  }
  const folder = join(root, 'tmp')
  for (const name of namesIn(folder)) {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false })
    // The time of the last change of any kind: a finished object has had its own time set.
    if (stats?.isFile() && Date.now() - stats.ctimeMs > LEFTOVER_MS) take(join(folder, name), stats.size)
  }
  return files
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw fileError(error, 'reading', folder)
  }
}

function removeFile(path: string): void {
  faultPoint('purged file: delete')
  try {
    unlinkSync(path)
    flushFolder(dirname(path))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', path)
  }
}
