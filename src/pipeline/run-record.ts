import { hasCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8, parseRepoPath, type RepoPath } from '../base/paths.ts'
import type { Entry } from '../workspace/entry.ts'
import { canonicalJson } from './canonical-json.ts'

/** What a run with this key produced. Its text is the same for equal results, so that they are one record. */
export interface RunRecord {
  key: Oid
  /** by path */
  outs: { path: RepoPath; entry: Entry }[]
}

const FORMAT = 1
/** Bytes beyond which a text is no run record. */
export const RECORD_BYTES = 8 << 20

/** Canonical JSON: `{"key": …, "mlv_run": 1, "outs": [{"files": …, "kind": …, "oid": …, "path": …, "size": …}]}` and a line feed; `files` of trees alone. */
export function formatRunRecord({ key, outs }: RunRecord): string {
  const sorted = [...outs].sort((a, b) => compareUtf8(a.path, b.path))
  return `${canonicalJson({ mlv_run: FORMAT, key, outs: sorted.map(({ path, entry }) => ({ path, ...entry })) })}\n`
}

/** Reads a record that anybody may have written. @returns undefined for what is no valid record of that key */
export function parseRunRecord(bytes: Uint8Array, key: Oid): RunRecord | undefined {
  if (bytes.length > RECORD_BYTES) return undefined
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
  const { mlv_run, key: named, outs } = (value ?? {}) as Record<string, unknown>
  if (mlv_run !== FORMAT || named !== key || !Array.isArray(outs)) return undefined
  const read = outs.map(readOut)
  return read.every((out) => out !== undefined) ? { key, outs: read } : undefined
}

const isAmount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function readOut(value: unknown): RunRecord['outs'][number] | undefined {
  const { path, kind, oid, size, files } = (value ?? {}) as Record<string, unknown>
  if (typeof path !== 'string' || typeof oid !== 'string' || !isOid(oid) || !isAmount(size)) return undefined
  try {
    const place = parseRepoPath(path, 'run record')
    if (kind === 'tree') return isAmount(files) ? { path: place, entry: { kind, oid, size, files } } : undefined
    return kind === 'file' || kind === 'exec' ? { path: place, entry: { kind, oid, size } } : undefined
  } catch (error) {
    if (hasCode(error, 'PATH_INVALID')) return undefined
    throw error
  }
}
