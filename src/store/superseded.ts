import { mapBounded } from '../base/concurrency.ts'
import { hasCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { asBuffer, type Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'
import { openIndex, type PackIndex } from './pack-index.ts'

/** Requests at once. */
const CONCURRENCY = 8
/** Deleted at the end of one command, which nobody should wait for: each writes one index at most or few. */
export const MAX_DELETIONS = 64
/** A chain of indexes that were merged again and again is shorter: there are few tiers, and a listing is hardly ever older than a minute. */
const MAX_STEPS = 64

/** Whether readers may have a listing that is older than what was written since. A folder's is as new as its files. */
function mayLag(blobs: Blobs): boolean {
  return blobs.filePath === undefined
}

/** Deletes indexes that another one repeats. Where listings may lag, a record below superseded/ tells first which one that is. */
export async function retireIndexes(
  blobs: Blobs,
  { group, by, chunks, signal }: { group: readonly Oid[]; by: Oid; chunks: boolean; signal?: AbortSignal },
): Promise<void> {
  const record = Buffer.from(`${by}\n`)
  if (mayLag(blobs)) await mapBounded(group, CONCURRENCY, (oid) => blobs.put(KEYS.superseded(oid, chunks), record, { signal }))
  await mapBounded(group, CONCURRENCY, (oid) => blobs.delete(KEYS.index(oid, chunks), signal))
}

/** Finds the index that repeats one which was listed and is gone. @returns undefined where no record tells, or what it names does not repeat it
 *  @throws what the blobs throw, INDEX_CORRUPT */
export async function findSuccessor(
  blobs: Blobs,
  gone: Oid,
  chunks: boolean,
  signal?: AbortSignal,
): Promise<{ index: PackIndex; bytes: Buffer } | undefined> {
  if (!mayLag(blobs)) return undefined
  for (let steps = 0, last = gone; steps < MAX_STEPS; steps++) {
    const record = await getOrNone(blobs, KEYS.superseded(last, chunks), signal)
    const next = record?.toString('latin1').trimEnd() ?? ''
    if (!isOid(next)) return undefined
    const bytes = await getOrNone(blobs, KEYS.index(next, chunks), signal)
    if (bytes) {
      const index = openIndex(bytes, next)
      return index.supersedes.includes(last) ? { index, bytes } : undefined
    }
    last = next
  }
  return undefined
}

async function getOrNone(blobs: Blobs, key: string, signal?: AbortSignal): Promise<Buffer | undefined> {
  try {
    return asBuffer(await blobs.get(key, { signal }))
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return undefined
    throw error
  }
}

/** Deletes records that were written before `before`, in ms since 1970 by the clock of the place: no listing is as old as that. */
export async function expireRecords(blobs: Blobs, before: number, signal?: AbortSignal): Promise<void> {
  if (!mayLag(blobs)) return
  const expired: string[] = []
  for await (const { key, modified } of blobs.list('superseded/', signal)) {
    if (modified < before) expired.push(key)
    if (expired.length === MAX_DELETIONS) break
  }
  await mapBounded(expired, CONCURRENCY, (key) => blobs.delete(key, signal))
}
