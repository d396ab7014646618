import { resolve } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'

/** @param most bytes; what is longer is cut behind them, for its reader to refuse */
async function readStandardInput(most: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of process.stdin) {
    parts.push(part as Buffer)
    length += (part as Buffer).length
    if (length > most) break
  }
  return Buffer.concat(parts)
}

/** Reads a file that the user names; - is stdin.
 *  @param most bytes that its reader takes   @param wanted what it is to be, for messages: "the file that … wrote"
 *  @throws PATH_MISSING, FILE_UNREADABLE, PATH_INVALID for a folder */
export async function readTypedFile(
  typed: string,
  cwd: string,
  { most, wanted }: { most: number; wanted: string },
): Promise<Buffer> {
  if (typed === '-') return readStandardInput(most)
  const { readRegularFile } = await import('../base/regular-file.ts')
  const path = resolve(cwd, typed)
  try {
    return readRegularFile(path)
  } catch (error) {
    if (systemCode(error) !== 'EISDIR') throw fileError(error, 'reading', path)
    throw new MlvError('PATH_INVALID', `${typed} is a folder`, { hint: `Give ${wanted}, or - for stdin.` })
  }
}
