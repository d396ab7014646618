import type { Duplex } from 'node:stream'

/** For `/bin/sh -c GATE NAME SHELL ARG…`: it becomes that shell once a line comes in through descriptor 3. When that closes without one, whoever started
 *  it died before it could note the command, and the command never runs. It answers with a line there when no such shell is found. */
export const GATE =
  'IFS= read -r mlv_gate <&3 || exit 125; command -v -- "$1" >/dev/null || { echo >&3; exit 127; }; exec "$@" 3<&-'

/** Holds a command back until it is known. */
export interface Gate {
  /** lets it begin */
  open(): void
  /** keeps it from beginning */
  close(): void
  /** Settles when the shell has begun, or will not. @returns whether it was found */
  passed: Promise<boolean>
}

/** @param stream the other end of descriptor 3 */
export function createGate(stream: Duplex): Gate {
  let found = true
  // It ended before it was let go.
  stream.on('error', () => {})
  stream.on('data', () => {
    found = false
  })
  return {
    open: () => stream.write('\n'),
    close: () => stream.destroy(),
    passed: new Promise((done) => stream.once('close', () => done(found))),
  }
}
