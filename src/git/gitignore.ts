import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { fileError, systemCode } from '../base/errors.ts'

/** A name as a gitignore pattern that matches it alone, in this folder alone. */
export function ignorePattern(name: string): string {
  return `/${name.replace(/[\\*?[]/g, '\\$&').replace(/ +$/, (spaces) => '\\ '.repeat(spaces.length))}`
}

function readLines(path: string): { text: string; end: string } {
  try {
    const text = readFileSync(path, 'utf8')
    return { text, end: text.includes('\r\n') ? '\r\n' : '\n' }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { text: '', end: '\n' }
    throw fileError(error, 'reading', path)
  }
}

/** Adds `/name` lines to the .gitignore of `folder` (absolute); everything else in it stays. @returns whether the file was written */
export function ignoreLines(folder: string, names: readonly string[]): boolean {
  const path = join(folder, '.gitignore')
  const { text, end } = readLines(path)
  const present = new Set(text.split(/\r?\n/))
  const fresh = names.map(ignorePattern).filter((line) => !present.has(line))
  if (fresh.length === 0) return false
  const start = text === '' || text.endsWith('\n') ? text : text + end
  writeFileAtomic(path, start + fresh.map((line) => line + end).join(''))
  return true
}

/** Takes the lines that ignoreLines added out again. @returns whether the file was written; an empty one stays, because git may track it */
export function unignoreLines(folder: string, names: readonly string[]): boolean {
  const path = join(folder, '.gitignore')
  const { text } = readLines(path)
  const gone = new Set(names.map(ignorePattern))
  const kept = text.split(/(?<=\n)/).filter((line) => !gone.has(line.replace(/\r?\n$/, '')))
  const next = kept.join('')
  if (next === text) return false
  writeFileAtomic(path, next)
  return true
}
