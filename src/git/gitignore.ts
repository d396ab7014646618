import { statSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { fileError, systemCode } from '../base/errors.ts'
import { readRegularFile } from '../base/regular-file.ts'

/** A name as a gitignore pattern that matches it, in this folder alone. The slash in front keeps `#` and `!` plain.
 *  No pattern can hold a line end; `?` stands for it. */
export function ignorePattern(name: string): string {
  const escaped = name.replace(/[\\*?[]/g, '\\$&').replace(/[\n\r]/g, '?')
  return `/${escaped.replace(/ +$/, (spaces) => '\\ '.repeat(spaces.length))}`
}

/** The file as one character per byte, so that lines which are not UTF-8 come back as they were. */
function readBytes(path: string): { text: string; mode?: number } {
  try {
    return { text: readRegularFile(path).toString('latin1'), mode: statSync(path).mode & 0o777 }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { text: '' }
    throw fileError(error, 'reading', path)
  }
}

function patternsOf(names: readonly string[]): Set<string> {
  return new Set(names.map((name) => Buffer.from(ignorePattern(name)).toString('latin1')))
}

/** Adds `/name` lines to the .gitignore of `folder` (absolute), with its line ends; everything else in it stays.
 *  @returns whether the file was written   @throws FILE_UNREADABLE, FILE_UNWRITABLE, DISK_FULL */
export function ignoreLines(folder: string, names: readonly string[]): boolean {
  const path = join(folder, '.gitignore')
  const { text, mode } = readBytes(path)
  const present = new Set(text.split(/\r?\n/))
  const fresh = [...patternsOf(names)].filter((line) => !present.has(line))
  if (fresh.length === 0) return false
  const end = text.includes('\r\n') ? '\r\n' : '\n'
  const start = text === '' || text.endsWith('\n') ? text : text + end
  writeFileAtomic(path, Buffer.from(start + fresh.map((line) => line + end).join(''), 'latin1'), { mode })
  return true
}

/** Names without a line of their own in the .gitignore of `folder` (absolute); a wider pattern may still match them. */
export function namesWithoutLine(folder: string, names: readonly string[]): string[] {
  const present = new Set(readBytes(join(folder, '.gitignore')).text.split(/\r?\n/))
  return names.filter((name) => [...patternsOf([name])].some((line) => !present.has(line)))
}

/** Takes the lines that ignoreLines added out again. @returns whether the file was written; an empty one stays, because git may track it */
export function unignoreLines(folder: string, names: readonly string[]): boolean {
  const path = join(folder, '.gitignore')
  const { text, mode } = readBytes(path)
  const gone = patternsOf(names)
  const next = text
    .split(/(?<=\n)/)
    .filter((line) => !gone.has(line.replace(/\r?\n$/, '')))
    .join('')
  if (next === text) return false
  writeFileAtomic(path, Buffer.from(next, 'latin1'), { mode })
  return true
}
