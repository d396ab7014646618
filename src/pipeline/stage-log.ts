import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileError } from '../base/errors.ts'
import type { Project } from '../workspace/project.ts'

/** When a log has grown to this it begins anew and the earlier part goes to `.1`: at least the last 16 MiB are kept. */
const MOST_BYTES = 16 << 20

/** The log of a stage's last run in this worktree; `.1` behind it is the part before. */
export function logPath(project: Pick<Project, 'homeDir' | 'stateDir'>, stage: string): string {
  return join(project.homeDir, 'logs', basename(project.stateDir), `${stage}.log`)
}

export interface StageLog {
  write(bytes: Uint8Array): void
  close(): void
}

/** Opens an empty log. @throws FILE_UNWRITABLE, DISK_FULL */
export function openLog(path: string): StageLog {
  let written = 0
  const act = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw fileError(error, 'writing', path)
    }
  }
  const open = () => act(() => openSync(path, 'w'))
  act(() => mkdirSync(dirname(path), { recursive: true }))
  act(() => rmSync(`${path}.1`, { force: true }))
  let fd = open()
  return {
    write(bytes) {
      if (written >= MOST_BYTES) {
        act(() => closeSync(fd))
        act(() => renameSync(path, `${path}.1`))
        fd = open()
        written = 0
      }
      for (let at = 0; at < bytes.length; ) at += act(() => writeSync(fd, bytes, at))
      written += bytes.length
    },
    close: () => closeSync(fd),
  }
}
