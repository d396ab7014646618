import type { Oid } from '../base/oid.ts'

/** What lies at a path: a file, an executable file, a symbolic link, or a directory as a tree. */
export type Entry =
  | { kind: 'file' | 'exec' | 'link'; oid: Oid /** bytes */; size: number }
  | {
      kind: 'tree'
      oid: Oid /** bytes of all files, links left out */
      size: number /** files, executables and links below */
      files: number
    }

export function sameEntry(a: Entry | undefined, b: Entry | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.kind === b.kind && a.oid === b.oid)
}

/** How many files differ between two trees. */
export interface ChangeCounts {
  added: number
  deleted: number
  modified: number
}
