import { chmodSync, lstatSync, mkdirSync, readdirSync, renameSync, type Stats, unlinkSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { flushFolder } from '../base/atomic.ts'
import { fileError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { isOid, type Oid, oidOfFile } from '../base/oid.ts'
import { openRootFolder } from '../base/root-folder.ts'
import { KEYS } from './layout.ts'
import { createLooseWriter, type LooseWriter, OBJECT_TIME } from './loose-writer.ts'

/** Whole objects as read-only files under objects/, so that they can be cloned or linked into the workspace. */
export interface LooseObjects extends LooseWriter {
  /** the store's folder */
  readonly root: string
  path(oid: Oid): string
  has(oid: Oid): boolean
  /** every object here, in no order */
  list(): Oid[]
  /** bytes; undefined when it is not here */
  size(oid: Oid): number | undefined
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
  const writer = createLooseWriter(root, { top, makeFolder, settle })

  function makeFolder(folder: string): void {
    const first = mkdirSync(folder, { recursive: true })
    for (let at = folder; first !== undefined && at.length >= first.length && at !== root; at = dirname(at)) top.shareFolder(at)
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
    ...writer,
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
