import { MlvError } from '../base/errors.ts'
import { createOidHash, type Oid, oidOfBytes } from '../base/oid.ts'
import { cutObject } from './cut-object.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import type { StoreWriter } from './store-writer.ts'

/** What was deleted on purpose is not stored again. @param what holds the object, for the message: a path, or a url   @throws OBJECT_PURGED */
export function refusePurged(store: ObjectStore, oid: Oid, what: string): void {
  if (!store.isPurged(oid)) return
  store.loose?.remove(oid)
  throw new MlvError('OBJECT_PURGED', `${what} holds data that was purged (record ${KEYS.purged}${oid})`, {
    hint: what.includes('://') ? 'Leave it out, or have it deleted there, too.' : 'Delete the file, or list it in .mlvignore.',
  })
}

/** Stores an object whose oid nobody knows yet, as its bytes come in: in a cache or straight into a remote. Memory is bounded, whatever its size.
 *  Nothing counts as stored before the writer's finish() (and, in a cache, the loose objects' flush()).
 *  @param pieces fresh buffers, which are not written to again   @param what they are of, for messages   @returns its oid and size
 *  @throws OBJECT_PURGED */
export async function takeIn(
  pieces: AsyncIterable<Buffer>,
  { store, writer, what }: { store: ObjectStore; writer: StoreWriter; what: string },
): Promise<{ oid: Oid; size: number }> {
  const { looseFrom, chunkFrom } = store.policy
  const border = Math.min(looseFrom ?? Number.POSITIVE_INFINITY, chunkFrom ?? Number.POSITIVE_INFINITY)
  const source = pieces[Symbol.asyncIterator]()
  const held: Buffer[] = []
  let size = 0
  let step = await source.next()
  for (; !step.done && size < border; step = await source.next()) {
    held.push(step.value)
    size += step.value.length
  }
  if (step.done && size < border) {
    const bytes = held.length === 1 ? held[0]! : Buffer.concat(held)
    const oid = oidOfBytes(bytes)
    refusePurged(store, oid, what)
    if (!store.has(oid) && !writer.has(oid)) await writer.add(oid, bytes)
    return { oid, size }
  }
  const first = step
  async function* all(): AsyncGenerator<Buffer> {
    for (let piece = held.shift(); piece; piece = held.shift()) yield piece
    if (!first.done) yield first.value
    for (;;) {
      const next = await source.next()
      if (next.done) return
      yield next.value
    }
  }
  if (store.loose) {
    const stored = await store.loose.storePieces(all())
    refusePurged(store, stored.oid, what)
    return stored
  }
  const hash = createOidHash()
  let total = 0
  async function* hashed(): AsyncGenerator<Buffer> {
    for await (const piece of all()) {
      hash.update(piece)
      total += piece.length
      yield piece
    }
  }
  const { chunks, single } = await cutObject(hashed(), store, writer)
  const oid = hash.digest()
  refusePurged(store, oid, what)
  if (store.has(oid) || writer.has(oid)) return { oid, size: total }
  if (chunks.length < 2) await writer.add(oid, single)
  else await writer.addRecipe(oid, chunks)
  return { oid, size: total }
}
