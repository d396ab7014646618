// What one core does: reads each file of a folder in pieces, hashes it with SHA-256, writes it to a second folder, and flushes it.
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readSync, writeSync } from 'node:fs'

const [folder, target] = process.argv.slice(2)
const piece = Buffer.allocUnsafe(1 << 20)
mkdirSync(target)
for (const name of readdirSync(folder)) {
  const from = openSync(`${folder}/${name}`, 'r')
  const to = openSync(`${target}/${name}`, 'w')
  const hash = createHash('sha256')
  for (let length = readSync(from, piece); length > 0; length = readSync(from, piece)) {
    hash.update(piece.subarray(0, length))
    writeSync(to, piece, 0, length)
  }
  hash.digest('hex')
  fsyncSync(to)
  closeSync(to)
  closeSync(from)
}
