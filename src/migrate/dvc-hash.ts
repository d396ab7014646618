import { createHash, type Hash } from 'node:crypto'
import { constants, lstatSync, readdirSync, realpathSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError, systemCode } from '../base/errors.ts'
import { joinPath, nameProblem } from '../base/paths.ts'
import type { Ignore } from '../workspace/ignore.ts'
import type { DvcEntry, DvcHash } from './dvc-out.ts'

const PIECE_BYTES = 1 << 20
/** Only so much of a piece decides whether it is text. */
const LOOKED_AT = 512

/** Whether DVC 2 took a piece for text: dvc_data/hashfile/istextfile.py. */
function isText(piece: Uint8Array): boolean {
  const block = piece.subarray(0, LOOKED_AT)
  let odd = 0
  for (const byte of block) {
    if (byte === 0) return false
    if ((byte < 32 || byte > 126) && ![8, 9, 10, 12, 13].includes(byte)) odd++
  }
  return block.length === 0 || odd / block.length <= 0.3
}

function withoutReturns(piece: Buffer): Buffer {
  return Buffer.from(piece.toString('latin1').replaceAll('\r\n', '\n'), 'latin1')
}

/** MD5 as DVC computes it; `md5-dos2unix`, which DVC 2 used, leaves the returns of text out, piece by piece of 1 MiB. */
export interface Md5 {
  update(bytes: Uint8Array): void
  digest(): string
}

export function createMd5(hash: DvcHash): Md5 {
  const md5: Hash = createHash('md5')
  if (hash === 'md5') return { update: (bytes) => void md5.update(bytes), digest: () => md5.digest('hex') }
  const piece = Buffer.alloc(PIECE_BYTES)
  let length = 0
  const flush = () => {
    const full = piece.subarray(0, length)
    md5.update(isText(full) ? withoutReturns(full) : full)
    length = 0
  }
  return {
    update(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const taken = Math.min(bytes.length - at, PIECE_BYTES - length)
        piece.set(bytes.subarray(at, at + taken), length)
        length += taken
        at += taken
        if (length === PIECE_BYTES) flush()
      }
    },
    digest() {
      if (length > 0) flush()
      return md5.digest('hex')
    },
  }
}

export function md5OfBytes(bytes: Uint8Array, hash: DvcHash): string {
  const md5 = createMd5(hash)
  md5.update(bytes)
  return md5.digest()
}

/** What DVC sees at a path of the workspace. Links into DVC's own cache stand for the files they lead to. */
export type DvcKind = 'file' | 'exec' | 'folder' | 'linked' | undefined

/** @param caches absolute folders that DVC links from */
export function kindAt(path: string, caches: readonly string[]): DvcKind {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats?.isFile()) return (stats.mode & 0o100) !== 0 ? 'exec' : 'file'
    if (stats?.isDirectory()) return 'folder'
    if (!stats?.isSymbolicLink()) return undefined
    const target = realpathSync(path)
    return caches.some((cache) => target.startsWith(`${cache}/`)) && lstatSync(target).isFile() ? 'linked' : undefined
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(systemCode(error) ?? '')) return undefined
    throw fileError(error, 'reading', path)
  }
}

/** @throws FILE_UNREADABLE */
export async function openToRead(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw fileError(error, 'reading', path)
  }
}

export async function md5OfFile(path: string, hash: DvcHash): Promise<string> {
  const file = await openToRead(path)
  try {
    const md5 = createMd5(hash)
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length, null)
      if (bytesRead === 0) return md5.digest()
      md5.update(piece.subarray(0, bytesRead))
    }
  } catch (error) {
    throw fileError(error, 'reading', path)
  } finally {
    await file.close()
  }
}

/** The files below a folder as DVC lists them: without what .dvcignore leaves out, and without empty folders. */
export async function listFolder(
  root: string,
  folder: string,
  options: { hash: DvcHash; ignore: Ignore; caches: readonly string[] },
): Promise<DvcEntry[]> {
  const entries: DvcEntry[] = []
  const walk = async (below: string): Promise<void> => {
    for (const name of readdirSync(join(root, folder, below))) {
      const path = joinPath(below, name)
      const full = join(root, folder, path)
      const kind = kindAt(full, options.caches)
      if (kind === undefined || ['.git', '.hg', '.dvc'].includes(name)) continue
      if (options.ignore.ignores(joinPath(folder, path), kind === 'folder')) continue
      if (kind === 'folder') await walk(path)
      else entries.push({ path, md5: await md5OfFile(full, options.hash) })
    }
  }
  await walk('')
  return entries
}

/** Folders below one of the workspace that hold nothing which counts: DVC's lists do not tell of them. */
export function emptyFolders(root: string, folder: string, ignores: Ignore['ignores']): string[] {
  const found: string[] = []
  const walk = (below: string): void => {
    let empty = true
    for (const item of readdirSync(join(root, folder, below), { withFileTypes: true })) {
      const path = joinPath(below, item.name)
      if (ignores(joinPath(folder, path), item.isDirectory())) continue
      empty = false
      if (item.isDirectory() && nameProblem(item.name) === undefined) walk(path)
    }
    if (empty && below !== '') found.push(below)
  }
  walk('')
  return found
}

/** Text as Python's json module writes it: all beyond ASCII escaped. */
function pythonText(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => {
    const code = unit.charCodeAt(0)
    return code === 0x7f ? unit : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** Python compares texts by code points. */
function compareCodePoints(a: string, b: string): number {
  const [x, y] = [Array.from(a), Array.from(b)]
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!
    if (difference !== 0) return difference
  }
  return x.length - y.length
}

/** The MD5 that names a folder in DVC, without `.dir`: that of its list as JSON (dvc_data/hashfile/tree.py). */
export function md5OfListing(entries: readonly DvcEntry[]): string {
  const sorted = [...entries].sort((a, b) => compareCodePoints(a.path, b.path))
  const rows = sorted.map(({ md5, path }) => `{"md5": "${md5}", "relpath": ${pythonText(path)}}`)
  return createHash('md5')
    .update(`[${rows.join(', ')}]`)
    .digest('hex')
}
