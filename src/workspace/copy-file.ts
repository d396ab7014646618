import { constants, statSync } from 'node:fs'
import { copyFile, type FileHandle, open } from 'node:fs/promises'
import { isLocal } from '../base/new-file.ts'
import { writePiece } from '../base/write-piece.ts'

/** From this size on two cores copy faster than the system call that copies, which keeps one busy. */
const LANES_FROM = 64 << 20
const LANES = 2
const PIECE_BYTES = 1 << 20

/** Copies a file to a new name. @throws system errors, EEXIST among them; what was written by then stays */
export async function copyToNew(from: string, to: string): Promise<void> {
  if (statSync(from).size < LANES_FROM || !isLocal(from)) return copyFile(from, to, constants.COPYFILE_EXCL)
  const source = await open(from)
  try {
    const target = await open(to, 'wx')
    try {
      await copyInLanes(source, target)
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

async function copyInLanes(source: FileHandle, target: FileHandle): Promise<void> {
  let next = 0
  let failed = false
  async function copyNext(): Promise<void> {
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
    while (!failed) {
      const at = next
      next += PIECE_BYTES
      const length = await readFull(source, piece, at)
      if (length === 0) return
      await writePiece(target, piece.subarray(0, length), at)
    }
  }
  const lanes = Array.from({ length: LANES }, () =>
    copyNext().catch((error) => {
      failed = true
      throw error
    }),
  )
  // No file is closed while the other lane writes to it.
  const ends = await Promise.allSettled(lanes)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** Before a part of the disk that cannot be read a read ends short, and only the next one fails. @returns bytes read; fewer than fit at the end alone */
async function readFull(source: FileHandle, piece: Buffer, at: number): Promise<number> {
  let length = 0
  while (length < piece.length) {
    const { bytesRead } = await source.read(piece, length, piece.length - length, at + length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return length
}
