import { DIGEST_HERE, type Digester } from '../base/digester.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { type ForeignPlace, formatForeign } from './foreign.ts'
import { KEYS, PACK_BYTES, tooLarge } from './layout.ts'
import { createPackBuilder, type EntryType, type PackBuilder, type SealedPack } from './pack.ts'
import { formatIndex, groupPacks, type IndexedPack } from './pack-index.ts'
import { type Chunk, formatRecipe } from './recipe.ts'
import { renamePack } from './rename-pack.ts'

/** What a writer has sent so far. */
export interface Written {
  packs: number
  /** bytes of packs and indexes */
  bytes: number
  objects: number
}

/** Puts objects into packs, and what it wrote into indexes. Nothing counts as stored before finish() returns. */
export interface StoreWriter {
  readonly written: Written
  /** names the packs; may be changed at any time */
  digester: Pick<Digester, 'oidOf'>
  /** Whether this writer already has the object. */
  has(oid: Oid): boolean
  /** Room for an object of `length` bytes, to be filled and kept at once. When it answers a promise, wait for it and ask again. */
  reserve(length: number): Buffer | Promise<void>
  /** Keeps the first `length` bytes of the last reservation. */
  keep(oid: Oid, length: number): void
  /** Adds an object whose bytes are known to hash to `oid`. */
  add(oid: Oid, bytes: Uint8Array): Promise<void>
  /** Sends a whole pack as it is; its objects are known to be what its table says. */
  addPack(pack: IndexedPack, bytes: Uint8Array): Promise<void>
  addChunk(oid: Oid, bytes: Uint8Array): Promise<void>
  hasChunk(oid: Oid): boolean
  /** Adds a large object as a recipe over chunks that were added or are in the store. */
  addRecipe(oid: Oid, chunks: readonly Chunk[]): Promise<void>
  /** Adds where an object lies that stays in a bucket of its own. The store must require the feature before. */
  addForeign(oid: Oid, place: ForeignPlace): Promise<void>
  /** Writes what is left, chunks before recipes, packs before indexes. */
  finish(): Promise<void>
}

/** An index at least every so many packs, so that an interrupted push loses little. */
const PACKS_PER_INDEX = 64

export interface WriterOptions {
  /** packs being written at once; each holds up to 32 MiB of memory */
  concurrency: number
  signal?: AbortSignal
  /** names the packs; here when not given */
  digester?: Digester
  /** whether a pack of this name is about to be deleted, so that what it would hold must get another name */
  isTaken?(oid: Oid): boolean
  /** told of each pack once it is durable */
  onPack(oid: Oid): Promise<void>
  /** told of each index once it is durable */
  onIndex(oid: Oid, bytes: Buffer, chunks: boolean): void
}

