import { hasCode, MlvError } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'

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
    let record: StoreRecord
    try {
      record = await readRecord(blobs, prefix, name)
    } catch (error) {
      // Withdrawn since it was listed.
      if (!hasCode(error, 'BLOB_MISSING')) throw error
      options.onGone?.()
      continue
    }
    yield { name, modified, ...record }
  }
}

async function readRecord(blobs: Blobs, prefix: string, name: Oid): Promise<StoreRecord> {
  const place = `${blobs.url}/${prefix}${name}`
  for (let tries = 2; ; tries--) {
    try {
      const bytes = await blobs.get(prefix + name, { checked: true })
      // A pack that is not known to be condemned would count as present until it is deleted.
      if (prefix === KEYS.condemned && oidOfBytes(bytes) !== name) throw invalid(`The record ${place} does not hash to its name`)
      return parseRecord(bytes, place)
    } catch (error) {
      // Altered on its way, perhaps.
      if (!hasCode(error, 'STORE_INVALID') || tries === 1) throw error
    }
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
    throw invalid(`The record ${place} is not JSON`, cause)
  }
}

function invalid(message: string, cause?: unknown): MlvError {
  const hint =
    'Run the command again; if it stays so, delete the record: "mlv gc" and "mlv fsck --read-data" find out anew what it told.'
  return new MlvError('STORE_INVALID', message, { hint, cause })
}
