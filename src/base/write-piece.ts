import type { FileHandle } from 'node:fs/promises'

/** Writes all of a piece at byte `at`; one write may take less. @throws system errors */
export async function writePiece(file: Pick<FileHandle, 'write'>, piece: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < piece.length; ) done += (await file.write(piece, done, piece.length - done, at + done)).bytesWritten
}
