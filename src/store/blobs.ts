import type { Oid } from '../base/oid.ts'

export interface BlobInfo {
  key: string
  size: number
  /** when it was last written, by the clock of the place, in ms since 1970 */
  modified: number
  /** what the place calls these very bytes, where it has a name for them */
  etag?: string
  /** the version, in a bucket that keeps them; only from head */
  version?: string
}

export interface GetOptions {
  /** first byte wanted, from 0 */
  start?: number
  /** first byte no longer wanted; beyond the end is cut off */
  end?: number
  /** only these very bytes; others are FILE_CHANGED */
  etag?: string
  /** this version instead of the newest */
  version?: string
  /** room for the bytes, where the caller has some to spare; the answer may lie elsewhere all the same */
  into?: Buffer
  /** compare the whole with the checksum that the place keeps, where it keeps one: for the few blobs whose name does not say what they hold */
  checked?: boolean
  signal?: AbortSignal
}

export interface PutOptions {
  /** SHA-256 of the bytes, which the place checks where it can. Computed when not given. */
  oid?: Oid
  /** leave an existing blob alone and answer 'present' */
  ifAbsent?: boolean
  signal?: AbortSignal
}

/** A place that keeps named bytes: a folder, a bucket, a web server. The contract (test/contract/blobs.ts) in words:
 *  keys are plain ASCII with `/`; a blob is never visible half written; what `put` has acknowledged is durable and visible to `get`, `head` and `list`.
 *  Retries on passing faults happen inside; what is thrown is final.
 *  Errors: BLOB_MISSING, REMOTE_DENIED, REMOTE_UNREACHABLE, REMOTE_FAILED, DISK_FULL, FILE_UNREADABLE, FILE_UNWRITABLE,
 *  OBJECT_CORRUPT (bytes that are not what `oid` says), STORE_INVALID (a key that leads out of the place). */
export interface Blobs {
  /** for messages; never holds a secret */
  readonly url: string
  /** @throws BLOB_MISSING; a start beyond the end gives zero bytes; an answer shorter than it announced is retried, then REMOTE_FAILED */
  get(key: string, options?: GetOptions): Promise<Uint8Array>
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<'written' | 'present'>
  /** Puts a blob of any size, which is visible once it is whole; in places where that needs more than one request.
   *  @throws as put; FILE_CHANGED when the pieces do not add up to `size` */
  putStream?(key: string, pieces: AsyncIterable<Buffer>, options: { size: number; signal?: AbortSignal }): Promise<void>
  /** every blob whose key starts with `prefix` (not only whole folders), in the order of keys */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<BlobInfo>
  head(key: string, signal?: AbortSignal): Promise<BlobInfo | undefined>
  /** Absent is fine. What was deleted stays so, also after a power loss. */
  delete(key: string, signal?: AbortSignal): Promise<void>
  /** Where the blob lies as a file, in places that are folders on this machine. */
  filePath?(key: string): string
  close?(): void
}

/** A blob's bytes as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
