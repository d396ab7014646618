import { hasCode, MlvError } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'

/** What a record below condemned/ or corrupt/ names. */
export interface StoreRecord {
  packs: Oid[]
  objects: Oid[]
  /** below condemned/: the second pass has begun to delete them */
  deleted: boolean
}

/** A record with its name and when it was written, by the clock of the place, in ms since 1970. */
export interface StoredRecord extends StoreRecord {
  name: Oid
  modified: number
}

/** Reads the records below `prefix`; names that are no oid are foreign and passed over. @throws STORE_INVALID
 *  @param options known: records read before, which need not be read again, only for those named by their content; onGone: told of each
 *  record that is listed and no longer there */
export async function* readRecords(
  blobs: Blobs,
  prefix: string,
  options: { known?: ReadonlyMap<Oid, StoredRecord>; onGone?: () => void } = {},
): AsyncGenerator<StoredRecord> {
  for await (const { key, modified } of blobs.list(prefix)) {
    const name = key.slice(prefix.length)
    if (!isOid(name)) continue
    const before = options.known?.get(name)
    if (before) {
      yield { ...before, modified }
      continue
    }
    let bytes: Uint8Array
    try {
      bytes = await blobs.get(prefix + name)
    } catch (error) {
      // Withdrawn since it was listed.
      if (!hasCode(error, 'BLOB_MISSING')) throw error
      options.onGone?.()
      continue
    }
    yield { name, modified, ...parseRecord(bytes, `${blobs.url}/${prefix}${name}`) }
  }
}

/** The names of the records below `prefix`. */
export async function* listRecords(blobs: Blobs, prefix: string): AsyncGenerator<Oid> {
  for await (const { key } of blobs.list(prefix)) {
    const name = key.slice(prefix.length)
    if (isOid(name)) yield name
  }
}

export function formatRecord(record: Partial<StoreRecord>): string {
  return `${JSON.stringify(record)}\n`
}

function parseRecord(bytes: Uint8Array, place: string): StoreRecord {
  const list = (value: unknown): Oid[] =>
    Array.isArray(value) ? value.filter((item): item is Oid => typeof item === 'string' && isOid(item)) : []
  try {
    const value = JSON.parse(Buffer.from(bytes).toString('utf8')) as { packs?: unknown; objects?: unknown; deleted?: unknown }
    return { packs: list(value.packs), objects: list(value.objects), deleted: value.deleted === true }
  } catch (cause) {
    throw new MlvError('STORE_INVALID', `The record ${place} is not JSON`, { hint: 'Delete it if you did not write it.', cause })
  }
}
