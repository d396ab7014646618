import { randomBytes } from 'node:crypto'
import { fchmodSync, futimesSync, rmSync, unlinkSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { cloneFile } from '../base/clone-file.ts'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { createNewFile, type NewFile } from '../base/new-file.ts'
import { createOidHash, type Oid } from '../base/oid.ts'
import { noteTemporaries, temporaryPath } from '../base/own-temporaries.ts'
import type { RootFolder } from '../base/root-folder.ts'
import { readInTurns } from './read-pieces.ts'
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

export interface StoreFileOptions {
  /** bytes, as far as they are known */
  size?: number
  /** where the file lies: then it is cloned where the file system can, and the clone is hashed */
  path?: string
  signal?: AbortSignal
  /** told each piece before it is hashed; it stays untouched until then */
  onPiece?: (piece: Buffer) => void
}

/** Writes whole objects: each to a temporary file, flushed, before it gets its name. */
export interface LooseWriter {
  /** Copies a file in, hashing what is copied. Durable after flush().
   *  @param source read from its start to its end, in order   @returns its oid and size */
  storeFile(source: Pick<FileHandle, 'read'>, options?: StoreFileOptions): Promise<{ oid: Oid; size: number }>
  /** Writes the pieces of an object as a store's stream() gives them: it ends with an error when they do not hash to `oid`.
   *  Durable after flush(). */
  storeStream(oid: Oid, pieces: AsyncIterable<Buffer>, options?: WriteOptions): Promise<number>
  /** Writes the pieces of an object that nobody has named yet. Durable after flush(). @returns its oid and size */
  storePieces(pieces: AsyncIterable<Buffer>): Promise<{ oid: Oid; size: number }>
  /** Gives away the spare copy of an object that was just stored: a file of the cache's disk, for its taker to rename. */
  takeSpare(oid: Oid): string | undefined
  /** Removes the spare copies that nobody took. */
  dropSpares(): void
}

/** @param root the store's folder   @param ports `settle` gives a finished file its name */
export function createLooseWriter(
  root: string,
  {
    top,
    makeFolder,
    settle,
  }: { top: RootFolder; makeFolder: (folder: string) => void; settle: (temporary: string, oid: Oid) => void },
): LooseWriter {
  const spares = new Map<Oid, string>()
  noteTemporaries(join(root, 'tmp'))

  /** @throws FILE_UNWRITABLE, DISK_FULL */
  function newTemporary(): string {
    top.check()
    const name = temporaryPath(join(root, 'tmp'), randomBytes(8).toString('hex'))
    try {
      makeFolder(join(root, 'tmp'))
    } catch (error) {
      throw fileError(error, 'writing', name)
    }
    return name
  }

  async function openTemporary({
    size,
    spare,
  }: WriteOptions): Promise<{ written: NewFile; name: string; spare: SpareCopy | undefined }> {
    const name = newTemporary()
    let written: NewFile
    try {
      faultPoint('object: open')
      written = await createNewFile(name, 0o444, size)
    } catch (error) {
      // Or the caller would take it for the file that it reads.
      throw fileError(error, 'writing', name)
    }
    return { written, name, spare: spare && !top.isShared() ? await createSpareCopy(`${name}-spare`) : undefined }
  }

  /** All but the flush, before it gets its name. */
  function finishFile(fd: number): void {
    top.shareFile(fd)
    futimesSync(fd, OBJECT_TIME, OBJECT_TIME)
    faultPoint('object: flush')
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
      finishFile(written.fd)
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

  async function storePieces(
    pieces: AsyncIterable<Buffer>,
    { size: expected, onPiece }: StoreFileOptions = {},
  ): Promise<{ oid: Oid; size: number }> {
    const hash = createOidHash()
    let oid: Oid | undefined
    const finish = () => {
      oid = hash.digest()
      return oid
    }
    const size = await write(hashed(pieces, hash, onPiece), finish, { size: expected })
    return { oid: oid!, size }
  }

  let clones = true

  /** @returns undefined where this file system cannot clone, or nothing lies there any more */
  async function storeClone(
    from: string,
    { signal, onPiece }: StoreFileOptions,
  ): Promise<{ oid: Oid; size: number } | undefined> {
    const name = newTemporary()
    let file: FileHandle | undefined
    try {
      faultPoint('object: clone')
      clones = await cloneFile(from, name)
      if (!clones) return undefined
      file = await open(name, 'r')
      const hash = createOidHash()
      let size = 0
      for await (const piece of hashed(readInTurns(file, signal), hash, onPiece)) size += piece.length
      fchmodSync(file.fd, 0o444)
      finishFile(file.fd)
      await file.sync()
      const oid = hash.digest()
      settle(name, oid)
      return { oid, size }
    } catch (error) {
      // The caller has it open, and finds out; what is missing is not the temporary file.
      if (!file && systemCode(error) === 'ENOENT') return undefined
      removeTemporary(name)
      throw fileError(error, 'writing', name)
    } finally {
      await file?.close()
    }
  }

  return {
    takeSpare(oid) {
      const spare = spares.get(oid)
      spares.delete(oid)
      return spare
    },
    dropSpares() {
      for (const spare of spares.values()) rmSync(spare, { force: true })
      spares.clear()
    },
    async storeFile(source, options = {}) {
      const cloned = options.path !== undefined && clones ? await storeClone(options.path, options) : undefined
      return cloned ?? storePieces(readInTurns(source, options.signal), options)
    },
    storeStream: (oid, pieces, options) => write(pieces, () => oid, options),
    storePieces: (pieces) => storePieces(pieces),
  }
}

/** Hashes pieces on their way. */
async function* hashed(
  pieces: AsyncIterable<Buffer>,
  hash: ReturnType<typeof createOidHash>,
  onPiece: StoreFileOptions['onPiece'],
): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    onPiece?.(piece)
    hash.update(piece)
    yield piece
  }
}

function removeTemporary(name: string): void {
  try {
    unlinkSync(name)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', name)
  }
}
