import { existsSync, lstatSync, readlinkSync, renameSync, rmSync, type Stats, symlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { temporaryName } from '../base/atomic.ts'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { createLeftoverFinder } from '../base/leftover-names.ts'
import { makeFolders } from '../base/make-folders.ts'
import { oidOfBytes, oidOfFile } from '../base/oid.ts'
import { nameOf, type RepoPath } from '../base/paths.ts'
import type { BlobInfo, Blobs } from '../store/blobs.ts'
import { partBytes, s3Tag } from '../store/parts.ts'
import { walkTree } from '../store/tree-walk.ts'
import { parsePlace } from '../transport/place.ts'
import type { Entry } from './entry.ts'
import { findEntry, pagesFrom, type StoreFinder } from './find-entry.ts'
import { openBucket } from './open-source.ts'
import { refuseGitFolder, refuseHolder } from './outside-git.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'
import type { UrlSource } from './source.ts'
import { checkParents } from './tracked.ts'

/** A file that is to lie at the destination. */
interface ExportedFile {
  /** below the destination; '' for the destination itself */
  path: string
  entry: Entry & { kind: 'file' | 'exec' | 'link' }
  pieces(): AsyncIterable<Buffer>
}

/** Where plain files are written to. */
interface Destination {
  /** what lies there under the file's name; `link`: what such a place cannot hold */
  look(file: ExportedFile): Promise<'absent' | 'same' | 'differs' | 'link'>
  /** Removes what a killed export had begun for the files looked at. */
  sweep(): void
  write(file: ExportedFile): Promise<void>
  close(): void
}

export interface ExportRequest {
  path: RepoPath
  revision: Revision
  /** s3://… with settings as an import has them, or a folder */
  to: UrlSource
  /** overwrite files that differ */
  force: boolean
  dryRun: boolean
}

export interface Exported {
  /** files written, or to be written */
  files: number
  bytes: number
  /** files that were there already */
  same: number
  /** symbolic links, which a bucket has none of */
  links: RepoPath[]
}

/** Files looked at and written at once; each holds up to some parts of memory. */
const FILES_AT_ONCE = 4
/** Times that a file is written again whose beginnings others took away. */
const TRIES = 2

function s3Destination(blobs: Blobs, there: Map<string, BlobInfo>, name: string, signal?: AbortSignal): Destination {
  // A single file takes the last name of the url.
  const keyOf = (file: ExportedFile) => file.path || name
  return {
    close: () => blobs.close?.(),
    // A bucket shows nothing that is not whole.
    sweep() {},
    async look(file) {
      if (file.entry.kind === 'link') return 'link'
      const found = there.get(keyOf(file))
      if (!found) return 'absent'
      if (found.size !== file.entry.size) return 'differs'
      return (await s3Tag(file.pieces(), file.entry.size)) === found.etag ? 'same' : 'differs'
    },
    async write(file) {
      const { size, oid } = file.entry
      if (size > partBytes(size)) return blobs.putStream!(keyOf(file), file.pieces(), { size, signal })
      const held: Buffer[] = []
      for await (const piece of file.pieces()) held.push(piece)
      await blobs.put(keyOf(file), Buffer.concat(held), { oid, signal })
    },
  }
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    if (systemCode(error) !== 'ENOTDIR') throw fileError(error, 'reading', path)
    throw new MlvError('PATH_OVERLAP', `${dirname(path)} is a file, or lies below one, where a folder belongs`, {
      hint: 'Export to another place, or move it away.',
    })
  }
}

function folderDestination(folder: string): Destination {
  const absolute = (file: ExportedFile) => (file.path === '' ? folder : join(folder, file.path))
  const leftoversOf = createLeftoverFinder()
  const leftovers = new Set<string>()

  async function write(file: ExportedFile, triesLeft: number): Promise<void> {
    const path = absolute(file)
    const temporary = temporaryName(path)
    try {
      makeFolders(dirname(path))
      checkParents(folder, file.path as RepoPath)
      faultPoint('file: open')
      if (file.entry.kind === 'link') symlinkSync(await collect(file.pieces()), temporary)
      else await writePieces(temporary, file)
      faultPoint('file: name')
      renameSync(temporary, path)
    } catch (error) {
      // Another export to this place took it for a leftover.
      if (systemCode(error) === 'ENOENT' && triesLeft > 0) return await write(file, triesLeft - 1)
      rmSync(temporary, { force: true })
      throw fileError(error, 'writing', path)
    }
  }

  return {
    close() {},
    sweep() {
      for (const path of leftovers) rmSync(path, { force: true })
    },
    async look(file) {
      const path = absolute(file)
      checkParents(folder, file.path as RepoPath)
      for (const left of leftoversOf(path)) leftovers.add(left)
      const stats = lookAt(path)
      if (!stats) return 'absent'
      if (stats.isDirectory())
        throw new MlvError('PATH_OVERLAP', `${path} is a folder, where a file belongs`, {
          hint: 'Export to another place, or move it away.',
        })
      const { oid, kind } = file.entry
      if (kind === 'link') return stats.isSymbolicLink() && oidOfBytes(readlinkSync(path)) === oid ? 'same' : 'differs'
      return stats.isFile() && stats.size === file.entry.size && oidOfFile(path) === oid ? 'same' : 'differs'
    },
    write: (file) => write(file, TRIES),
  }
}

