import { chmodSync, createWriteStream, existsSync, lstatSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileError, MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { createLeftoverFinder, isAbandoned, LEFTOVER_AGE_MS, ownedName } from '../base/leftover-names.ts'
import type { Oid } from '../base/oid.ts'
import { isWithin, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { walkTree } from '../store/tree-walk.ts'
import type { Entry } from './entry.ts'
import { findEntries, pagesFrom, type StoreFinder } from './find-entry.ts'
import { refuseGitFolder, refuseHolder } from './outside-git.ts'
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

export interface Got {
  bytes: number
  /** of one file or tracked folder */
  oid?: Oid
  /** of a folder that git keeps: the tracked paths in it, below the folder */
  paths?: string[]
}

/** Writes a file or folder as it was at a revision, or all that is tracked in a folder that git keeps. It gets its name only when it is whole.
 *  @throws REVISION_UNKNOWN, PATH_MISSING, PATH_INVALID inside a git folder or around what the user works in, PATH_OVERLAP when something is
 *  there, OBJECT_MISSING */
export async function getPath(project: Project, request: GetRequest): Promise<Got> {
  const { path, out } = request
  refuseGitFolder(project, out)
  refuseHolder(project, out)
  refuseTaken(request)
  if (!existsSync(dirname(out)))
    throw new MlvError('PATH_MISSING', `No such folder: ${dirname(out)}`, { hint: `Make it with "mkdir -p ${dirname(out)}".` })
  const found = await findEntries(project, request.revision, path)
  const temporary = ownedName(out)
  try {
    for (const { target, entry, storeOf } of found) {
      const isInside = target.path !== path && isWithin(target.path, path)
      const to = isInside ? join(temporary, target.path.slice(path.length + 1)) : temporary
      if (isInside) mkdirSync(dirname(to), { recursive: true })
      if (entry.kind === 'tree') await writeFolder(storeOf, entry, to)
      else await writeFileFrom(await storeOf(entry.oid), entry, to)
    }
    // Somebody may have put something there meanwhile.
    refuseTaken(request)
    faultPoint('get: name')
    await giveName(temporary, out)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    throw fileError(error, 'writing', out)
  }
  // Not before: what a killed one had set aside may be all that is left of what lay there.
  sweepLeftovers(out)
  const bytes = found.reduce((sum, { entry }) => sum + entry.size, 0)
  const [first] = found
  if (found.length === 1 && isWithin(path, first!.target.path)) return { bytes, oid: first!.entry.oid }
  return { bytes, paths: found.map(({ target }) => target.path.slice(path.length + 1)) }
}

function sweepLeftovers(out: string): void {
  for (const path of createLeftoverFinder()(out)) {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats && (isAbandoned(path) || Date.now() - stats.mtimeMs > LEFTOVER_AGE_MS))
      rmSync(path, { recursive: true, force: true })
  }
}

/** @throws PATH_OVERLAP where something lies that was not given up, or another repository would go with it */
function refuseTaken({ out, force }: GetRequest): void {
  if (!lstatSync(out, { throwIfNoEntry: false })) return
  if (!force)
    throw new MlvError('PATH_OVERLAP', `${out} is there already`, {
      hint: 'Name another place with -o, or overwrite it with --force.',
    })
  if (existsSync(join(out, '.git')))
    throw new MlvError('PATH_OVERLAP', `${out} is a git repository`, { hint: 'Name another place with -o.' })
}

/** What lay there waits beside it until the new one has the name. */
async function giveName(temporary: string, out: string): Promise<void> {
  const isFolder = (path: string) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory()
  const isTaken = lstatSync(out, { throwIfNoEntry: false }) && (isFolder(out) || isFolder(temporary))
  const aside = isTaken ? ownedName(out) : undefined
  if (aside) await rename(out, aside)
  try {
    await rename(temporary, out)
  } catch (error) {
    if (aside) await rename(aside, out)
    throw error
  }
  if (aside) rmSync(aside, { recursive: true, force: true })
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
