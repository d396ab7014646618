import { oidOfBytes } from '../base/oid.ts'
import { CHUNKING, createCutter } from './chunker.ts'
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

/** Cuts an object into chunks and adds those that the store lacks; a single chunk is given back instead, because a recipe may not name its own object. */
export async function cutObject(pieces: AsyncIterable<Buffer>, to: ObjectStore, writer: StoreWriter): Promise<CutObject> {
  await to.loadChunkIndexes()
  const cutter = createCutter()
  const chunks: Chunk[] = []
  const scratch = Buffer.allocUnsafeSlow(CHUNKING.max)
  let held = 0
  let saved = 0
  async function finish(length: number): Promise<void> {
    const bytes = scratch.subarray(0, length)
    const oid = oidOfBytes(bytes)
    chunks.push({ oid, length })
    if (to.hasChunk(oid) || writer.hasChunk(oid)) saved += length
    else await writer.addChunk(oid, bytes)
    held = 0
  }
  for await (const piece of pieces) {
    let at = 0
    for (const length of cutter.push(piece)) {
      at += piece.copy(scratch, held, at, at + length - held)
      await finish(length)
    }
    held += piece.copy(scratch, held, at)
  }
  const last = cutter.end()
  if (last !== undefined) await finish(last)
  return { chunks, saved, single: scratch.subarray(0, chunks[0]?.length ?? 0) }
}
