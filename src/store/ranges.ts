import type { Oid } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import type { Location } from './pack-index.ts'

/** Bytes of one pack that are read at once. */
export interface Range {
  pack: Oid
  start: number
  end: number
  places: Location[]
}

/** Objects nearer than this are read as one range: a request costs more than the bytes between. */
const GAP_BYTES = 256 << 10
export const RANGE_BYTES = 8 << 20
/** Of a large object less is read at once: bytes that are hashed and written while a core's cache still has them cost half as much. */
export const CHUNK_RANGE_BYTES = 4 << 20

export function rangeOf(place: Location): Range {
  return { pack: place.pack, start: place.offset, end: place.offset + place.length, places: [place] }
}

/** Groups places by pack and joins near ones, up to 8 MiB at a time. Sorts `places`. */
export function planRanges(places: Location[]): Range[] {
  const ranges: Range[] = []
  places.sort((a, b) => (a.pack === b.pack ? a.offset - b.offset : compareUtf8(a.pack, b.pack)))
  let last: Range | undefined
  for (const place of places) {
    const end = place.offset + place.length
    if (last && last.pack === place.pack && place.offset - last.end <= GAP_BYTES && end - last.start <= RANGE_BYTES) {
      last.end = Math.max(last.end, end)
      last.places.push(place)
    } else {
      last = rangeOf(place)
      ranges.push(last)
    }
  }
  return ranges
}

/** Joins places that follow each other, up to 4 MiB at a time, in the order given: the chunks of a first version lie so. */
export function joinRanges(places: Location[]): Range[] {
  const ranges: Range[] = []
  for (const place of places) {
    const last = ranges.at(-1)
    if (
      last &&
      last.pack === place.pack &&
      last.end === place.offset &&
      place.offset + place.length - last.start <= CHUNK_RANGE_BYTES
    ) {
      last.end += place.length
      last.places.push(place)
    } else ranges.push(rangeOf(place))
  }
  return ranges
}
