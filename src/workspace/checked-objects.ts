import { readFileSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { fileError, systemCode } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { Project } from './project.ts'

/** Whole objects of a shared cache whose bytes this clone has hashed: linked into the workspace again they need not be read, while their files are
 *  the same. Derived: lost, it costs only time. */
export interface CheckedObjects {
  has(oid: Oid, stats: Stats): boolean
  note(oid: Oid, stats: Stats): void
  /** Writes what was noted. @param isHere objects that are gone are forgotten */
  flush(isHere: (oid: Oid) => boolean): void
}

/** A file that others put in its place was born later, also where it got the same number, size and time. The time of change says nothing: each
 *  link to the file changes it. */
function stampOf({ dev, ino, size, mtimeMs, birthtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, birthtimeMs || ctimeMs].join(' ')
}

export function openCheckedObjects(project: Pick<Project, 'homeDir'>): CheckedObjects {
  const file = join(project.homeDir, 'state', 'checked.json')
  let stamps: Map<string, string> | undefined
  let isDirty = false
  const known = () => {
    stamps ??= readStamps(file)
    return stamps
  }
  return {
    has: (oid, stats) => known().get(oid) === stampOf(stats),
    note(oid, stats) {
      if (known().get(oid) === stampOf(stats)) return
      known().set(oid, stampOf(stats))
      isDirty = true
    },
    flush(isHere) {
      if (!isDirty) return
      const here = [...known()].filter(([oid]) => isHere(oid as Oid))
      writeFileAtomic(file, `${JSON.stringify(Object.fromEntries(here))}\n`, { flush: false })
      isDirty = false
    },
  }
}

function readStamps(file: string): Map<string, string> {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return new Map(Object.entries(typeof value === 'object' && value !== null ? (value as Record<string, string>) : {}))
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return new Map()
    throw fileError(error, 'reading', file)
  }
}
