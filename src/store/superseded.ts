import { mapBounded } from '../base/concurrency.ts'
import { hasCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { asBuffer, type BlobInfo, type Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'

/** Requests at once. */
const CONCURRENCY = 8
/** Deleted at the end of one command, which nobody should wait for: each writes one index at most or few. */
export const MAX_DELETIONS = 64
/** A page of a bucket's listing. */
const MAX_LOOKED_AT = 1000
/** A chain of indexes that were merged again and again is shorter: there are few tiers, and a listing is hardly ever older than a minute. */
const MAX_STEPS = 64

/** Deletes indexes that another one repeats, as many as one command may; the others wait as what a kill leaves does.
 *  @param to `records`: tell first, below superseded/, which one that is, for readers whose listing is older */
export async function retireIndexes(
  blobs: Blobs,
  indexes: readonly Oid[],
  to: { by: Oid; chunks: boolean; records: boolean; signal?: AbortSignal },
): Promise<void> {
  const { by, chunks, records, signal } = to
  const group = indexes.slice(0, MAX_DELETIONS)
  const record = Buffer.from(`${by}\n`)
  if (records) await mapBounded(group, CONCURRENCY, (oid) => blobs.put(KEYS.superseded(oid, chunks), record, { signal }))
  await mapBounded(group, CONCURRENCY, (oid) => blobs.delete(KEYS.index(oid, chunks), signal))
}

/** The index that is to repeat one which is gone: whether it does is for its reader to see. */
export interface Successor {
  info: BlobInfo
  oid: Oid
  /** what it must name as superseded */
  repeats: Oid
}

/** Finds the index that repeats one which was listed and is gone. @returns undefined where no record tells   @throws what the blobs throw */
export async function findSuccessor(
  blobs: Blobs,
  gone: Oid,
  chunks: boolean,
  signal?: AbortSignal,
): Promise<Successor | undefined> {
  for (let steps = 0, last = gone; steps < MAX_STEPS; steps++) {
    const next = await readRecord(blobs, KEYS.superseded(last, chunks), signal)
    if (next === undefined) return undefined
    const info = await blobs.head(KEYS.index(next, chunks), signal)
    if (info) return { info, oid: next, repeats: last }
    last = next
  }
  return undefined
}

async function readRecord(blobs: Blobs, key: string, signal?: AbortSignal): Promise<Oid | undefined> {
  try {
    const text = asBuffer(await blobs.get(key, { signal })).toString('latin1')
    const oid = text.trimEnd()
    return isOid(oid) ? oid : undefined
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return undefined
    throw error
  }
}

/** Deletes records that were written before `before`, in ms since 1970 by the clock of the place: no listing is as old as that. */
export async function expireRecords(blobs: Blobs, before: number, signal?: AbortSignal): Promise<void> {
  const expired: string[] = []
  let looked = 0
  for await (const { key, modified } of blobs.list('superseded/', signal)) {
    if (modified < before) expired.push(key)
    if (expired.length === MAX_DELETIONS || ++looked === MAX_LOOKED_AT) break
  }
  await mapBounded(expired, CONCURRENCY, (key) => blobs.delete(key, signal))
}
