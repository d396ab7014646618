import type { Oid } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'

/** Objects in any place that keeps blobs. */
export interface ObjectStore {
  readonly blobs: Blobs
}
export type { Oid }
