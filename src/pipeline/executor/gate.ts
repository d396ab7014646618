import type { Duplex } from 'node:stream'

/** For `/bin/sh -c GATE NAME PROGRAM ARG…`: it becomes that program once a line comes in through descriptor 3. When that closes without one, whoever
 *  started it died before it could note the command, and the command never runs. */
export const GATE = 'IFS= read -r mlv_gate <&3 || exit 125; exec "$@" 3<&-'

/** Holds a command back until it is known. */
export interface Gate {
  /** lets it begin */
  open(): void
  /** keeps it from beginning */
  close(): void
}

/** @param stream the other end of descriptor 3 */
export function createGate(stream: Duplex): Gate {
  // It ended before it was let go.
  stream.on('error', () => {})
  // Nothing comes back; but a stream that nobody reads is not closed when its other end is.
  stream.resume()
  return { open: () => stream.end('\n'), close: () => stream.destroy() }
}
