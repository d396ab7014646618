import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'

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

/** Looks whether a file may be written that the user names: it is not there yet, is empty, or is another of its kind.
 *  @param path absolute   @param kind what it is called, where else it can be had, and what refuses other texts with TASK_INVALID
 *  @throws PATH_INVALID for a folder or a device, and where there is no folder for it; PATH_OVERLAP for another file, FILE_UNREADABLE */
export async function checkReplaced(
  path: string,
  { what, instead, parse }: { what: string; instead: string; parse: (bytes: Uint8Array) => unknown },
): Promise<void> {
  const known = statSync(path, { throwIfNoEntry: false })
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() || (known && !known.isFile()))
    throw new MlvError('PATH_INVALID', `No ${what} can be written to ${path}`, {
      hint: `Name a file in a folder that is there, or leave -o out: ${instead}.`,
    })
  if (!known || known.size === 0) return
  try {
    const { readRegularFile } = await import('../base/regular-file.ts')
    parse(readRegularFile(path))
  } catch (error) {
    if (!hasCode(error, 'TASK_INVALID')) throw fileError(error, 'reading', path)
    throw new MlvError('PATH_OVERLAP', `${path} is there already, and is no ${what}`, {
      hint: `Name another file for the ${what}, or move that one away.`,
    })
  }
}
