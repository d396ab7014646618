import { rmSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { writePiece } from '../base/write-piece.ts'

/** A second copy of an object that is just being written, which the workspace then takes as its own: so its bytes are not read again. It is not
 *  flushed, and what fails with it costs nothing but the copy. */
export interface SpareCopy {
  readonly path: string
  /** Takes the next bytes, which may change once it has come true. */
  write(piece: Buffer): Promise<void>
  /** @returns whether all of it is there */
  end(): Promise<boolean>
  /** Removes it. */
  drop(): Promise<void>
}

export async function createSpareCopy(path: string): Promise<SpareCopy> {
  let file: FileHandle | undefined
  let at = 0
  /** The original's bytes matter more than why this one cannot be written: whoever places the file will find out. */
  async function giveUp(): Promise<void> {
    await file?.close().catch(() => {})
    file = undefined
    rmSync(path, { force: true })
  }
  try {
    file = await open(path, 'wx', 0o600)
  } catch {
    return { path, write: async () => {}, end: async () => false, drop: async () => {} }
  }
  return {
    path,
    async write(piece) {
      if (!file) return
      try {
        await writePiece(file, piece, at)
        at += piece.length
      } catch {
        await giveUp()
      }
    },
    async end() {
      if (!file) return false
      await file.close()
      file = undefined
      return true
    },
    drop: giveUp,
  }
}
