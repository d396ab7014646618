import { spawnSync } from 'node:child_process'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
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
