import { mapBounded } from '../base/concurrency.ts'
import { DIGEST_HERE } from '../base/digester.ts'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { asBuffer, type Blobs } from './blobs.ts'
import { type ForeignPlace, type ForeignReader, parseForeign } from './foreign.ts'
import { KEYS, PACK_BYTES } from './layout.ts'
import type { LooseObjects } from './loose.ts'
import type { ObjectStore, ReadOptions } from './object-store.ts'
import type { Location } from './pack-index.ts'
import type { Presence } from './presence.ts'
import { planRanges, type Range, rangeOf } from './ranges.ts'
import { createChunkReader, type Lost } from './read-chunks.ts'
import { readPieces } from './read-pieces.ts'
import { type Chunk, parseRecipe } from './recipe.ts'

export interface ReaderParts {
  blobs: Blobs
  presence: Presence
  loose: LooseObjects | undefined
  /** lists the indexes again */
  refresh(): Promise<unknown>
  /** Notes what proved wrong, so that it is sought elsewhere. @param objects of the pack; undefined: the pack is gone */
  giveUp(pack: Oid, objects: readonly Oid[] | undefined): Promise<void>
  /** moves a corrupt whole object out of the way */
  setLooseAside(oid: Oid): void
  /** reads objects that stay in buckets of their own; undefined where nothing gives access to them */
  foreign: ForeignReader | undefined
}

type Reader = Pick<ObjectStore, 'read' | 'readEach' | 'readRecipes' | 'readForeign' | 'stream'>