export function createStoreWriter(blobs: Blobs, options: WriterOptions): StoreWriter {
  const written: Written = { packs: 0, bytes: 0, objects: 0 }
  const kept = new Set<Oid>()
  const keptChunks = new Set<Oid>()
  const objects = { builder: createPackBuilder(), durable: [] as IndexedPack[], chunks: false }
  const chunks = { builder: createPackBuilder(PACK_BYTES, PACK_BYTES), durable: [] as IndexedPack[], chunks: true }
  type Side = typeof objects
  const flying = new Set<Promise<void>>()
  let failure: { error: unknown } | undefined

  async function sendPack(side: Side, { oid, table, count }: IndexedPack, bytes: Uint8Array): Promise<void> {
    await blobs.put(KEYS.pack(oid), bytes, { oid, ifAbsent: false, signal: options.signal })
    await options.onPack(oid)
    written.packs++
    written.bytes += bytes.length
    written.objects += count
    // A copy of the table, or the index would hold on to every pack's 32 MiB.
    side.durable.push({ oid, table: Buffer.from(table), count })
  }

  async function putPack(side: Side, sealed: SealedPack): Promise<void> {
    let pack = sealed
    let oid = await writer.digester.oidOf(pack.bytes)
    if (options.isTaken?.(oid)) {
      pack = renamePack(pack)
      oid = await writer.digester.oidOf(pack.bytes)
    }
    await sendPack(side, { oid, table: pack.table, count: pack.count }, pack.bytes)
    pack.release()
  }

  const durablePacks = () => objects.durable.length + chunks.durable.length

  function flyPack(side: Side): void {
    const flight: Promise<void> = putPack(side, side.builder.seal())
      .catch((error) => {
        failure ??= { error }
      })
      .finally(() => flying.delete(flight))
    flying.add(flight)
  }

  /** Sends what a builder holds; when all flights are taken, waits for one instead, since each holds a whole pack in memory. */
  async function launch(side: Side): Promise<void> {
    if (flying.size < Math.max(1, options.concurrency)) flyPack(side)
    else await Promise.race(flying)
    if (failure) throw failure.error
    if (durablePacks() >= PACKS_PER_INDEX) await writeIndexes()
  }

  async function writeIndex(side: Side): Promise<void> {
    for (const packs of groupPacks(side.durable.splice(0))) {
      const bytes = formatIndex(packs)
      const oid = oidOfBytes(bytes)
      await blobs.put(KEYS.index(oid, side.chunks), bytes, { oid, signal: options.signal })
      written.bytes += bytes.length
      options.onIndex(oid, bytes, side.chunks)
    }
  }

  /** One after the other: an index with recipes must not overtake that of their chunks. */
  let indexing: Promise<void> = Promise.resolve()
  function writeIndexes(): Promise<void> {
    indexing = indexing.then(writeIndexesNow)
    return indexing
  }

  async function writeIndexesNow(): Promise<void> {
    // A recipe is only found once its chunks are: their packs land first, then their index.
    if (objects.durable.length > 0 && chunks.builder.count > 0) flyPack(chunks)
    await Promise.all(flying)
    if (failure) throw failure.error
    await writeIndex(chunks)
    await writeIndex(objects)
  }

  async function addTo(side: Side, oid: Oid, bytes: Uint8Array, size: number, type: EntryType): Promise<void> {
    let room = side.builder.reserve(bytes.length)
    while (!room) {
      if (side.builder.count === 0) {
        if (type === 'recipe') throw tooLarge(`The object ${oid}`, size)
        throw new Error(`an object of ${bytes.length} bytes does not fit a pack`)
      }
      await launch(side)
      room = side.builder.reserve(bytes.length)
    }
    room.set(bytes)
    side.builder.keep(oid, bytes.length, size, type)
  }

  function reserveIn(builder: PackBuilder, length: number): Buffer | Promise<void> {
    return builder.reserve(length) ?? launch(objects)
  }

  const writer: StoreWriter = {
    written,
    digester: options.digester ?? DIGEST_HERE,
    has: (oid) => kept.has(oid),
    reserve: (length) => reserveIn(objects.builder, length),
    keep(oid, length) {
      objects.builder.keep(oid, length, length, 'bytes')
      kept.add(oid)
    },
    async add(oid, bytes) {
      kept.add(oid)
      await addTo(objects, oid, bytes, bytes.length, 'bytes')
    },
    async addPack(pack, bytes) {
      await sendPack(objects, pack, bytes)
      if (durablePacks() >= PACKS_PER_INDEX) await writeIndexes()
    },
    async addChunk(oid, bytes) {
      keptChunks.add(oid)
      await addTo(chunks, oid, bytes, bytes.length, 'bytes')
    },
    hasChunk: (oid) => keptChunks.has(oid),
    async addRecipe(oid, list) {
      kept.add(oid)
      const size = list.reduce((sum, chunk) => sum + chunk.length, 0)
      await addTo(objects, oid, Buffer.from(formatRecipe(list)), size, 'recipe')
    },
    async addForeign(oid, place) {
      kept.add(oid)
      await addTo(objects, oid, Buffer.from(formatForeign(place)), place.size, 'foreign')
    },
    async finish() {
      for (const side of [chunks, objects]) while (side.builder.count > 0) await launch(side)
      await writeIndexes()
    },
  }
  return writer
}
