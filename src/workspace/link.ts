import { randomBytes } from 'node:crypto'
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { chmod, link, rename, rm, symlink } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { temporaryName, writeFileAtomic } from '../base/atomic.ts'
import { CANNOT_LINK, cloneFile } from '../base/clone-file.ts'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { makeFolders } from '../base/make-folders.ts'
import { type Oid, oidOfFile } from '../base/oid.ts'
import type { CheckedObjects } from './checked-objects.ts'
import type { LinkType } from './config.ts'
import { copyToNew } from './copy-file.ts'
import { copyHashed } from './copy-hashed.ts'
import { parseFolderUrl } from './folder-url.ts'
import type { Project } from './project.ts'

const DEFAULT_TYPES: LinkType[] = ['reflink', 'copy']

function makeLink(type: LinkType, from: string, to: string): void {
  if (type === 'hardlink') linkSync(from, to)
  else if (type === 'symlink') symlinkSync(resolve(from), to)
  else copyFileSync(from, to, constants.COPYFILE_EXCL | (type === 'reflink' ? constants.COPYFILE_FICLONE_FORCE : 0))
}

/** Tries every link type for real, from a file in one folder to one in the other; leaves nothing behind. Both folders must exist.
 *  @returns those that work, `copy` always among them   @throws FILE_UNWRITABLE, DISK_FULL */
export function probeLinks(cacheDir: string, workspaceDir: string): LinkType[] {
  const name = `.mlv-tmp-${randomBytes(6).toString('hex')}-probe`
  const from = join(cacheDir, name)
  const to = join(workspaceDir, `${name}-link`)
  const works = (type: LinkType) => {
    try {
      makeLink(type, from, to)
      // A file system may take a link and lose what it leads to.
      return readFileSync(to, 'utf8') === name
    } catch (error) {
      if (CANNOT_LINK.includes(systemCode(error) ?? '')) return false
      throw fileError(error, 'writing', to)
    } finally {
      rmSync(to, { force: true })
    }
  }
  try {
    faultPoint('probe: write')
    writeFileSync(from, name, { flag: 'wx' })
    chmodSync(from, 0o444)
    return [...(['reflink', 'hardlink', 'symlink'] as const).filter(works), 'copy']
  } catch (error) {
    throw fileError(error, 'writing', from)
  } finally {
    rmSync(from, { force: true })
  }
}

/** In a cache that may only be read nothing can be tried; placing falls back to a copy where a link cannot be made. */
const UNPROBED: readonly LinkType[] = ['reflink', 'hardlink', 'symlink', 'copy']

function mayWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(systemCode(error) ?? '')) return false
    throw fileError(error, 'reading', folder)
  }
}

function readProbes(path: string): Record<string, LinkType[]> {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, LinkType[]>) : {}
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return {}
    throw fileError(error, 'reading', path)
  }
}

/** The cache's folder: cache.dir, or store/ in .git/mlv. @throws CONFIG_INVALID */
export function cacheFolder(project: Pick<Project, 'root' | 'homeDir' | 'config' | 'surroundings'>): string {
  const dir = project.config.get('cache.dir')
  const folder = dir === undefined ? join(project.homeDir, 'store') : parseFolderUrl(dir, project.root, project.surroundings.env)
  if (folder === undefined)
    throw new MlvError('CONFIG_INVALID', `cache.dir is "${dir}", which is not a folder`, {
      hint: 'Run "mlv config set cache.dir FOLDER --local".',
    })
  return folder
}

/** Whether the cache was moved to where other clones may use it, too. */
export function isCacheShared(project: Parameters<typeof cacheFolder>[0]): boolean {
  const below = relative(project.homeDir, cacheFolder(project))
  return below.startsWith('..') || isAbsolute(below)
}

/** The link types that work between the cache and the workspace, probed once per pair of file systems and kept in state/.
 *  @throws CONFIG_INVALID, FILE_UNWRITABLE */
export function workingLinks(project: Project): LinkType[] {
  const cache = cacheFolder(project)
  makeFolders(cache)
  const key = `${statSync(cache).dev}:${statSync(project.root).dev}`
  const file = join(project.homeDir, 'state', 'links.json')
  const probes = readProbes(file)
  const known = probes[key]
  if (Array.isArray(known) && known.includes('copy')) return known
  if (!mayWrite(cache)) return [...UNPROBED]
  // In .mlv/, so that no watcher or git status sees the probe among the data.
  const found = probeLinks(cache, join(project.root, '.mlv'))
  writeFileAtomic(file, `${JSON.stringify({ ...probes, [key]: found })}\n`, { flush: false })
  return found
}

