import type { Digester } from '../base/digester.ts'
import type { Oid } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import type { ForeignPlace } from './foreign.ts'
import type { Inspection } from './inspection.ts'
import type { StoreDescription } from './layout.ts'
import type { LooseObjects } from './loose.ts'
import type { Location } from './pack-index.ts'
import type { Chunk } from './recipe.ts'
import type { StoreWriter } from './store-writer.ts'

export interface Policy {
  /** objects of this many bytes and more lie whole under objects/ (caches); undefined: never */
  looseFrom: number | undefined
  /** objects of this many bytes and more are cut into chunks (remotes); undefined: never */
  chunkFrom: number | undefined
}

export interface ReadOptions {
  /** ranges under way at once; 4 by default */
  concurrency?: number
  signal?: AbortSignal
  /** chunks that need not be read from this store */
  nearby?: Nearby
  /** Hashes large objects that are streamed, beside the caller. Their chunks are then not verified each, only the whole, and a piece stays
   *  untouched only until two more were taken. */
  digester?: Digester
}

/** Chunks that lie in files of this machine. */
export interface Nearby {
  /** The bytes of a chunk, verified; undefined when no file here holds it any more. */
  read(oid: Oid): Promise<Buffer | undefined>
  has(oid: Oid): boolean
}

/** Objects in any place that keeps blobs: the cache and every remote. */
export interface ObjectStore {
  readonly blobs: Blobs
  readonly description: StoreDescription
  readonly policy: Policy
  /** whole objects as files; only in a cache */
  readonly loose: LooseObjects | undefined
  /** Reads the description and lists the indexes and records again. @returns whether something that counted as present may do so no longer */
  refresh(): Promise<boolean>
  /** Whether something no longer counts as present, asked for as cheaply as may be. */
  recheck(): Promise<boolean>
  /** Whether the object is here and no collector has condemned it. Answers from memory, without a request. */
  has(oid: Oid): boolean
  /** Whether the object does not count as present only because a collector has condemned it: it can be read until it is deleted, and
   *  `mlv gc --undo` takes it back. */
  isCondemned(oid: Oid): boolean
  /** Whether the store knows no more of an object than where it lies in a bucket of its own. A remote counts that as having it, a cache does not. */
  refersTo(oid: Oid): boolean
  /** @throws OBJECT_MISSING where the store does not refer to it, OBJECT_CORRUPT */
  readForeign(oid: Oid, options?: ReadOptions): Promise<ForeignPlace>
  /** Makes programs that do not know a feature refuse this store, before anything is written that needs it. */
  requireFeature(feature: string): Promise<void>
  /** Whether no wrong bytes are known of and nothing was ever collected or purged: then a tree's page vouches for what it names.
   *  @param epoch also whether nothing that was present in that epoch can have gone since */
  isSound(epoch?: string): boolean
  /** Names all that was collected, purged or found wrong so far, and the last time somebody set out to collect. It never comes back once it
   *  has changed, but for what was condemned and taken back. undefined in a remote */
  epoch(): string | undefined
  isPurged(oid: Oid): boolean
  /** Whether wrong bytes, or none, are known to lie at a place. */
  isBad(place: Location): boolean
  /** Makes all who open or refresh the store look for records of a kind. Comes before the first such record. */
  announce(kind: 'condemned' | 'purged' | 'corrupt'): Promise<void>
  /** Where a packed object lies; `bytes` wins over `recipe`. Condemned places still answer, places known to be bad do not. */
  locate(oid: Oid): Location | undefined
  /** A small object or tree page, verified. What proves corrupt or gone is sought at another place, once; in a cache it counts as missing from then on.
   *  @throws OBJECT_MISSING, OBJECT_CORRUPT, OBJECT_PURGED; TREE_INVALID for an object that is larger than any small one */
  read(oid: Oid, options?: ReadOptions): Promise<Buffer>
  /** Small objects in the order that is cheapest to read, verified; near ranges of a pack are read as one.
   *  @throws as read does, for the first that failed, once all that can be read were given */
  readEach(oids: Iterable<Oid>, each: (oid: Oid, bytes: Buffer) => void | Promise<void>, options?: ReadOptions): Promise<void>
  /** Of large objects that lie in chunks, the chunks; others are passed over. @param each told of each, with undefined where its recipe is broken or gone */
  readRecipes(
    oids: Iterable<Oid>,
    each: (oid: Oid, chunks: readonly Chunk[] | undefined) => void,
    options?: ReadOptions,
  ): Promise<void>
  /** An object of any size in pieces, verified: the last piece is followed by an error when the whole does not hash to the oid. */
  stream(oid: Oid, options?: ReadOptions): AsyncGenerator<Buffer>
  /** Whether a pack is known here, also as one that is about to be deleted. */
  knowsPack(pack: Oid): boolean
  /** how many objects lie in a pack; undefined when no index names it */
  countInPack(pack: Oid): number | undefined
  /** Chunks already here, for a writer that cuts a new version of a large file. Reads the chunk indexes first. */
  loadChunkIndexes(): Promise<void>
  hasChunk(oid: Oid): boolean
  /** Where a chunk lies; answers once the chunk indexes are loaded. */
  locateChunk(oid: Oid): Location | undefined
  writer(options?: { concurrency?: number; signal?: AbortSignal; digester?: Digester }): StoreWriter
  /** Looks at an object's stored bytes and, where they are wrong, records it, so that it counts as missing and can be written again. */
  setAside(oid: Oid): Promise<void>
  /** Merges the small indexes of a store that was written to into larger ones, and deletes those that were superseded a grace period ago.
   *  For after a command's output: nothing depends on it, and it may fail as the blobs do. Safe beside writers, readers and others that merge. */
  mergeIndexes(signal?: AbortSignal): Promise<void>
  /** Takes in an index that was just written. */
  adopt(oid: Oid, bytes: Buffer, chunks: boolean): void
  /** for those who check it or collect from it */
  readonly inspection: Inspection
  close(): void
}
