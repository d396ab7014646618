import { open } from 'node:fs/promises'
import { createOidHash, type Oid } from '../base/oid.ts'

const PIECE_BYTES = 4 << 20

/** Copies a file to a new one and hashes what it writes, each piece while the one before is written: what was placed is what was hashed.
 *  @throws EEXIST where something lies at `to`, and what reading and writing throw */
export async function copyHashed(from: string, to: string): Promise<Oid> {
  const source = await open(from, 'r')
  try {
    const target = await open(to, 'wx')
    try {
      const hash = createOidHash()
      const buffers = [Buffer.allocUnsafeSlow(PIECE_BYTES), Buffer.allocUnsafeSlow(PIECE_BYTES)]
      let writing: Promise<unknown> = Promise.resolve()
      for (let turn = 0, at = 0; ; turn = 1 - turn) {
        const { bytesRead } = await source.read(buffers[turn]!, 0, PIECE_BYTES, at)
        await writing
        if (bytesRead === 0) return hash.digest()
        const piece = buffers[turn]!.subarray(0, bytesRead)
        writing = writeAll(target, piece, at)
        writing.catch(() => {})
        hash.update(piece)
        at += bytesRead
      }
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

async function writeAll(target: Awaited<ReturnType<typeof open>>, piece: Buffer, at: number): Promise<void> {
  for (let done = 0; done < piece.length; ) done += (await target.write(piece, done, piece.length - done, at + done)).bytesWritten
}