/** Flushed: after a power loss a name over bytes that are not there would be another file, which is not overwritten unasked. */
async function writePieces(path: string, { entry, pieces }: ExportedFile): Promise<void> {
  const handle = await open(path, 'wx', entry.kind === 'exec' ? 0o777 : 0o666)
  try {
    for await (const piece of pieces()) {
      faultPoint('file: write')
      await handle.writeFile(piece)
    }
    faultPoint('file: flush')
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function collect(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const held: Buffer[] = []
  for await (const piece of pieces) held.push(piece)
  return Buffer.concat(held)
}

async function openDestination(project: Project, { to, path }: ExportRequest, isFile: boolean): Promise<Destination> {
  const { cwd, env, signal } = project.surroundings
  const place = parsePlace(to.url, { root: cwd, env })
  if (place.kind === 'folder') {
    // As cp does it: a file goes into a folder that is there.
    const isInto = isFile && existsSync(`${place.folder}/.`)
    refuseGitFolder(project, place.folder)
    if (!isInto) refuseHolder(project, place.folder)
    return folderDestination(isInto ? join(place.folder, nameOf(path)) : place.folder)
  }
  if (place.kind === 'http')
    throw new MlvError('USAGE', `${to.url} cannot be written to`, { hint: 'Give a folder or s3://BUCKET/PREFIX.' })
  const cut = isFile ? place.prefix.lastIndexOf('/') : place.prefix.length
  const name = place.prefix.slice(cut + 1)
  if (isFile && name === '')
    throw new MlvError('USAGE', `${to.url} names no file`, { hint: 'Write s3://BUCKET/PREFIX/NAME for a single file.' })
  const blobs = await openBucket(project, to, place.bucket, place.prefix.slice(0, Math.max(0, cut)))
  const there = new Map<string, BlobInfo>()
  for await (const blob of blobs.list(isFile ? name : '', signal)) there.set(blob.key, blob)
  return s3Destination(blobs, there, name, signal)
}

/** @param top the path that is exported, for messages */
async function* filesOf(
  entry: Entry,
  top: RepoPath,
  { storeOf, signal }: { storeOf: StoreFinder; signal?: AbortSignal },
): AsyncGenerator<ExportedFile> {
  async function* pieces(file: Entry, path = ''): AsyncGenerator<Buffer> {
    try {
      yield* (await storeOf(file.oid)).stream(file.oid, { signal })
    } catch (error) {
      if (!hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED', 'OBJECT_CORRUPT')) throw error
      throw new MlvError(error.code, `${path === '' ? top : `${top}/${path}`}: ${error.message}`, {
        hint: error.hint,
        cause: error,
      })
    }
  }
  if (entry.kind !== 'tree') {
    yield { path: '', entry, pieces: () => pieces(entry) }
    return
  }
  for await (const { path, entry: file } of walkTree(entry.oid, pagesFrom(storeOf), '', entry))
    if (file.kind !== 'tree') yield { path, entry: file, pieces: () => pieces(file, path) }
}

/** Writes what a revision has at a path as plain files under plain names, for programs that know nothing of mlv. Files that are there already
 *  are left alone; nothing is deleted. All names are looked at before the first is written.
 *  @throws PATH_MISSING, USAGE; PATH_INVALID inside a git folder; PATH_OVERLAP where another file lies, unless `force`; and what the destination throws */
export async function exportPath(project: Project, request: ExportRequest): Promise<Exported> {
  const { signal, progress } = project.surroundings
  const { entry, storeOf } = await findEntry(project, request.revision, request.path)
  const destination = await openDestination(project, request, entry.kind !== 'tree')
  const at = project.config.get('core.jobs') ?? FILES_AT_ONCE
  try {
    const result: Exported = { files: 0, bytes: 0, same: 0, links: [] }
    const wanted: ExportedFile[] = []
    const different: string[] = []
    await mapBounded(filesOf(entry, request.path, { storeOf, signal }), at, async (file) => {
      const found = await destination.look(file)
      if (found === 'same') result.same++
      else if (found === 'link') result.links.push(file.path as RepoPath)
      else wanted.push(file)
      if (found === 'differs') different.push(file.path)
    })
    if (different.length > 0 && !request.force) {
      const more = different.length > 1 ? ` (and ${different.length - 1} more)` : ''
      throw new MlvError('PATH_OVERLAP', `${request.to.url} has another file at "${different.sort()[0]}"${more}`, {
        hint: 'Export to another place, or overwrite what is there with --force.',
      })
    }
    result.files = wanted.length
    result.bytes = wanted.reduce((sum, file) => sum + file.entry.size, 0)
    if (request.dryRun) return result
    destination.sweep()
    const task = progress.start('exporting', result.bytes)
    try {
      await mapBounded(wanted, at, async (file) => {
        signal?.throwIfAborted()
        await destination.write(file)
        task.advance(file.entry.size)
      })
    } finally {
      task.finish()
    }
    return result
  } finally {
    destination.close()
  }
}
