import { chmodSync, fchmodSync, type Stats, statSync } from 'node:fs'
import { MlvError } from './errors.ts'

/** A folder that must stay the same one while it is written to, and whose permissions what is made below it shares. */
export interface RootFolder {
  /** Notes which folder it is, once there is one. */
  note(): void
  /** The same, and compares. @throws FILE_UNWRITABLE when it is no longer that one: it was deleted, replaced or unmounted */
  check(): void
  /** Gives a folder just made below it the root's permissions, setgid bit included, where the root's group may write: the umask of whoever
   *  made it must not keep the others out. */
  shareFolder(folder: string): void
  /** Whether it is meant for others to put files below: a group's, by its setgid bit, or everybody's. Where umask is 002 a folder of one's own is
   *  open to one's own group, too. */
  isShared(): boolean
  /** Lets those read a new file who may read the root; it stays read-only. */
  shareFile(fd: number): void
}

export function openRootFolder(root: string): RootFolder {
  let known: Stats | undefined

  function look(): Stats | undefined {
    known ??= statSync(root, { throwIfNoEntry: false })
    return known
  }

  /** permission bits of a root that its group may write to */
  function sharedMode(): number | undefined {
    const mode = look()?.mode
    return mode !== undefined && (mode & 0o020) !== 0 ? mode & 0o3777 : undefined
  }

  return {
    note: () => void look(),
    check() {
      if (!known) return void look()
      const now = statSync(root, { throwIfNoEntry: false })
      if (now?.ino === known.ino && now.dev === known.dev) return
      throw new MlvError('FILE_UNWRITABLE', `The folder ${root} ${now ? 'was replaced' : 'vanished'} while it was written to`, {
        hint: 'Check that its disk is mounted, then run the command again.',
      })
    },
    isShared() {
      const mode = look()?.mode ?? 0
      return (mode & 0o2020) === 0o2020 || (mode & 0o002) !== 0
    },
    shareFolder(folder) {
      const mode = sharedMode()
      if (mode !== undefined) chmodSync(folder, mode)
    },
    shareFile(fd) {
      const mode = sharedMode()
      if (mode !== undefined) fchmodSync(fd, (mode & 0o444) | 0o400)
    },
  }
}
