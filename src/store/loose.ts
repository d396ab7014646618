import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  unlinkSync,
  utimesSync,
} from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { flushFolder } from '../base/atomic.ts'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { createNewFile, type NewFile } from '../base/new-file.ts'
import { createOidHash, isOid, type Oid, oidOfFile } from '../base/oid.ts'
import { noteTemporaries, temporaryPath } from '../base/own-temporaries.ts'
import { openRootFolder } from '../base/root-folder.ts'
import { KEYS } from './layout.ts'
import { counted, readInTurns } from './read-pieces.ts'
import { createSpareCopy, type SpareCopy } from './spare-copy.ts'

/** Seconds since 1970 that every whole object's file carries. One with another time has been written to, for instance through a link. */
export const OBJECT_TIME = 1_000_000_000

interface WriteOptions {
  /** bytes, as far as they are known */
  size?: number
  /** pieces to write instead when the first prove wrong; those lie at the path meanwhile */
  again?: (path: string) => AsyncIterable<Buffer>
  /** write a spare copy, too */
  spare?: boolean
}

/** Whole objects as read-only files under objects/, so that they can be cloned or linked into the workspace. */
export interface LooseObjects {
  /** the store's folder */
  readonly root: string
  path(oid: Oid): string
  has(oid: Oid): boolean
  /** every object here, in no order */
  list(): Oid[]
  /** bytes; undefined when it is not here */
  size(oid: Oid): number | undefined
  /** Copies a file in, hashing what is copied. Durable after flush().
   *  @param source read from its start to its end, in order   @returns its oid and size */
  storeFile(
    source: Pick<FileHandle, 'read'>,
    options?: { size?: number; signal?: AbortSignal; onBytes?: (count: number) => void },
  ): Promise<{ oid: Oid; size: number }>
  /** Writes the pieces of an object as a store's stream() gives them: it ends with an error when they do not hash to `oid`.
   *  Durable after flush(). */
  storeStream(oid: Oid, pieces: AsyncIterable<Buffer>, options?: WriteOptions): Promise<number>
  /** Writes the pieces of an object that nobody has named yet. Durable after flush(). @returns its oid and size */
  storePieces(pieces: AsyncIterable<Buffer>): Promise<{ oid: Oid; size: number }>
  /** Gives away the spare copy of an object that was just stored: a file of the cache's disk, for its taker to rename. */
  takeSpare(oid: Oid): string | undefined
  /** Removes the spare copies that nobody took. */
  dropSpares(): void
  /** When the file was last stored or linked to, by the clock of the disk, in ms since 1970: its time of change, since all bear one time of
   *  writing. undefined when it is not here */
  changedAt(oid: Oid): number | undefined
  /** Forgets what was listed, so that what others stored or deleted is seen. */
  relist(): void
  /** Takes note of an object that another thread has stored. */
  adopt(oid: Oid): void
  /** Makes the names of all that was stored durable. */
  flush(): void
  /** Reads an object again if its file was written to since it was stored, and sets it aside when it is no longer what its name says.
   *  @returns whether it is whole   @throws FILE_UNREADABLE */
  check(oid: Oid): boolean
  /** Whether another user may have written it, or put another file in its place, with any bytes and its name, mode and time: it must be hashed
   *  whenever it is used. */
  isShared(oid: Oid): boolean
  /** Moves a corrupt object out of the way. */
  setAside(oid: Oid): void
  /** Deletes an object. @returns its bytes; 0 where there is none */
  remove(oid: Oid): number
}

