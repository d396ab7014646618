import { realpathSync } from 'node:fs'
import { hostname } from 'node:os'
import { hasCode } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import type { Git } from '../git/git.ts'
import { KEYS } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Which repository writes to a store: clones of one origin are one repository, since git tells each what the others pushed. */
export type ProjectRecord = { origin: string } | { host: string; path: string }

/** Names a git remote the same way however it is reached: without scheme, user, password and `.git`.
 *  @returns undefined for a text that names none */
export function normalizeOrigin(url: string): string | undefined {
  const scp = /^(?:[^@/:]+@)?([^/:]+):(?!\/\/)(.+)$/.exec(url)
  const remote = /^[a-z+]+:\/\/(?:[^@/]*@)?([^/:]+)(?::\d+)?\/+(.+)$/i.exec(url)
  const [, host, path] =
    remote && !url.startsWith('file:') ? remote : scp && !url.startsWith('/') && !url.includes('://') ? scp : []
  const trim = (text: string) => text.replace(/\/+$/, '').replace(/\.git$/, '')
  if (host !== undefined && path !== undefined) return `${host.toLowerCase()}/${trim(path).replace(/^\/+/, '')}`
  const folder = trim(url.replace(/^file:\/\//, ''))
  return folder === '' ? undefined : `${hostname()}:${folder}`
}

/** How a clone is named in the stores it writes to. */
export async function describeClone(git: Git): Promise<{ record: ProjectRecord; own: ProjectRecord }> {
  const own = { host: hostname(), path: realpathSync(git.place.commonDir) }
  const url = await git.config('remote.origin.url')
  const origin = url === undefined ? undefined : normalizeOrigin(url)
  return { record: origin === undefined ? own : { origin }, own }
}

/** Leaves word in a store that this repository writes to it. @returns the record's name */
export async function registerClone(store: ObjectStore, git: Git): Promise<Oid> {
  const { record } = await describeClone(git)
  const bytes = Buffer.from(`${JSON.stringify(record)}\n`)
  const name = oidOfBytes(bytes)
  await store.blobs.put(KEYS.projects + name, bytes, { oid: name, ifAbsent: true })
  return name
}

export interface RegisteredProject {
  name: Oid
  /** where it is, for messages */
  place: string
  record: Partial<{ origin: string; host: string; path: string }>
}

/** The repositories that have written to a store. One whose record cannot be read is listed, too. */
export async function readProjects(store: ObjectStore): Promise<RegisteredProject[]> {
  const found: RegisteredProject[] = []
  for await (const { key } of store.blobs.list(KEYS.projects)) {
    const name = key.slice(KEYS.projects.length)
    if (!isOid(name)) continue
    let record: RegisteredProject['record'] = {}
    try {
      record = JSON.parse(Buffer.from(await store.blobs.get(key)).toString('utf8')) ?? {}
    } catch (error) {
      if (hasCode(error, 'BLOB_MISSING')) continue
      if (!(error instanceof SyntaxError)) throw error
    }
    found.push({
      name,
      record,
      place: record.origin ?? (record.path ? `${record.path} on ${record.host}` : `the record ${name}`),
    })
  }
  return found
}

/** Whether one of these clones tells all that a registered repository refers to. */
export function isCounted(project: RegisteredProject, clones: readonly { record: ProjectRecord; own: ProjectRecord }[]): boolean {
  const { origin, host, path } = project.record
  return clones.some(({ record, own }) => {
    if (origin !== undefined) return 'origin' in record && record.origin === origin
    return 'host' in own && own.host === host && own.path === path
  })
}
