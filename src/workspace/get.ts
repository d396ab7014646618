import { chmodSync, createWriteStream, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { temporaryName } from '../base/atomic.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PageReader } from '../store/tree.ts'
import { findPath, walkTree } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import type { Project } from './project.ts'
import { readTargets } from './target.ts'
import { notTracked } from './tracked.ts'

export interface GetRequest {
  path: RepoPath
  /** undefined: what the workspace's pointer says */
  revision: string | undefined
  /** absolute */
  out: string
  force: boolean
}

/** Gives the store to read an object from: the cache, else the remote that its pointer names, or the default one. */
type StoreFinder = (oid: Entry['oid']) => Promise<ObjectStore>

async function createStoreFinder(project: Project, remote: string | undefined): Promise<StoreFinder> {
  const cache = await project.cache('read')
  return async (oid) => (cache.has(oid) ? cache : (await project.remote(remote)).store)
}

function pageReader(storeOf: StoreFinder): PageReader {
  return async (oid) => (await storeOf(oid)).read(oid)
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
 *  @throws REVISION_UNKNOWN, PATH_MISSING, PATH_OVERLAP when something is there, OBJECT_MISSING */
export async function getPath(project: Project, request: GetRequest): Promise<{ bytes: number; oid: string }> {
  const { path, out } = request
  if (existsSync(out) && !request.force)
    throw new MlvError('PATH_OVERLAP', `${out} is there already`, {
      hint: 'Name another place with -o, or overwrite it with --force.',
    })
  if (!existsSync(dirname(out)))
    throw new MlvError('PATH_MISSING', `No such folder: ${dirname(out)}`, { hint: `Make it with "mkdir -p ${dirname(out)}".` })
  const revision = await project.revision(request.revision)
  const target = (await readTargets(project, revision)).find((item) => isWithin(path, item.path))
  if (!target) throw notTracked(path)
  const storeOf = await createStoreFinder(project, target.remote)
  let entry: Entry | undefined = target.entry
  if (path !== target.path)
    entry =
      target.entry.kind === 'tree'
        ? await findPath(target.entry.oid, path.slice(target.path.length + 1), pageReader(storeOf))
        : undefined
  if (!entry)
    throw new MlvError('PATH_MISSING', `${target.path} of ${revision.name} has no ${path}`, {
      hint: 'Check the path, or name a revision that has it with --rev.',
    })
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
  for await (const { path, entry: file } of walkTree(entry.oid, pageReader(storeOf))) {
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