export function createLooseObjects(root: string): LooseObjects {
  const folders = new Set<string>()
  /** names per fan-out folder, listed on first use: a question per small object must not be a system call each */
  const listed = new Map<string, Set<string>>()
  const path = (oid: Oid) => join(root, KEYS.object(oid))
  const top = openRootFolder(root)
  const spares = new Map<Oid, string>()
  noteTemporaries(join(root, 'tmp'))

  function makeFolder(folder: string): void {
    const first = mkdirSync(folder, { recursive: true })
    for (let at = folder; first !== undefined && at.length >= first.length && at !== root; at = dirname(at)) top.shareFolder(at)
  }

  async function openTemporary({
    size,
    spare,
  }: WriteOptions): Promise<{ written: NewFile; name: string; spare: SpareCopy | undefined }> {
    top.check()
    const name = temporaryPath(join(root, 'tmp'), randomBytes(8).toString('hex'))
    let written: NewFile
    try {
      makeFolder(join(root, 'tmp'))
      faultPoint('object: open')
      written = await createNewFile(name, 0o444, size)
    } catch (error) {
      // Or the caller would take it for the file that it reads.
      throw fileError(error, 'writing', name)
    }
    return { written, name, spare: spare && !top.isShared() ? await createSpareCopy(`${name}-spare`) : undefined }
  }

  function settle(temporary: string, oid: Oid): void {
    const final = path(oid)
    const folder = dirname(final)
    makeFolder(folder)
    faultPoint('object: name')
    renameSync(temporary, final)
    adopt(oid)
  }

  function adopt(oid: Oid): void {
    folders.add(dirname(path(oid)))
    listed.get(oid.slice(0, 2))?.add(oid)
  }

  /** Writes pieces to a temporary file, each while the next one is made; a piece stays untouched until two more were taken. */
  async function write(pieces: AsyncIterable<Buffer>, finish: () => Oid, options: WriteOptions = {}): Promise<number> {
    const { again, ...once } = options
    const { written, name, spare } = await openTemporary(options)
    let size = 0
    let writing: Promise<void> = Promise.resolve()
    async function writeNext(piece: Buffer): Promise<void> {
      faultPoint('object: write')
      await Promise.all([written.write(piece), spare?.write(piece)])
    }
    try {
      for await (const piece of pieces) {
        // The next piece is read and hashed while this one is written.
        await writing
        writing = writeNext(piece)
        writing.catch(() => {})
        size += piece.length
      }
      await writing
      const oid = finish()
      await written.end()
      top.shareFile(written.fd)
      futimesSync(written.fd, OBJECT_TIME, OBJECT_TIME)
      faultPoint('object: flush')
      await written.sync()
      await written.close()
      settle(name, oid)
      if (await spare?.end()) spares.set(oid, spare!.path)
      return size
    } catch (error) {
      await Promise.allSettled([writing])
      const mended = hasCode(error, 'OBJECT_CORRUPT') ? again : undefined
      await spare?.drop()
      try {
        if (!mended) throw fileError(error, 'writing', name)
        await written.end()
        return await write(mended(name), finish, once)
      } finally {
        await written.close().catch(() => {})
        removeTemporary(name)
      }
    }
  }

  async function storePieces(pieces: AsyncIterable<Buffer>, expected?: number): Promise<{ oid: Oid; size: number }> {
    const hash = createOidHash()
    let oid: Oid | undefined
    async function* hashed(): AsyncGenerator<Buffer> {
      for await (const piece of pieces) {
        hash.update(piece)
        yield piece
      }
    }
    const finish = () => {
      oid = hash.digest()
      return oid
    }
    const size = await write(hashed(), finish, { size: expected })
    return { oid: oid!, size }
  }

  return {
    root,
    path,
    adopt,
    has(oid) {
      const fan = oid.slice(0, 2)
      let names = listed.get(fan)
      if (!names) {
        names = listNames(dirname(path(oid)))
        listed.set(fan, names)
      }
      return names.has(oid)
    },
    list: () => [...listNames(join(root, 'objects'))].flatMap((fan) => [...listNames(join(root, 'objects', fan))].filter(isOid)),
    size: (oid) => lstatSync(path(oid), { throwIfNoEntry: false })?.size,
    changedAt: (oid) => lstatSync(path(oid), { throwIfNoEntry: false })?.ctimeMs,
    relist: () => listed.clear(),
    takeSpare(oid) {
      const spare = spares.get(oid)
      spares.delete(oid)
      return spare
    },
    dropSpares() {
      for (const spare of spares.values()) rmSync(spare, { force: true })
      spares.clear()
    },
    storeFile: (source, options = {}) => storePieces(counted(readInTurns(source, options.signal), options.onBytes), options.size),
    storeStream: (oid, pieces, options) => write(pieces, () => oid, options),
    storePieces,
    flush() {
      if (folders.size > 0) top.check()
      for (const folder of folders) flushFolder(folder)
      if (folders.size > 0) for (const above of [join(root, 'objects'), root]) flushFolder(above)
      folders.clear()
    },
    check(oid) {
      const from = path(oid)
      const stats = lstatSync(from, { throwIfNoEntry: false })
      if (!stats) return false
      if (stats.mtimeMs === OBJECT_TIME * 1000 && (stats.mode & 0o222) === 0 && !isOthers(stats)) return true
      if (oidOfFile(from) !== oid) {
        setAside(oid)
        return false
      }
      try {
        chmodSync(from, 0o444)
        utimesSync(from, OBJECT_TIME, OBJECT_TIME)
      } catch (error) {
        // Another user's cache: it is read again next time.
        if (!['EACCES', 'EPERM', 'EROFS', 'ENOENT'].includes(systemCode(error) ?? '')) throw fileError(error, 'writing', from)
      }
      return true
    },
    isShared(oid) {
      const stats = lstatSync(path(oid), { throwIfNoEntry: false })
      return stats !== undefined && (isOthers(stats) || top.isShared())
    },
    setAside,
    remove(oid) {
      const file = path(oid)
      listed.get(oid.slice(0, 2))?.delete(oid)
      try {
        const { size } = lstatSync(file)
        faultPoint('object: delete')
        unlinkSync(file)
        return size
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return 0
        throw fileError(error, 'deleting', file)
      }
    },
  }

  function setAside(oid: Oid): void {
    const from = path(oid)
    listed.get(oid.slice(0, 2))?.delete(oid)
    try {
      renameSync(from, `${from}.corrupt`)
    } catch (error) {
      // In a cache that may only be read it counts as missing for this process.
      if (!['ENOENT', 'EACCES', 'EPERM', 'EROFS'].includes(systemCode(error) ?? '')) throw fileError(error, 'moving', from)
    }
  }
}

function removeTemporary(name: string): void {
  try {
    unlinkSync(name)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', name)
  }
}

function isOthers(stats: Stats): boolean {
  return process.getuid !== undefined && stats.uid !== process.getuid()
}

function listNames(folder: string): Set<string> {
  try {
    return new Set(readdirSync(folder))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return new Set()
    throw fileError(error, 'reading', folder)
  }
}
