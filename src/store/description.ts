import { hasCode, MlvError } from '../base/errors.ts'
import { Again, repeat } from '../base/repeat.ts'
import type { Blobs } from './blobs.ts'
import { formatDescription, KEYS, newDescription, parseDescription, type StoreDescription } from './layout.ts'

const FIRST_PAUSE_MS = 50
/** Readings until two in a row agree; with pauses that triple, 6 s pass. */
const READINGS = 6

/** No name says what mlv.json must hold. So what two readings in a row say counts as what lies there; the bytes of others were altered on their way. */
function readUntilSure(blobs: Blobs): Promise<Uint8Array> {
  let before: Uint8Array | undefined
  return repeat(
    async (number) => {
      const now = await blobs.get(KEYS.description, { checked: true })
      if (number === READINGS || (before && Buffer.compare(before, now) === 0)) return now
      before = now
      return new Again()
    },
    { first: FIRST_PAUSE_MS },
  )
}

async function readDescription(blobs: Blobs, purpose: 'read' | 'write', certain: boolean): Promise<StoreDescription> {
  try {
    if (!certain) return parseDescription(await blobs.get(KEYS.description, { checked: true }), blobs.url, purpose)
  } catch (error) {
    if (!hasCode(error, 'STORE_INVALID', 'STORE_TOO_NEW')) throw error
  }
  return parseDescription(await readUntilSure(blobs), blobs.url, purpose)
}

/** Reads what a store says of itself; of a new place to write to, makes it.
 *  @param options certain: it will be written back, so that no fault of the line may get into it
 *  @throws STORE_INVALID, STORE_TOO_NEW, and what the blobs throw */
export async function describe(
  blobs: Blobs,
  purpose: 'read' | 'write',
  options: { certain: boolean } = { certain: false },
): Promise<StoreDescription> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await readDescription(blobs, purpose, options.certain)
    } catch (error) {
      if (!hasCode(error, 'BLOB_MISSING')) throw error
      if (attempt > 0)
        throw new MlvError('STORE_INVALID', `${blobs.url} holds packs but no mlv.json`, {
          hint: 'Restore mlv.json from a backup of the store, or give another prefix with "mlv remote modify".',
          cause: error,
        })
    }
    // With packs, either somebody has just made the store, or its description was lost.
    if ((await holdsAny(blobs, 'index/')) || (await holdsAny(blobs, 'packs/'))) continue
    const fresh = newDescription()
    if (purpose === 'read') return fresh
    // Of two that make it at once, one wins and both read the winner's.
    if ((await blobs.put(KEYS.description, Buffer.from(formatDescription(fresh)), { ifAbsent: true })) === 'written') return fresh
  }
}

async function holdsAny(blobs: Blobs, prefix: string): Promise<boolean> {
  for await (const _ of blobs.list(prefix)) return true
  return false
}
