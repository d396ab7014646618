import { randomBytes, randomInt } from 'node:crypto'
import { oidOfBytes } from '../base/oid.ts'
import { PACK_BYTES } from './layout.ts'
import { createPackBuilder, ROW_BYTES, readRow, type SealedPack } from './pack.ts'

/** Bytes of the object that gives a pack another name. */
const FILLER_BYTES = 16

/** Packs the same objects again under another name: behind an object of random bytes, or, where the pack is too full
 *  for that, in another order. Equal objects in equal order would give the name again that is condemned. */
export function renamePack(pack: SealedPack): SealedPack {
  const entries = Array.from({ length: pack.count }, (_, row) =>
    readRow(pack.table, row * ROW_BYTES, (what) => {
      throw new Error(`a pack just sealed ${what}`)
    }),
  )
  const builder = createPackBuilder()
  if (pack.bytes.length + FILLER_BYTES + ROW_BYTES <= PACK_BYTES) {
    const filler = randomBytes(FILLER_BYTES)
    builder.reserve(FILLER_BYTES)!.set(filler)
    builder.keep(oidOfBytes(filler), FILLER_BYTES, FILLER_BYTES, 'bytes')
  } else if (entries.length > 1) entries.push(...entries.splice(0, randomInt(1, entries.length)))
  for (const { oid, offset, length, size, type } of entries) {
    builder.reserve(length)!.set(pack.bytes.subarray(offset, offset + length))
    builder.keep(oid, length, size, type)
  }
  pack.release()
  return builder.seal()
}
