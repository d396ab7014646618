import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'

/** The feature that a store requires of its readers once it has an entry of this type. */
export const FOREIGN = 'foreign'

/** Where an object lies that no store holds: in a bucket of its owner's, at a version. */
export interface ForeignPlace {
  bucket: string
  key: string
  /** of the object */
  size: number
  /** in a bucket that keeps versions */
  version?: string
  /** what the server called these bytes */
  etag?: string
  endpoint?: string
  region?: string
  path_style?: boolean
}

/** Reads an object from where it lies. The caller hashes it.
 *  @throws BLOB_MISSING when it has gone, FILE_CHANGED when other bytes lie there, and what the place throws */
export type ForeignReader = (place: ForeignPlace, signal?: AbortSignal) => AsyncIterable<Buffer>

/** One line of JSON, keys in this order. */
export function formatForeign(place: ForeignPlace): string {
  const { bucket, key, size, version, etag, endpoint, region, path_style } = place
  return `${JSON.stringify({ mlv_foreign: 1, bucket, key, size, version, etag, endpoint, region, path_style })}\n`
}

/** @throws OBJECT_CORRUPT when it is malformed or of another size than the index says */
export function parseForeign(bytes: Uint8Array, oid: Oid, size: number): ForeignPlace {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  let place: ForeignPlace & { mlv_foreign?: unknown }
  try {
    place = JSON.parse(text)
    const isText = (value: unknown) => value === undefined || typeof value === 'string'
    const isName = (value: unknown) => typeof value === 'string' && value !== ''
    const { bucket, key, version, etag, endpoint, region, path_style } = place
    const isSound =
      [version, etag, endpoint, region].every(isText) && (path_style === undefined || typeof path_style === 'boolean')
    // One text for one place: what is formatted again must be what was read.
    if (
      place.mlv_foreign === 1 &&
      place.size === size &&
      isName(bucket) &&
      isName(key) &&
      isSound &&
      formatForeign(place) === text
    )
      return place
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
  }
  throw new MlvError('OBJECT_CORRUPT', `What says where the object ${oid} lies is malformed`, {
    hint: 'Push it again from a clone that has the data, or import the data again.',
  })
}