/** Reads objects wherever they lie. Nothing is handed on before it was hashed, but for pieces of large objects. */
export function createReader({ blobs, presence, loose, refresh, giveUp, setLooseAside, foreign }: ReaderParts): Reader {
  function corrupt(oid: Oid): MlvError {
    return new MlvError('OBJECT_CORRUPT', `The object ${oid} in ${blobs.url} does not hash to its name`, {
      hint: 'Run "mlv pull" to fetch it again, or push it again from a clone that has it.',
    })
  }

  /** Why an object that has no good place cannot be had. */
  function missing(oid: Oid): MlvError {
    if (presence.isPurged(oid))
      return new MlvError('OBJECT_PURGED', `The object ${oid} was purged from ${blobs.url} (record ${KEYS.purged}${oid})`, {
        hint: 'It was deleted on purpose and cannot be brought back; remove what refers to it.',
      })
    if (presence.isCorrupt(oid)) return corrupt(oid)
    return new MlvError('OBJECT_MISSING', `The object ${oid} is not in ${blobs.url}`, {
      hint: 'Run "mlv pull", or push it from a clone that has it.',
    })
  }

  const readChunks = createChunkReader({ url: blobs.url, presence, readPack, take, leave, corrupt, missing })
  const find = (oid: Oid) => (presence.isPurged(oid) ? undefined : presence.locate(oid))
  const isLoose = (oid: Oid) => loose !== undefined && !presence.isPurged(oid) && loose.has(oid)

  /** @returns undefined when the pack is gone; fewer bytes when it was cut short */
  async function readPack(range: Range, signal: AbortSignal | undefined, into?: Buffer): Promise<Buffer | undefined> {
    try {
      return asBuffer(await blobs.get(KEYS.pack(range.pack), { start: range.start, end: range.end, into, signal }))
    } catch (error) {
      if (hasCode(error, 'BLOB_MISSING')) return undefined
      throw error
    }
  }

  /** The bytes of one place out of those of its range. Bytes may be altered on their way: what does not hash to its name is read once more. */
  async function take(
    range: Range,
    bytes: Buffer,
    place: Location,
    signal: AbortSignal | undefined,
  ): Promise<Buffer | undefined> {
    const at = place.offset - range.start
    const object = bytes.subarray(at, at + place.length)
    if (oidOfBytes(object) === place.oid) return object
    const again = await readPack(rangeOf(place), signal)
    return again && oidOfBytes(again) === place.oid ? again : undefined
  }

  /** After this the objects are sought elsewhere. A pack that is gone may have been packed anew, so the indexes are listed again. */
  async function leave(lost: readonly Lost[]): Promise<void> {
    if (lost.some(({ packGone }) => packGone)) await refresh()
    const packs = new Map<Oid, Oid[] | undefined>()
    for (const { place, packGone } of lost)
      packs.set(place.pack, packGone ? undefined : [...(packs.get(place.pack) ?? []), place.oid])
    for (const [pack, objects] of packs) await giveUp(pack, objects)
  }

  async function readEach(
    oids: Iterable<Oid>,
    each: (oid: Oid, bytes: Buffer) => void | Promise<void>,
    options: ReadOptions = {},
  ): Promise<void> {
    const failures = new Map<Oid, () => Error>()

    /** @returns what did not give its objects */
    async function pass(wanted: Iterable<Oid>): Promise<Lost[]> {
      const places: Location[] = []
      const wholes: Oid[] = []
      const lost: Lost[] = []
      for (const oid of wanted) {
        const found = find(oid)
        if (found?.type === 'bytes') places.push(found)
        else if (found || isLoose(oid)) wholes.push(oid)
        else if (!failures.has(oid)) failures.set(oid, () => missing(oid))
      }
      await mapBounded(planRanges(places), options.concurrency ?? 4, async (range) => {
        options.signal?.throwIfAborted()
        const bytes = await readPack(range, options.signal)
        for (const place of range.places) {
          const object = bytes && (await take(range, bytes, place, options.signal))
          if (!object) {
            lost.push({ place, packGone: !bytes })
            failures.set(place.oid, () => (bytes ? corrupt(place.oid) : missing(place.oid)))
            continue
          }
          failures.delete(place.oid)
          const wait = each(place.oid, object)
          if (wait) await wait
        }
      })
      await mapBounded(wholes, options.concurrency ?? 4, async (oid) => {
        let bytes: Buffer
        try {
          bytes = await readWhole(oid, options)
        } catch (error) {
          if (!hasCode(error, 'OBJECT_CORRUPT', 'OBJECT_MISSING', 'OBJECT_PURGED', 'TREE_INVALID')) throw error
          failures.set(oid, () => error)
          return
        }
        failures.delete(oid)
        await each(oid, bytes)
      })
      return lost
    }

    const lost = await pass(oids)
    if (lost.length > 0) {
      await leave(lost)
      await pass(lost.map(({ place }) => place.oid))
    }
    const first = failures.values().next().value
    if (first) throw first()
  }

  /** A large object that something takes for a small one. */
  async function readWhole(oid: Oid, options: ReadOptions): Promise<Buffer> {
    const size = find(oid)?.size ?? loose?.size(oid) ?? 0
    if (size > PACK_BYTES)
      throw new MlvError('TREE_INVALID', `The object ${oid} has ${size} bytes, more than what refers to it says`, {
        hint: 'What refers to it was made by a broken or hostile program; restore the pointer from an earlier commit.',
      })
    const pieces: Buffer[] = []
    for await (const piece of stream(oid, options)) pieces.push(piece)
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  }

  async function read(oid: Oid, options: ReadOptions = {}): Promise<Buffer> {
    let result: Buffer | undefined
    const keep = (_oid: Oid, bytes: Buffer) => {
      result = bytes
    }
    await readEach([oid], keep, options)
    return result!
  }

  async function* readLoose(oid: Oid, options: ReadOptions): AsyncGenerator<Buffer> {
    const path = loose!.path(oid)
    try {
      yield* verified(oid, readPieces(path, options), options.digester)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') throw missing(oid)
      if (hasCode(error, 'OBJECT_CORRUPT')) setLooseAside(oid)
      throw fileError(error, 'reading', path)
    }
  }

  async function* verified(oid: Oid, pieces: AsyncIterable<Buffer>, digester = DIGEST_HERE): AsyncGenerator<Buffer> {
    const hash = digester.stream()
    // A piece stays as it is until two more were taken: so long its hashing may last.
    let before: unknown
    for await (const piece of pieces) {
      const hashed = hash.update(piece)
      yield piece
      await before
      before = hashed
    }
    if ((await hash.digest()) !== oid) throw corrupt(oid)
  }

  /** A recipe does not hash to a name: one that makes no sense may have been altered on its way, and is read once more; then its pack is looked at.
   *  @returns undefined when there is none to go by at that place, which is known from then on */
  async function readRecipeOf(place: Location, signal: AbortSignal | undefined): Promise<Chunk[] | undefined> {
    const makesSense = (chunks: Chunk[] | undefined) => chunks?.every(({ oid }) => presence.locateChunk(oid)) === true
    await presence.loadChunkIndexes()
    let bytes: Buffer | undefined
    for (let tries = 0; tries < 2; tries++) {
      bytes = await readPack(rangeOf(place), signal)
      const chunks = bytes && readRecipe(bytes, place)
      if (makesSense(chunks)) return chunks
      if (!bytes) break
    }
    await leave([{ place, packGone: !bytes }])
    // In a sound pack it is what its writer wrote, whatever that is.
    return bytes && !presence.damage.isBad(place) ? parseRecipe(bytes, place.oid, place.size) : undefined
  }

  async function* stream(oid: Oid, options: ReadOptions = {}): AsyncGenerator<Buffer> {
    for (let tries = 0; tries < 2; tries++) {
      const found = find(oid)
      if (!found || (found.type === 'foreign' && isLoose(oid))) break
      if (found.type === 'foreign') {
        yield* verified(oid, readPlace(oid, await readForeign(oid, options), options))
        return
      }
      if (found.type === 'bytes') {
        yield await read(oid, options)
        return
      }
      const chunks = await readRecipeOf(found, options.signal)
      if (chunks) {
        yield* verified(oid, readChunks(oid, chunks, options), options.digester)
        return
      }
    }
    if (!isLoose(oid)) throw missing(oid)
    yield* readLoose(oid, options)
  }

  async function readForeign(oid: Oid, options: ReadOptions = {}): Promise<ForeignPlace> {
    for (let tries = 0; tries < 2; tries++) {
      const found = find(oid)
      if (found?.type !== 'foreign') break
      const bytes = await readPack(rangeOf(found), options.signal)
      if (bytes) return parseForeign(bytes, oid, found.size)
      await leave([{ place: found, packGone: true }])
    }
    throw missing(oid)
  }

  /** An object from its own bucket, with words for what may have happened to it there. */
  async function* readPlace(oid: Oid, place: ForeignPlace, options: ReadOptions): AsyncGenerator<Buffer> {
    const where = `s3://${place.bucket}/${place.key}${place.version === undefined ? '' : ` (version ${place.version})`}`
    if (!foreign) throw missing(oid)
    try {
      yield* foreign(place, options.signal)
    } catch (error) {
      if (hasCode(error, 'BLOB_MISSING'))
        throw new MlvError('OBJECT_MISSING', `${where} is gone, where the object ${oid} lies in place`, {
          hint: 'Bring it back there, or take what is there now with "mlv update".',
          cause: error,
        })
      if (!hasCode(error, 'FILE_CHANGED')) throw error
      throw new MlvError('OBJECT_CORRUPT', `${where} has changed since it was imported in place as the object ${oid}`, {
        hint: 'Bring the old version back there, or take the new one with "mlv update".',
        cause: error,
      })
    }
  }

  async function readRecipes(
    oids: Iterable<Oid>,
    each: (oid: Oid, chunks: readonly Chunk[] | undefined) => void,
    options: ReadOptions = {},
  ): Promise<void> {
    await presence.loadChunkIndexes()
    const places: Location[] = []
    for (const oid of oids) {
      const found = find(oid)
      if (found?.type === 'recipe') places.push(found)
    }
    await mapBounded(planRanges(places), options.concurrency ?? 4, async (range) => {
      options.signal?.throwIfAborted()
      const bytes = await readPack(range, options.signal)
      for (const place of range.places) {
        const at = place.offset - range.start
        each(place.oid, bytes && readRecipe(bytes.subarray(at, at + place.length), place))
      }
    })
  }

  function readRecipe(bytes: Buffer, place: Location): Chunk[] | undefined {
    try {
      return parseRecipe(bytes, place.oid, place.size)
    } catch (error) {
      if (hasCode(error, 'OBJECT_CORRUPT')) return undefined
      throw error
    }
  }

  return { read, readEach, readRecipes, readForeign, stream }
}
