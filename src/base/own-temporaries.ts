import { readdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { hasEnded, machineMark } from './process-state.ts'

/** Folders in which this process makes files that have no final name yet. */
const folders = new Set<string>()

/** How the names of such files begin, in all threads of the process; what follows is unique. */
const ownStart = () => `${process.pid}-${machineMark()}-`

/** Where a new file lies until it has its name. @param unique no other file of this process is called so */
export function temporaryPath(folder: string, unique: string): string {
  return join(folder, `${ownStart()}${unique}`)
}

/** Lets removeOwnTemporaries look into a folder, in which threads may make them, too. */
export function noteTemporaries(folder: string): void {
  folders.add(folder)
}

/** Whether a file in such a folder is of a process of this machine that has ended. @param ownMachine nobody else writes there */
export function isOfEnded(name: string, ownMachine: boolean): boolean {
  const [, pid, machine] = /^(\d+)-(?:([0-9a-f]{8})-)?/.exec(name) ?? []
  if (pid === undefined || !(machine === undefined ? ownMachine : machine === machineMark())) return false
  return hasEnded(Number(pid))
}

/** Removes what this process has begun, for an end that waits for nothing. What cannot be removed is left to the next sweep. */
export function removeOwnTemporaries(): void {
  for (const folder of folders) for (const name of namesIn(folder)) if (name.startsWith(ownStart())) tryUnlink(join(folder, name))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** A thread that still runs may have given it its name. */
function tryUnlink(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // There is nobody left to tell.
  }
}
