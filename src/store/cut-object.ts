import { oidOfBytes } from '../base/oid.ts'
import { CHUNKING, createCutter, LONGEST_CHUNK } from './chunker.ts'
import type { ObjectStore } from './object-store.ts'
import type { Chunk } from './recipe.ts'
import type { StoreWriter } from './store-writer.ts'

export interface CutObject {
  chunks: Chunk[]
  /** bytes of chunks that the store had already */
  saved: number
  /** the bytes of the only chunk, of an object that is no larger */
  single: Buffer
}

/** The chunks of an object, in order; each buffer is good until the next is asked for. */
export async function* cutPieces(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const cutter = createCutter()
  let scratch = Buffer.allocUnsafeSlow(CHUNKING.max)
  let held = 0
  /** Keeps a part of a chunk. @returns the part's end in the piece */
  function hold(piece: Buffer, from: number, to: number): number {
    if (held + to - from > scratch.length) {
      const larger = Buffer.allocUnsafeSlow(LONGEST_CHUNK)
      scratch.copy(larger, 0, 0, held)
      scratch = larger
    }
    held += piece.copy(scratch, held, from, to)
    return to
  }
  for await (const piece of pieces) {
    let at = 0
    for (const length of cutter.push(piece)) {
      at = hold(piece, at, at + length - held)
      held = 0
      yield scratch.subarray(0, length)
    }
    hold(piece, at, piece.length)
  }
  const last = cutter.end()
  if (last !== undefined) yield scratch.subarray(0, last)
}

/** Cuts an object into chunks and adds those that the store lacks; a single chunk is given back instead, because a recipe may not name its own object. */
export async function cutObject(pieces: AsyncIterable<Buffer>, to: ObjectStore, writer: StoreWriter): Promise<CutObject> {
  await to.loadChunkIndexes()
  const cut: CutObject = { chunks: [], saved: 0, single: Buffer.alloc(0) }
  for await (const bytes of cutPieces(pieces)) {
    const oid = oidOfBytes(bytes)
    if (cut.chunks.length === 0) cut.single = bytes
    cut.chunks.push({ oid, length: bytes.length })
    if (to.hasChunk(oid) || writer.hasChunk(oid)) cut.saved += bytes.length
    else await writer.addChunk(oid, bytes)
  }
  return cut
}