/** The link types to place files with, in order: those of cache.link that work, else reflink where it works, then copy. */
export function chosenLinks(project: Project): LinkType[] {
  const asked = project.config.get('cache.link') ?? DEFAULT_TYPES
  const working = asked.every((type) => type === 'copy') ? (['copy'] as LinkType[]) : workingLinks(project)
  const chosen = asked.filter((type) => working.includes(type))
  return chosen.includes('copy') ? chosen : [...chosen, 'copy']
}

export interface PlaceOptions {
  /** tried in order; copy is the last resort, listed or not */
  types: LinkType[]
  /** permission bits of a copy; links are read-only (0444), because they share the cache's bytes. An executable is always copied */
  mode: number
  /** for objects that others may have written: what was placed must hash to this before it gets its name. A copy is hashed as it is written; a
   *  link only if the file was not found whole before */
  verify?: { oid: Oid; checked: CheckedObjects }
  /** a copy of the same bytes, to be taken where one is wanted */
  spare?: string
}

/** @returns false when this file system cannot */
async function tryLink(type: LinkType, from: string, to: string, { verify, spare }: PlaceOptions): Promise<boolean> {
  try {
    faultPoint(`file: ${type}`)
    if (type === 'copy' && spare && (await takeSpare(spare, to))) return true
    if (type === 'copy' && verify) refuseAltered(verify.oid, await copyHashed(from, to))
    else if (type === 'hardlink') await link(from, to)
    else if (type === 'symlink') await symlink(resolve(from), to)
    else if (type === 'reflink') return await cloneFile(from, to)
    else await copyToNew(from, to)
    return true
  } catch (error) {
    if (type === 'copy' || !CANNOT_LINK.includes(systemCode(error) ?? '')) throw error
    await rm(to, { force: true })
    return false
  }
}

/** @returns false where it is gone, or on another disk */
async function takeSpare(spare: string, to: string): Promise<boolean> {
  try {
    await rename(spare, to)
    return true
  } catch (error) {
    if (!['ENOENT', 'EXDEV'].includes(systemCode(error) ?? '')) throw error
    await rm(spare, { force: true })
    return false
  }
}

/** Makes a link to the cache read-only. @returns false, with the link removed, where that is another user's writable file */
async function isProtected(path: string): Promise<boolean> {
  if ((statSync(path).mode & 0o222) === 0) return true
  try {
    await chmod(path, 0o444)
    return true
  } catch (error) {
    if (!['EPERM', 'EACCES'].includes(systemCode(error) ?? '')) throw error
    await rm(path, { force: true })
    return false
  }
}

/** @throws OBJECT_CORRUPT */
function refuseAltered(oid: Oid, found: Oid): void {
  if (found === oid) return
  throw new MlvError('OBJECT_CORRUPT', `The object ${oid} in the cache does not hash to its name`, {
    hint: 'Run "mlv pull" to fetch it again.',
  })
}

/** @param before the object's file, as it was before it was linked to   @throws OBJECT_CORRUPT */
function verifyLinked(linked: string, before: Stats, { oid, checked }: NonNullable<PlaceOptions['verify']>): void {
  if (checked.has(oid, before)) return
  refuseAltered(oid, oidOfFile(linked))
  checked.note(oid, before)
}

/** Makes `to` hold the bytes of the cache file `from`: under a temporary name first, then renamed over whatever was there.
 *  The folder of `to` must exist.
 *  @returns the link type that worked   @throws OBJECT_MISSING when `from` is gone, OBJECT_CORRUPT when it is not what `verify` says, DISK_FULL, FILE_UNWRITABLE */
export async function placeFile(from: string, to: string, options: PlaceOptions): Promise<LinkType> {
  const executable = (options.mode & 0o111) !== 0
  const shares = (type: LinkType) => type === 'hardlink' || type === 'symlink'
  const types: LinkType[] = [...options.types.filter((type) => type !== 'copy' && !(executable && shares(type))), 'copy']
  const temporary = temporaryName(to)
  try {
    for (const type of types) {
      // A symbolic link to nothing could be made as well.
      if (type === 'symlink') statSync(from)
      const before = options.verify && statSync(from)
      if (!(await tryLink(type, from, temporary, options))) continue
      if (type === 'hardlink') {
        if (!(await isProtected(temporary))) continue
      } else if (type !== 'symlink') await chmod(temporary, options.mode)
      if (before && type !== 'copy') verifyLinked(temporary, before, options.verify!)
      faultPoint('file: name')
      await rename(temporary, to)
      return type
    }
    throw new Error('copy is always tried')
  } catch (error) {
    await rm(temporary, { force: true })
    if (
      systemCode(error) === 'ENOENT' &&
      statSync(dirname(to), { throwIfNoEntry: false }) &&
      !statSync(from, { throwIfNoEntry: false })
    )
      throw new MlvError('OBJECT_MISSING', `The cache no longer has ${from}`, {
        hint: 'Run "mlv fetch", then the command again.',
        cause: error,
      })
    throw fileError(error, 'writing', to)
  }
}
