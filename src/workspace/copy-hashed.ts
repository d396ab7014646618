import { open } from 'node:fs/promises'
import { createOidHash, type Oid } from '../base/oid.ts'
import { writePiece } from '../base/write-piece.ts'
import { readInTurns } from '../store/read-pieces.ts'

/** Copies a file to a new one and hashes what it writes, each piece while the one before is written: what was placed is what was hashed.
 *  @throws EEXIST where something lies at `to`, and what reading and writing throw */
export async function copyHashed(from: string, to: string): Promise<Oid> {
  const source = await open(from, 'r')
  try {
    const target = await open(to, 'wx')
    try {
      const hash = createOidHash()
      let writing: Promise<void> = Promise.resolve()
      let at = 0
      for await (const piece of readInTurns(source, undefined)) {
        await writing
        writing = writePiece(target, piece, at)
        writing.catch(() => {})
        hash.update(piece)
        at += piece.length
      }
      await writing
      return hash.digest()
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}
