import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { fileError, systemCode } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import type { Project } from './project.ts'

const fileOf = (project: Pick<Project, 'homeDir'>) => join(project.homeDir, 'state', 'dropped')

/** Notes objects that are to be taken out of the cache on purpose, so that a check does not call them lost. Objects that came back may stand there. */
export function noteDropped(project: Pick<Project, 'homeDir'>, oids: Iterable<Oid>): void {
  const file = fileOf(project)
  const text = [...new Set([...readDropped(project), ...oids])].map((oid) => `${oid}\n`).join('')
  // What the deletion of the objects leaves after a power loss must find this text whole.
  writeFileAtomic(file, text)
}

/** What was taken out of the cache on purpose, as far as this clone's state tells. */
export function readDropped(project: Pick<Project, 'homeDir'>): Set<Oid> {
  try {
    return new Set(readFileSync(fileOf(project), 'utf8').split('\n').filter(isOid))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return new Set()
    throw fileError(error, 'reading', fileOf(project))
  }
}
