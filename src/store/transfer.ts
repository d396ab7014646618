import { mapBounded } from '../base/concurrency.ts'
import { type Digester, startDigester } from '../base/digester.ts'
import { hasCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { cutObject } from './cut-object.ts'
import { FOREIGN } from './foreign.ts'
import { takeIn } from './intake.ts'
import { MAX_OBJECT_BYTES, tooLarge } from './layout.ts'
import { findNearby, readRecipe, type Version } from './nearby.ts'
import type { ObjectStore } from './object-store.ts'
import { counted } from './read-pieces.ts'
import type { StoreWriter } from './store-writer.ts'
import { planWholePacks, sendWholePacks, type WholePack } from './whole-packs.ts'

/** An object that a revision needs. */
export interface Wanted {
  oid: Oid
  /** bytes; undefined for tree pages, which are small */
  size: number | undefined
}

export interface TransferPlan {
  /** packs that travel as they are */
  packs: WholePack[]
  /** objects that travel whole, in new packs */
  small: Wanted[]
  /** objects that are cut into chunks, or land as files */
  large: { oid: Oid; size: number }[]
  /** objects that lie in buckets of their own: a remote is told where, a cache gets their bytes */
  foreign: Wanted[]
  /** wanted objects that `from` does not have */
  missing: Wanted[]
  /** wanted objects that were deleted on purpose on one side, whether or not the other still has them */
  purged: Wanted[]
  /** bytes of all of them, as far as known */
  bytes: number
}

export interface TransferOptions {
  concurrency?: number
  signal?: AbortSignal
  /** files that hold other versions of large objects, asked for only when there are any */
  versions?: () => Version[]
  /** told of bytes of objects as they are done */
  onBytes?: (count: number) => void
  /** whether a cache keeps spare copies of what it gets as files, for the workspace */
  spare?: boolean
}

export interface Transferred {
  objects: number
  /** bytes of the objects */
  bytes: number
  /** bytes of packs and indexes written */
  written: number
  /** bytes of large files that chunks already there made needless to send or receive */
  saved: number
  /** objects that turned out missing or corrupt at the source */
  failed: { oid: Oid; error: Error }[]
}

/** What may be wrong with an object at its source; the others travel all the same. */
const SOURCE_FAULTS = ['OBJECT_CORRUPT', 'OBJECT_MISSING', 'OBJECT_PURGED', 'TREE_INVALID'] as const

/** Decides what must travel; reads nothing but what both stores know of themselves. @throws OBJECT_TOO_LARGE */
export function planTransfer(from: ObjectStore, to: ObjectStore, wanted: Iterable<Wanted>): TransferPlan {
  const plan: TransferPlan = { packs: [], small: [], large: [], foreign: [], missing: [], purged: [], bytes: 0 }
  const border = Math.min(to.policy.chunkFrom ?? Number.POSITIVE_INFINITY, to.policy.looseFrom ?? Number.POSITIVE_INFINITY)
  const seen = new Set<Oid>()
  for (const item of wanted) {
    if (seen.has(item.oid)) continue
    seen.add(item.oid)
    if (to.isPurged(item.oid) || from.isPurged(item.oid)) {
      plan.purged.push(item)
      continue
    }
    if (to.has(item.oid)) continue
    if (from.refersTo(item.oid)) {
      plan.foreign.push(item)
      if (to.loose) plan.bytes += item.size ?? 0
      continue
    }
    if (!from.has(item.oid)) {
      plan.missing.push(item)
      continue
    }
    if (to.policy.chunkFrom !== undefined && (item.size ?? 0) > MAX_OBJECT_BYTES)
      throw tooLarge(`The object ${item.oid}`, item.size!)
    plan.bytes += item.size ?? 0
    if (item.size !== undefined && item.size >= border) plan.large.push({ oid: item.oid, size: item.size })
    else plan.small.push(item)
  }
  return { ...plan, ...planWholePacks(from, to, plan.small) }
}

/** How many objects a plan moves. */
export function countObjects({ packs, small, large, foreign }: TransferPlan): number {
  return small.length + large.length + foreign.length + packs.reduce((sum, pack) => sum + pack.objects.length, 0)
}

/** Cuts one large object into chunks and sends those that the store lacks. @returns bytes that need not be sent */
async function sendChunked(
  item: { oid: Oid; size: number },
  pieces: AsyncIterable<Buffer>,
  to: ObjectStore,
  writer: StoreWriter,
): Promise<number> {
  const { chunks, saved, single } = await cutObject(pieces, to, writer)
  // A recipe may not name its own object: what proves as small as one chunk goes as it is, whatever its tree said.
  if (chunks.length < 2) await writer.add(item.oid, single)
  else await writer.addRecipe(item.oid, chunks)
  return saved
}

/** Packs being sent at once unless told otherwise; each holds 32 MiB of memory. */
const PACKS_IN_FLIGHT = 2
/** Ranges being read at once unless told otherwise; each holds up to 8 MiB of memory. */
const RANGES_IN_FLIGHT = 8

/** Bytes from which a second thread is worth its start. */
const DIGESTER_FROM = 64 << 20

/** Objects that come from buckets of their own at once unless told otherwise; each holds up to 32 MiB of memory. */
const FOREIGN_IN_FLIGHT = 4

/** Carries a plan out. Every object is hashed on its way; nothing counts as stored before the end, but packs already indexed stay.
 *  Objects that prove missing or corrupt at the source are left out and named. @throws what the stores throw when the destination fails */
export async function applyTransfer(
  plan: TransferPlan,
  from: ObjectStore,
  to: ObjectStore,
  options: TransferOptions = {},
): Promise<Transferred> {
  const digester = plan.bytes >= DIGESTER_FROM ? startDigester() : undefined
  try {
    return await carryOut(plan, from, to, { ...options, digester })
  } finally {
    await digester?.close()
  }
}

async function carryOut(
  plan: TransferPlan,
  from: ObjectStore,
  to: ObjectStore,
  options: TransferOptions & { digester: Digester | undefined },
): Promise<Transferred> {
  const concurrency = options.concurrency ?? RANGES_IN_FLIGHT
  const { digester, signal } = options
  const writer = to.writer({ concurrency: options.concurrency ?? PACKS_IN_FLIGHT, signal, digester })
  const result: Transferred = { objects: 0, bytes: 0, written: 0, saved: 0, failed: [] }
  const done = (bytes: number) => {
    result.objects++
    result.bytes += bytes
    options.onBytes?.(bytes)
  }
  function fail(oid: Oid, error: unknown): void {
    if (!hasCode(error, ...SOURCE_FAULTS)) throw error
    result.failed.push({ oid, error })
  }
  const read = { concurrency, signal }
  const add = async (oid: Oid, bytes: Buffer) => {
    await writer.add(oid, bytes)
    done(bytes.length)
  }
  const packsAtOnce = options.concurrency ?? PACKS_IN_FLIGHT
  const left = await sendWholePacks(plan.packs, { from, writer, onObject: done }, { ...read, packsAtOnce })
  const small = [...plan.small, ...left]
  try {
    await from.readEach(
      small.map((item) => item.oid),
      add,
      read,
    )
  } catch (error) {
    if (!hasCode(error, ...SOURCE_FAULTS)) throw error
    // All that can be read has been given by now; what is left is named one by one.
    for (const { oid } of small) {
      if (writer.has(oid)) continue
      try {
        await from.readEach([oid], add, read)
      } catch (single) {
        fail(oid, single)
      }
    }
  }
  const { loose } = to
  let versions: Version[] | undefined

  /** Writes a large object as a file, with what other versions on this machine hold. @returns bytes that need not be received */
  async function assemble({ oid, size }: TransferPlan['large'][number]): Promise<number> {
    const chunks = await readRecipe(from, oid, read)
    versions ??= chunks && [
      ...loose!.list().map((known) => ({ oid: known, path: loose!.path(known) })),
      ...(options.versions?.() ?? []),
    ]
    let saved = 0
    /** @param wrong a file with pieces that proved wrong as a whole: now each chunk is looked at, and those that are right need not come again */
    async function* pieces(wrong?: string): AsyncGenerator<Buffer> {
      const known = wrong === undefined ? versions : [{ oid, path: wrong }, ...(versions ?? [])]
      const nearby = chunks && (await findNearby(from, chunks, known ?? [], read))
      try {
        const atOnce = { ...read, concurrency: Math.ceil(concurrency / largeAtOnce) }
        yield* from.stream(oid, { ...atOnce, nearby, digester: wrong === undefined ? digester : undefined })
        saved = wrong === undefined ? (nearby?.bytesRead() ?? 0) : 0
      } finally {
        await nearby?.close()
      }
    }
    await loose!.storeStream(oid, counted(pieces(), options.onBytes), { size, again: digester && pieces, spare: options.spare })
    return saved
  }

  const largeAtOnce = Math.min(plan.large.length, loose ? 2 : 1)
  await mapBounded(plan.large, largeAtOnce, async (item) => {
    try {
      if (loose) result.saved += await assemble(item)
      else {
        const pieces = counted(from.stream(item.oid, { ...read, digester }), options.onBytes)
        result.saved += await sendChunked(item, pieces, to, writer)
      }
      result.objects++
      result.bytes += item.size
    } catch (error) {
      fail(item.oid, error)
    }
  })
  if (plan.foreign.length > 0 && !loose) await to.requireFeature(FOREIGN)
  await mapBounded(plan.foreign, options.concurrency ?? FOREIGN_IN_FLIGHT, async ({ oid }) => {
    try {
      if (!loose) await writer.addForeign(oid, await from.readForeign(oid, read))
      else
        result.bytes += (
          await takeIn(counted(from.stream(oid, read), options.onBytes), { store: to, writer, what: from.blobs.url })
        ).size
      result.objects++
    } catch (error) {
      fail(oid, error)
    }
  })
  loose?.flush()
  await writer.finish()
  result.written = writer.written.bytes
  return result
}
