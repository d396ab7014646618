import { fileError } from '../base/errors.ts'
import { oidOfBytes } from '../base/oid.ts'
import { readRegularFile } from '../base/regular-file.ts'
import type { Entry } from '../workspace/entry.ts'
import { canonicalJson } from './canonical-json.ts'

interface Cell {
  cell_type?: unknown
  source?: unknown
}

/** A Jupyter notebook as a stage reads it: kind and source of each cell, without outputs, counters and metadata. Format: nbformat 4, where a source
 *  is a text or a list of lines. @returns `entry` itself for a file that is no such notebook   @throws FILE_UNREADABLE */
export function sourcesOf(path: string, entry: Entry): Entry {
  if (entry.kind === 'tree') return entry
  let bytes: Buffer
  try {
    bytes = readRegularFile(path)
  } catch (error) {
    throw fileError(error, 'reading', path)
  }
  const cells = readCells(bytes.toString('utf8'))
  if (!cells) return entry
  const text = Buffer.from(canonicalJson(cells))
  return { kind: entry.kind, oid: oidOfBytes(text), size: text.length }
}

function readCells(text: string): [string, string][] | undefined {
  try {
    const { cells } = JSON.parse(text) as { cells?: unknown }
    if (!Array.isArray(cells)) return undefined
    return (cells as Cell[]).map(({ cell_type, source }) => [
      String(cell_type),
      Array.isArray(source) ? source.join('') : String(source ?? ''),
    ])
  } catch {
    return undefined
  }
}
