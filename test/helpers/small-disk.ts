import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Mounts a disk of so many MiB, in memory, on a folder. @returns what takes it away; undefined where this user may not */
export function mountSmallDisk(folder: string, mebibytes: number): (() => void) | undefined {
  const options = ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder]
  if (process.platform !== 'linux' || spawnSync('mount', options).status !== 0) return undefined
  return () => void spawnSync('umount', ['-l', folder])
}

/** Fills the disk of a folder but for so many KiB. @returns what frees it again */
export function fillDisk(folder: string, leaves: number): () => void {
  const [filler, spare] = [join(folder, 'filler'), join(folder, 'spare')]
  writeUntilFull(spare, leaves << 10)
  writeUntilFull(filler, Number.POSITIVE_INFINITY)
  rmSync(spare)
  return () => rmSync(filler)
}

function writeUntilFull(path: string, most: number): void {
  const fd = openSync(path, 'wx')
  const block = Buffer.alloc(64 << 10, 1)
  try {
    for (let done = 0; done < most; ) {
      const written = writeSync(fd, block, 0, Math.min(block.length, most - done))
      if (written === 0) return
      done += written
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(fd)
  }
}

/** Mounts a disk on a folder whose file system can give two files the same blocks (XFS). @returns what takes it away; undefined where this user may not, or
 *  mkfs.xfs is missing */
export function mountCloningDisk(folder: string): (() => void) | undefined {
  if (process.platform !== 'linux') return undefined
  const image = mkdtempSync(join(tmpdir(), 'mlv-xfs-'))
  const path = join(image, 'disk')
  const run = (program: string, ...args: string[]) => spawnSync(program, args).status === 0
  const drop = () => rmSync(image, { recursive: true, force: true })
  writeFileSync(path, '')
  // The smallest that mkfs.xfs makes; only what is written takes space.
  truncateSync(path, 320 << 20)
  if (run('mkfs.xfs', '-q', '-m', 'reflink=1', path) && run('mount', '-o', 'loop', path, folder))
    return () => {
      run('umount', '-l', folder)
      drop()
    }
  drop()
  return undefined
}
