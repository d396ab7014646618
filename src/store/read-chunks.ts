import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { PAGE_BYTES, sharedBuffer } from '../base/pages.ts'
import type { ReadOptions } from './object-store.ts'
import type { Location } from './pack-index.ts'
import type { Presence } from './presence.ts'
import { CHUNK_RANGE_BYTES, joinRanges, type Range } from './ranges.ts'
import type { Chunk } from './recipe.ts'

/** A place that did not give what it should. */
export interface Lost {
  place: Location
  packGone: boolean
}

export interface ChunkReaderParts {
  /** of the store, for messages */
  url: string
  presence: Presence
  /** @param into room for the bytes, which may be left alone   @returns undefined when the pack is gone */
  readPack(range: Range, signal: AbortSignal | undefined, into?: Buffer): Promise<Buffer | undefined>
  /** @returns the place's bytes, verified, or undefined */
  take(range: Range, bytes: Buffer, place: Location, signal: AbortSignal | undefined): Promise<Buffer | undefined>
  leave(lost: readonly Lost[]): Promise<void>
  corrupt(oid: Oid): MlvError
  missing(oid: Oid): MlvError
}

type ReadChunks = (oid: Oid, chunks: readonly Chunk[], options: ReadOptions) => AsyncGenerator<Buffer>

/** Where a pass stopped before its end. `lost`: a place that did not give its chunk; without it a file here no longer had one */
interface Stop {
  at: number
  lost?: Lost
}

/** Ranges whose bytes may still be in use behind the one that is read: a piece stays untouched until two more were taken. */
const RANGES_IN_USE = 3

/** Reads the chunks of large objects in order, the next few ranges on their way while one is used. Each chunk is verified, unless a digester
 *  sees to the whole: then what lies together is one piece, in memory that is used again once two more pieces were taken. */
export function createChunkReader(parts: ChunkReaderParts): ReadChunks {
  const { presence, url } = parts

  function locate(oid: Oid, chunk: Chunk): Location {
    const found = presence.locateChunk(chunk.oid)
    if (!found && presence.isCorrupt(chunk.oid)) throw parts.corrupt(oid)
    if (!found)
      throw new MlvError('OBJECT_MISSING', `The chunk ${chunk.oid} of the object ${oid} is not in ${url}`, {
        hint: 'Push the file again from a clone that has it.',
      })
    if (found.length !== chunk.length)
      throw new MlvError('OBJECT_CORRUPT', `The chunk ${chunk.oid} of the object ${oid} is not as long as its recipe says`, {
        hint: 'Push the file again from a clone that has it.',
      })
    return found
  }

  /** Ranges of the chunks that must come from the store, read ahead. @param offsets where in the object each place of theirs belongs */
  function* flights(
    ranges: readonly Range[],
    offsets: readonly number[],
    options: ReadOptions,
  ): Generator<{ range: Range; bytes: Promise<Buffer | undefined> }> {
    const ahead = Math.max(1, options.concurrency ?? 4)
    const flying: Promise<Buffer | undefined>[] = []
    const room = createRoom(options)
    let asked = 0
    for (const [i, range] of ranges.entries()) {
      while (flying.length < ahead && i + flying.length < ranges.length) {
        const next = ranges[i + flying.length]!
        const flight = parts.readPack(next, options.signal, room.take(next, offsets[asked]!))
        asked += next.places.length
        flight.catch(() => {})
        flying.push(flight)
      }
      yield { range, bytes: flying.shift()! }
      room.giveBack(range)
    }
  }

  async function* pass(oid: Oid, chunks: readonly Chunk[], options: ReadOptions): AsyncGenerator<Buffer, Stop | undefined> {
    const { nearby } = options
    // A run of one chunk, such as a long row of zeros, is read once.
    const isRead = (i: number) => !nearby?.has(chunks[i]!.oid) && chunks[i]!.oid !== chunks[i - 1]?.oid
    const read = new Set<number>()
    const places: Location[] = []
    const offsets: number[] = []
    let offset = 0
    for (const [i, chunk] of chunks.entries()) {
      if (isRead(i)) {
        read.add(i)
        places.push(locate(oid, chunk))
        offsets.push(offset)
      }
      offset += chunk.length
    }
    const coming = flights(joinRanges(places), offsets, options)
    let current: { range: Range; bytes: Buffer | undefined; next: number } | undefined
    let last: Buffer | undefined
    for (let i = 0; i < chunks.length; i++) {
      options.signal?.throwIfAborted()
      if (!read.has(i)) {
        if (chunks[i]!.oid !== chunks[i - 1]?.oid) last = await nearby!.read(chunks[i]!.oid)
        if (!last) return { at: i }
        yield last
        continue
      }
      if (!current || current.next === current.range.places.length) {
        const flight = coming.next().value!
        current = { range: flight.range, bytes: await flight.bytes, next: 0 }
      }
      const { range, bytes } = current
      const place = range.places[current.next++]!
      if (options.digester && bytes && bytes.length === range.end - range.start) {
        let end = place
        while (current.next < range.places.length && read.has(i + 1)) {
          end = range.places[current.next++]!
          i++
        }
        last = bytes.subarray(end.offset - range.start, end.offset - range.start + end.length)
        yield bytes.subarray(place.offset - range.start, end.offset - range.start + end.length)
        continue
      }
      last = bytes && (await parts.take(range, bytes, place, options.signal))
      if (!last) return { at: i, lost: { place, packGone: !bytes } }
      yield last
    }
    return undefined
  }

  return async function* readChunks(oid, chunks, options) {
    await presence.loadChunkIndexes()
    let rest = chunks
    for (let tries = 2; ; ) {
      const stop = yield* pass(oid, rest, options)
      if (!stop) return
      rest = rest.slice(stop.at)
      if (!stop.lost) continue
      await parts.leave([stop.lost])
      if (--tries === 0) throw stop.lost.packGone ? parts.missing(oid) : parts.corrupt(oid)
    }
  }
}

/** Memory for ranges, used again where a digester has the pieces. */
function createRoom({ digester }: ReadOptions): {
  /** @param at where in the object the range begins: in memory it begins at the same place of a page */
  take(range: Range, at: number): Buffer | undefined
  giveBack(range: Range): void
} {
  const taken = new Map<Range, Buffer>()
  const free: Buffer[] = []
  const used: Buffer[] = []
  return {
    take(range, at) {
      const length = range.end - range.start
      if (!digester || length > CHUNK_RANGE_BYTES) return undefined
      const buffer = free.pop() ?? sharedBuffer(CHUNK_RANGE_BYTES + PAGE_BYTES)
      taken.set(range, buffer)
      return buffer.subarray(at % PAGE_BYTES, (at % PAGE_BYTES) + length)
    },
    giveBack(range) {
      const buffer = taken.get(range)
      if (!buffer) return
      taken.delete(range)
      used.push(buffer)
      if (used.length > RANGES_IN_USE) free.push(used.shift()!)
    },
  }
}
