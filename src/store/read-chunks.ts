import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { ReadOptions } from './object-store.ts'
import type { Location } from './pack-index.ts'
import type { Presence } from './presence.ts'
import { joinRanges, type Range } from './ranges.ts'
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
  /** @returns undefined when the pack is gone */
  readPack(range: Range, signal: AbortSignal | undefined): Promise<Buffer | undefined>
  /** @returns the place's bytes, verified, or undefined */
  take(range: Range, bytes: Buffer, place: Location, signal: AbortSignal | undefined): Promise<Buffer | undefined>
  leave(lost: readonly Lost[]): Promise<void>
  corrupt(oid: Oid): MlvError
  missing(oid: Oid): MlvError
}

type ReadChunks = (oid: Oid, chunks: readonly Chunk[], options: ReadOptions) => AsyncGenerator<Buffer>

/** Reads the chunks of large objects in order, each verified, the next few ranges on their way while one is used. */
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

  /** Ranges of the chunks that must come from the store, read ahead. */
  function* flights(
    ranges: readonly Range[],
    options: ReadOptions,
  ): Generator<{ range: Range; bytes: Promise<Buffer | undefined> }> {
    const ahead = Math.max(1, options.concurrency ?? 4)
    const flying: Promise<Buffer | undefined>[] = []
    for (const [i, range] of ranges.entries()) {
      while (flying.length < ahead && i + flying.length < ranges.length) {
        const flight = parts.readPack(ranges[i + flying.length]!, options.signal)
        flight.catch(() => {})
        flying.push(flight)
      }
      yield { range, bytes: flying.shift()! }
    }
  }

  return async function* readChunks(oid, chunks, options, tries = 2): AsyncGenerator<Buffer> {
    await presence.loadChunkIndexes()
    const { nearby } = options
    // A run of one chunk, such as a long row of zeros, is read once.
    const isRead = (i: number) => !nearby?.has(chunks[i]!.oid) && chunks[i]!.oid !== chunks[i - 1]?.oid
    const read = new Set<number>()
    for (let i = 0; i < chunks.length; i++) if (isRead(i)) read.add(i)
    const coming = flights(joinRanges([...read].map((i) => locate(oid, chunks[i]!))), options)
    let current: { range: Range; bytes: Buffer | undefined; next: number } | undefined
    let last: Buffer | undefined
    for (const [i, chunk] of chunks.entries()) {
      options.signal?.throwIfAborted()
      if (!read.has(i)) {
        if (chunk.oid !== chunks[i - 1]?.oid) last = await nearby!.read(chunk.oid)
        if (last) {
          yield last
          continue
        }
        // The file here was changed meanwhile.
        yield* readChunks(oid, chunks.slice(i), { ...options, nearby: undefined }, tries)
        return
      }
      if (!current || current.next === current.range.places.length) {
        const flight = coming.next().value!
        current = { range: flight.range, bytes: await flight.bytes, next: 0 }
      }
      const place = current.range.places[current.next++]!
      last = current.bytes && (await parts.take(current.range, current.bytes, place, options.signal))
      if (!last) {
        await parts.leave([{ place, packGone: !current.bytes }])
        if (tries === 1) throw current.bytes ? parts.corrupt(oid) : parts.missing(oid)
        yield* readChunks(oid, chunks.slice(i), options, tries - 1)
        return
      }
      yield last
    }
  } as (oid: Oid, chunks: readonly Chunk[], options: ReadOptions, tries?: number) => AsyncGenerator<Buffer>
}
