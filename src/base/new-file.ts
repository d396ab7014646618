import { closeSync, constants, fsync, openSync, statfsSync, unlinkSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { systemCode } from './errors.ts'
import { offsetInPage, PAGE_BYTES, sharedBuffer } from './pages.ts'
import { writeAll, writePiece, writePieces } from './write-piece.ts'

/** A file that is written once, from its start to its end, and then flushed. */
export interface NewFile {
  readonly fd: number
  /** Takes the next bytes, which may change as soon as it has come true. One call at a time. @throws system errors */
  write(bytes: Uint8Array): Promise<void>
  /** Writes what is left; the file is then as long as what was written, and still to be flushed. @throws system errors */
  end(): Promise<void>
  /** Flushes what end() has written. @throws system errors */
  sync(): Promise<void>
  /** Waits for what is still being written. Safe to repeat. */
  close(): Promise<void>
}

/** Up to this size a file is written at once: the way to a thread and back costs more, four times 0.1 ms. */
const AT_ONCE_TO = 64 << 10
/** From this size on bytes go past the page cache. A file that is flushed at once gains nothing from lying there first: through it, a GiB costs 0.7 s
 *  of CPU and 1.0 s, past it 0.2 s and 0.5 s. */
const DIRECT_FROM = 4 << 20
/** Written at once past the page cache, a multiple of every block size. */
const STAGE_BYTES = 2 << 20
/** Whole pages that are worth a write of their own; fewer are copied to the stage. */
const IN_PLACE_FROM = 512 << 10
/** The last write is filled up to a multiple of this, and the file is cut afterwards. */
const BLOCK_BYTES = 64 << 10
/** Written but unflushed bytes after which a flush begins beside the reading, so that the last one is short. */
const FLUSH_EVERY = 256 << 20

/** f_type of file systems on disks and in the memory of this machine: ext4 (and 2, 3), tmpfs, overlayfs, XFS. Others may be a server's, or share blocks. */
const LOCAL_TYPES = [0xef53, 0x01021994, 0x794c7630, 0x58465342]

/** Whether a file system copies and writes on this machine alone, byte by byte. @throws system errors */
export function isLocal(path: string): boolean {
  return LOCAL_TYPES.includes(statfsSync(path).type)
}

/** Makes a file that is not there yet. @param size bytes it will have, as far as they are known   @throws system errors, EEXIST among them */
export async function createNewFile(path: string, mode: number, size?: number): Promise<NewFile> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_DIRECT } = constants
  if (size !== undefined && size <= AT_ONCE_TO) return writeAtOnce(openSync(path, O_WRONLY | O_CREAT | O_EXCL, mode))
  const openPlain = () => open(path, O_WRONLY | O_CREAT | O_EXCL, mode)
  if (O_DIRECT === undefined || (size !== undefined && size < DIRECT_FROM) || !isLocal(dirname(path)))
    return writePlain(await openPlain())
  try {
    return writeDirect(await open(path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT, mode), async () => {
      unlinkSync(path)
      return openPlain()
    })
  } catch (error) {
    if (systemCode(error) !== 'EINVAL') throw error
    // Linux makes the file before it finds out that this file system always uses the page cache.
    unlinkSync(path)
    return writePlain(await openPlain())
  }
}

const flush = promisify(fsync)

function writeAtOnce(fd: number): NewFile {
  let isOpen = true
  return {
    fd,
    async write(bytes) {
      writeAll(fd, bytes)
    },
    async end() {},
    sync: () => flush(fd),
    async close() {
      // Its number may be another file's by now.
      if (isOpen) closeSync(fd)
      isOpen = false
    },
  }
}

function writePlain(file: FileHandle): NewFile {
  let at = 0
  let unflushed = 0
  let flushing: Promise<void> = Promise.resolve()
  return {
    fd: file.fd,
    async write(bytes) {
      await writePiece(file, bytes, at)
      at += bytes.length
      unflushed += bytes.length
      if (unflushed < FLUSH_EVERY) return
      await flushing
      unflushed = 0
      flushing = file.datasync()
      flushing.catch(() => {})
    },
    end: () => flushing,
    sync: () => file.sync(),
    async close() {
      await Promise.allSettled([flushing])
      await file.close()
    },
  }
}

const NOTHING = new Uint8Array()
const free: Buffer[] = []

/** @param reopen gives an empty file for the same name that is written through the page cache */
function writeDirect(first: FileHandle, reopen: () => Promise<FileHandle>): NewFile {
  let file = first
  let plain: NewFile | undefined
  let stage = free.pop() ?? sharedBuffer(STAGE_BYTES)
  let isOpen = true
  let used = 0
  let at = 0
  let isPadded = false
  let total = 0
  let writing: Promise<void> = Promise.resolve()

  /** @param more whole pages, to be written behind the stage */
  async function writeStage(full: Buffer, length: number, more: Uint8Array): Promise<void> {
    if (!plain) await writePages(full, length, more)
    if (plain) {
      await plain.write(full.subarray(0, length))
      await plain.write(more)
    }
    free.push(full)
  }

  /** Writes past the page cache. Where the first write shows that this cannot be, nothing is written, and from then on `plain` writes. */
  async function writePages(full: Buffer, length: number, more: Uint8Array): Promise<void> {
    const padded = more.length > 0 ? length : Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES
    isPadded = padded > length
    try {
      await writePieces(file, [full.subarray(0, padded), more], at)
      at += length + more.length
    } catch (error) {
      // A disk with larger blocks, or memory that does not begin at a page after all.
      if (systemCode(error) !== 'EINVAL' || at > 0) throw error
      await file.close()
      file = await reopen()
      plain = writePlain(file)
    }
  }

  /** Begins to write what has come together; the one before must be done. */
  async function launch(more: Uint8Array = NOTHING): Promise<void> {
    await writing
    writing = writeStage(stage, used, more)
    writing.catch(() => {})
    stage = free.pop() ?? sharedBuffer(STAGE_BYTES)
    used = 0
  }

  /** Writes what lies in memory as it lies on the disk from where it is. @returns how much of it, behind which a part of a page is left */
  async function writeInPlace(bytes: Uint8Array): Promise<number> {
    const head = -used & (PAGE_BYTES - 1)
    const body = (bytes.length - head) & -PAGE_BYTES
    if (offsetInPage(bytes) !== used % PAGE_BYTES || body < IN_PLACE_FROM) return 0
    stage.set(bytes.subarray(0, head), used)
    used += head
    await launch(bytes.subarray(head, head + body))
    await writing
    return head + body
  }

  return {
    get fd() {
      return file.fd
    },
    async write(bytes) {
      total += bytes.length
      for (let done = await writeInPlace(bytes); done < bytes.length; ) {
        const length = Math.min(bytes.length - done, STAGE_BYTES - used)
        stage.set(bytes.subarray(done, done + length), used)
        used += length
        done += length
        if (used === STAGE_BYTES) await launch()
      }
    },
    async end() {
      if (used > 0) await launch()
      await writing
      if (plain) await plain.end()
      else if (isPadded) await file.truncate(at)
      // What is stored must be what was hashed, to its last byte.
      const { size } = await file.stat()
      if (size !== total) throw new Error(`a new file has ${size} bytes, not the ${total} written to it`)
    },
    sync: () => file.sync(),
    async close() {
      await Promise.allSettled([writing])
      // Given back twice it would be two files' at once.
      if (isOpen) free.push(stage)
      isOpen = false
      await (plain ?? file).close()
    },
  }
}
