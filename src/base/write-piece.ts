import { writeSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

/** Writes all of some bytes where the file is at, at once. @throws system errors */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done)
}

/** Writes all of a piece at byte `at`; one write may take less. @throws system errors */
export async function writePiece(file: Pick<FileHandle, 'write'>, piece: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < piece.length; ) done += (await file.write(piece, done, piece.length - done, at + done)).bytesWritten
}

/** Writes pieces one behind the other, the first one at byte `at`, in one go where there is more than one. @throws system errors */
export async function writePieces(
  file: Pick<FileHandle, 'write' | 'writev'>,
  pieces: readonly Uint8Array[],
  at: number,
): Promise<void> {
  const some = pieces.filter((piece) => piece.length > 0)
  let written = some.length > 1 ? (await file.writev(some, at)).bytesWritten : 0
  for (const piece of some) {
    const skip = Math.min(written, piece.length)
    written -= skip
    await writePiece(file, piece.subarray(skip), at + skip)
    at += piece.length
  }
}
