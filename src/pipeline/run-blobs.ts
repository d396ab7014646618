import { join } from 'node:path'
import { writeFilesAtomic } from '../base/atomic.ts'
import { hasCode } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from '../store/blobs.ts'
import { formatRunRecord, parseRunRecord, type RunRecord } from './run-record.ts'

/** What lies under a record's name. `broken`: it does not hash to it; `unknown`: it is of a newer format, or says something else */
export type ReadRun = RunRecord | 'gone' | 'broken' | 'unknown'

/** Reads what lies at a blob's key, which ends with the record's oid, for a run. @throws what the blobs throw, but for BLOB_MISSING */
export async function readRun(blobs: Blobs, blob: string, run: Oid, signal: AbortSignal | undefined): Promise<ReadRun> {
  try {
    const bytes = await blobs.get(blob, { signal })
    return blob.endsWith(oidOfBytes(bytes)) ? (parseRunRecord(bytes, run) ?? 'unknown') : 'broken'
  } catch (error) {
    if (hasCode(error, 'BLOB_MISSING')) return 'gone'
    throw error
  }
}

/** Keeps a record in a cache's folder. Not flushed: one that a power loss cuts no longer hashes to its name, and is a miss.
 *  @param prefix what its key begins with: its scope and run key */
export function writeRun(folder: string, prefix: string, record: RunRecord): void {
  const bytes = Buffer.from(formatRunRecord(record))
  writeFilesAtomic([{ path: join(folder, prefix + oidOfBytes(bytes)), bytes, mode: 0o444 }], { flush: false })
}
