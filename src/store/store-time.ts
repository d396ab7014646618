import { hasCode } from '../base/errors.ts'
import type { Blobs } from './blobs.ts'
import type { StoreContent } from './content.ts'
import { KEYS } from './layout.ts'

/** What time it is by the clock that dates the blobs of a place, in ms since 1970: what is old must not depend on the clock of whoever asks.
 *  Where nothing may be written it is the time of the newest pack or index, which makes all else look younger than it is. */
export async function readStoreTime(blobs: Blobs, content: StoreContent): Promise<number> {
  try {
    await blobs.put(KEYS.clock, Buffer.from('\n'))
    const written = await blobs.head(KEYS.clock)
    if (written) return written.modified
  } catch (error) {
    if (!hasCode(error, 'REMOTE_DENIED', 'FILE_UNWRITABLE')) throw error
  }
  return [...content.packs.values(), ...content.indexes].reduce((newest, { modified }) => Math.max(newest, modified), 0)
}
