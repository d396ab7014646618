import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, hasCode, systemCode } from '../base/errors.ts'
import { makeFolders } from '../base/make-folders.ts'
import { isOwnerGone, type ProcessOwner, thisProcess } from '../base/process-state.ts'
import { recoverAside } from './aside.ts'

const PREFIX = 'mlv-exec-'
/** Says who works in the folder: JSON with `pid`, `host` and `machine`. */
const OWNER = 'owner'

/** Lets what lies in a folder be removed. Files stay as they are: they may be links into the cache. */
function unlockFolders(folder: string): void {
  chmodSync(folder, 0o700)
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) unlockFolders(join(folder, entry.name))
}

/** Removes a folder with all that commands left there, also below folders that they made read-only. */
function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw error
    unlockFolders(folder)
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** @returns what the system says where it does not let go of the folder: no reason to lose a result */
function tryRemove(folder: string): Error | undefined {
  try {
    removeFolder(folder)
    return undefined
  } catch (error) {
    if (!systemCode(error)) throw error
    return error as Error
  }
}

/** Removes folders whose mlv was killed, once the commands it had started are gone, too. Those of others are left alone. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue
    const folder = join(parent, name)
    try {
      if (lstatSync(folder).uid !== process.getuid?.()) continue
      if (!isOwnerGone(JSON.parse(readFileSync(join(folder, OWNER), 'utf8')) as ProcessOwner)) continue
      const homeDir = join(folder, 'mlv')
      recoverAside({ root: join(folder, 'work'), homeDir, stateDir: join(homeDir, 'state', 'main') }, false)
      removeFolder(folder)
    } catch (error) {
      // Being made, being removed by another, or its command still runs.
      if (!(error instanceof SyntaxError) && !systemCode(error) && !hasCode(error, 'LOCK_HELD')) throw error
    }
  }
}

/** Makes an empty folder of its own below `parent` for one task, and removes those that killed ones left. @throws PATH_MISSING, FILE_UNWRITABLE, DISK_FULL */
export function makeScratchFolder(parent: string): { folder: string; remove(): Error | undefined } {
  try {
    makeFolders(parent)
    sweep(parent)
    const folder = mkdtempSync(join(parent, PREFIX))
    writeFileSync(join(folder, OWNER), `${JSON.stringify(thisProcess())}\n`)
    return { folder, remove: () => tryRemove(folder) }
  } catch (error) {
    throw fileError(error, 'writing', parent)
  }
}
