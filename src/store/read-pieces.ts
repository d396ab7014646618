import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { sharedBuffer } from '../base/pages.ts'
import type { ReadOptions } from './object-store.ts'

const PIECE_BYTES = 2 << 20
/** A piece is with the caller and one before it is still being written, while the next one is read. */
const PIECES = 4

/** A file from its start to its end: in buffers of their own, or, for a digester, in shared memory that is used again once two more pieces were taken.
 *  @throws system errors */
export async function* readPieces(path: string, { digester, signal }: ReadOptions): AsyncGenerator<Buffer> {
  if (!digester) {
    yield* createReadStream(path, { highWaterMark: PIECE_BYTES, signal })
    return
  }
  const file = await open(path)
  try {
    yield* readInTurns(file, signal)
  } finally {
    await file.close()
  }
}

/** Reads a file piece by piece into a few shared buffers, the next one on its way while one is used. */
export async function* readInTurns(file: Pick<FileHandle, 'read'>, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  const buffers: Buffer[] = []
  let at = 0
  const read = (turn: number) => {
    buffers[turn % PIECES] ??= sharedBuffer(PIECE_BYTES)
    return file.read(buffers[turn % PIECES]!, 0, PIECE_BYTES, at)
  }
  let pending = read(0)
  for (let turn = 0; ; turn++) {
    const { bytesRead } = await pending
    if (bytesRead === 0) return
    signal?.throwIfAborted()
    at += bytesRead
    pending = read(turn + 1)
    pending.catch(() => {})
    yield buffers[turn % PIECES]!.subarray(0, bytesRead)
  }
}

/** Tells of the bytes of each piece once it is done with. */
export async function* counted(
  pieces: AsyncIterable<Buffer>,
  onBytes: ((count: number) => void) | undefined,
): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    yield piece
    onBytes?.(piece.length)
  }
}
