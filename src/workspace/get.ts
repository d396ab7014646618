import { chmodSync, createWriteStream, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { temporaryName } from '../base/atomic.ts'
import { fileError, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { walkTree } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import { findEntry, pagesFrom, type StoreFinder } from './find-entry.ts'
import { refuseGitFolder } from './outside-git.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'

export interface GetRequest {
  path: RepoPath
  /** of the same project */
  revision: Revision
  /** absolute */
  out: string
  force: boolean
}

async function writeFileFrom(store: ObjectStore, entry: Entry, to: string): Promise<void> {
  if (entry.kind === 'link') {
    symlinkSync(await store.read(entry.oid), to)
    return
  }
  await pipeline(Readable.from(store.stream(entry.oid)), createWriteStream(to, { flags: 'wx' }))
  if (entry.kind === 'exec') chmodSync(to, 0o755)
}

/** Writes a file or folder as it was at a revision. It gets its name only when it is whole.
 *  @throws REVISION_UNKNOWN, PATH_MISSING, PATH_INVALID inside a git folder, PATH_OVERLAP when something is there, OBJECT_MISSING */
export async function getPath(project: Project, request: GetRequest): Promise<{ bytes: number; oid: string }> {
  const { path, out } = request
  refuseGitFolder(project, out)
  if (existsSync(out) && !request.force)
    throw new MlvError('PATH_OVERLAP', `${out} is there already`, {
      hint: 'Name another place with -o, or overwrite it with --force.',
    })
  if (!existsSync(dirname(out)))
    throw new MlvError('PATH_MISSING', `No such folder: ${dirname(out)}`, { hint: `Make it with "mkdir -p ${dirname(out)}".` })
  const { entry, storeOf } = await findEntry(project, request.revision, path)
  const temporary = temporaryName(out)
  try {
    if (entry.kind === 'tree') await writeFolder(storeOf, entry, temporary)
    else await writeFileFrom(await storeOf(entry.oid), entry, temporary)
    if (request.force) rmSync(out, { recursive: true, force: true })
    await rename(temporary, out)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    throw fileError(error, 'writing', out)
  }
  return { bytes: entry.size, oid: entry.oid }
}

async function writeFolder(storeOf: StoreFinder, entry: Entry & { kind: 'tree' }, to: string): Promise<void> {
  mkdirSync(to)
  const small = new Map<Entry['oid'], { path: string; entry: Entry }[]>()
  for await (const { path, entry: file } of walkTree(entry.oid, pagesFrom(storeOf))) {
    if (file.kind === 'tree') mkdirSync(join(to, path))
    else if (file.size > 1 << 20 || file.kind === 'link') await writeFileFrom(await storeOf(file.oid), file, join(to, path))
    else small.set(file.oid, [...(small.get(file.oid) ?? []), { path, entry: file }])
  }
  const byStore = new Map<ObjectStore, Entry['oid'][]>()
  for (const oid of small.keys()) {
    const holder = await storeOf(oid)
    const oids = byStore.get(holder)
    if (oids) oids.push(oid)
    else byStore.set(holder, [oid])
  }
  const write = async (oid: Entry['oid'], bytes: Buffer) => {
    for (const { path, entry: file } of small.get(oid)!)
      await writeFile(join(to, path), bytes, { flag: 'wx', mode: file.kind === 'exec' ? 0o777 : 0o666 })
  }
  for (const [holder, oids] of byStore) await holder.readEach(oids, write)
}
