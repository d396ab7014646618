import { statSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import type { GitPlace } from './git.ts'

/** One line of what git tells a pre-push hook. */
export interface PushedRef {
  local: string
  /** undefined when the ref is deleted on the remote */
  localCommit: string | undefined
  remote: string
  /** what the remote has now; undefined when the ref is new there */
  remoteCommit: string | undefined
}

function idOrNone(text: string): string | undefined {
  return /^0+$/.test(text) ? undefined : text
}

/** Parses the standard input of a pre-push hook (githooks(5)): `LOCAL-REF LOCAL-ID REMOTE-REF REMOTE-ID` per line. @throws USAGE */
export function parsePushedRefs(text: string): PushedRef[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const found = /^(.+) ([0-9a-f]{40,64}) (.+) ([0-9a-f]{40,64})$/.exec(line)
    if (!found)
      throw new MlvError('USAGE', `Not a line that git gives a pre-push hook: "${line.slice(0, 100)}"`, {
        hint: 'git runs this command itself; push data by hand with "mlv push".',
      })
    const [, local, localId, remote, remoteId] = found as unknown as [string, string, string, string, string]
    return { local, localCommit: idOrNone(localId), remote, remoteCommit: idOrNone(remoteId) }
  })
}

/** Whether a post-checkout hook stands at the end of a branch switch that can have changed pointers: not after `git checkout -- FILE`,
 *  not where the commit is the same, and not amid a rebase, whose end has its own hook. */
export function isSwitch(place: GitPlace, previous: string, next: string, flag: string): boolean {
  if (flag !== '1' || previous === next) return false
  return !['rebase-merge', 'rebase-apply'].some((name) => statSync(join(place.gitDir, name), { throwIfNoEntry: false }))
}
