import { MlvError } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'

/** One chunk of a large object. */
export interface Chunk {
  oid: Oid
  /** bytes */
  length: number
}

/** Text: `mlv-recipe 1 <bytes of the object>`, then `<oid> <length>` for each chunk, in order. */
export function formatRecipe(chunks: readonly Chunk[]): string {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  return `mlv-recipe 1 ${size}\n${chunks.map((chunk) => `${chunk.oid} ${chunk.length}\n`).join('')}`
}

/** @throws OBJECT_CORRUPT when it is malformed or does not add up to `size` */
export function parseRecipe(bytes: Uint8Array, oid: Oid, size: number): Chunk[] {
  const fail = (what: string): never => {
    throw new MlvError('OBJECT_CORRUPT', `The recipe of object ${oid} ${what}`, {
      hint: 'Push the file again from a clone that has it.',
    })
  }
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1').split('\n')
  if (lines.pop() !== '' || lines[0] !== `mlv-recipe 1 ${size}`) fail('is malformed')
  let sum = 0
  const chunks = lines.slice(1).map((line) => {
    const match = /^([0-9a-f]{64}) ([1-9][0-9]{0,9})$/.exec(line)
    if (!match || !isOid(match[1]!)) return fail('is malformed')
    if (match[1] === oid) return fail('names itself')
    sum += Number(match[2])
    return { oid: match[1], length: Number(match[2]) }
  })
  if (sum !== size) fail('does not add up to the size of the object')
  return chunks
}
