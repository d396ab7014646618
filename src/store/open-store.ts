import { dirname, join } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { createOidHash, type Oid } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import type { Blobs } from './blobs.ts'
import { CHUNK_FROM, formatDescription, KEYS, newDescription, parseDescription, type StoreDescription } from './layout.ts'
import { createLooseObjects } from './loose.ts'
import type { ObjectStore, ReadOptions } from './object-store.ts'
import type { Location } from './pack-index.ts'
import { asBuffer, createPresence, verifyObject } from './presence.ts'
import { type Chunk, parseRecipe } from './recipe.ts'
import { createStoreWriter } from './store-writer.ts'

export interface OpenOptions {
  /** a cache keeps large objects whole as files; a remote keeps packs alone */
  role: 'cache' | 'remote'
  /** write: makes the store when there is none; read: an absent store is empty */
  purpose: 'read' | 'write'
  /** a folder for copies of a remote's indexes */
  stateDir?: string
  /** caches: objects of this many bytes and more lie whole */
  looseFrom?: number
}

/** Objects nearer than this are read as one range: a request costs more than the bytes between. */
const GAP_BYTES = 256 << 10
const RANGE_BYTES = 8 << 20

async function describe(blobs: Blobs, purpose: 'read' | 'write'): Promise<StoreDescription> {
  for (let attempt = 0; ; attempt++) {
    try {
      return parseDescription(await blobs.get(KEYS.description), blobs.url, purpose)
    } catch (error) {
      if (!hasCode(error, 'BLOB_MISSING') || attempt > 0) throw error
    }
    const fresh = newDescription()
    for await (const { key } of blobs.list('')) {
      if (/^(packs|index)\//.test(key))
        throw new MlvError('STORE_INVALID', `${blobs.url} holds packs but no mlv.json`, {
          hint: 'Restore mlv.json from a backup of the store, or give another prefix with "mlv remote modify".',
        })
      break
    }
    if (purpose === 'read') return fresh
    // Of two that make it at once, one wins and both read the winner's.
    if ((await blobs.put(KEYS.description, Buffer.from(formatDescription(fresh)), { ifAbsent: true })) === 'written') return fresh
  }
}

interface Range {
  pack: Oid
  start: number
  end: number
  places: Location[]
}

/** Groups places by pack and joins near ones, up to 8 MiB at a time. */
function planRanges(places: Location[]): Range[] {
  const ranges: Range[] = []
  places.sort((a, b) => (a.pack === b.pack ? a.offset - b.offset : compareUtf8(a.pack, b.pack)))
  let last: Range | undefined
  for (const place of places) {
    const end = place.offset + place.length
    if (last && last.pack === place.pack && place.offset - last.end <= GAP_BYTES && end - last.start <= RANGE_BYTES) {
      last.end = Math.max(last.end, end)
      last.places.push(place)
    } else {
      last = { pack: place.pack, start: place.offset, end, places: [place] }
      ranges.push(last)
    }
  }
  return ranges
}

/** Opens the store over blobs. @throws STORE_INVALID, STORE_TOO_NEW and what the blobs throw */
export async function openStore(blobs: Blobs, options: OpenOptions): Promise<ObjectStore> {
  const description = await describe(blobs, options.purpose)
  const copies = options.stateDir && join(options.stateDir, 'indexes', description.id)
  const presence = createPresence(blobs, copies)
  await presence.refresh(description)
  const described = options.role === 'cache' ? blobs.filePath?.(KEYS.description) : undefined
  const root = described === undefined ? undefined : dirname(described)
  const loose = root === undefined ? undefined : createLooseObjects(root)

  function missing(oid: Oid): MlvError {
    if (presence.isPurged(oid))
      return new MlvError('OBJECT_PURGED', `The object ${oid} was purged from ${blobs.url}`, {
        hint: 'It was deleted on purpose and cannot be brought back; remove what refers to it.',
      })
    return new MlvError('OBJECT_MISSING', `The object ${oid} is not in ${blobs.url}`, {
      hint: 'Run "mlv pull", or push it from a clone that has it.',
    })
  }

  function place(oid: Oid): Location {
    const found = presence.isPurged(oid) ? undefined : presence.locate(oid)
    if (!found) throw missing(oid)
    return found
  }

  async function readRange(range: Range, signal?: AbortSignal): Promise<Buffer> {
    const bytes = asBuffer(await blobs.get(KEYS.pack(range.pack), { start: range.start, end: range.end, signal }))
    if (bytes.length !== range.end - range.start)
      throw new MlvError('PACK_CORRUPT', `The pack ${range.pack} in ${blobs.url} is shorter than its index says`, {
        hint: 'Push it again from a clone that has the data.',
      })
    return bytes
  }

  async function readEach(
    oids: Iterable<Oid>,
    each: (oid: Oid, bytes: Buffer) => void | Promise<void>,
    read: ReadOptions = {},
  ): Promise<void> {
    const places: Location[] = []
    const wholes: Oid[] = []
    for (const oid of oids) {
      if (loose && !presence.locate(oid) && loose.has(oid)) wholes.push(oid)
      else {
        const found = place(oid)
        if (found.type === 'recipe') wholes.push(oid)
        else places.push(found)
      }
    }
    await mapBounded(planRanges(places), read.concurrency ?? 4, async (range) => {
      read.signal?.throwIfAborted()
      const bytes = await readRange(range, read.signal)
      for (const found of range.places) {
        const object = bytes.subarray(found.offset - range.start, found.offset - range.start + found.length)
        verifyObject(found.oid, object, blobs.url)
        const wait = each(found.oid, object)
        if (wait) await wait
      }
    })
    for (const oid of wholes) {
      const pieces: Buffer[] = []
      for await (const piece of stream(oid, read)) pieces.push(piece)
      await each(oid, pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces))
    }
  }

  async function read(oid: Oid, read: ReadOptions = {}): Promise<Buffer> {
    let result: Buffer | undefined
    await readEach(
      [oid],
      (_oid, bytes) => {
        result = bytes
      },
      read,
    )
    return result!
  }

  /** Chunks in order, the next few on their way while one is used. */
  async function* readChunks(chunks: Chunk[], options: ReadOptions): AsyncGenerator<Buffer> {
    await presence.loadChunkIndexes()
    // Chunks that follow each other in a pack, as they do in a first version, come as one range.
    const groups: { range: Range; chunks: Chunk[] }[] = []
    for (const chunk of chunks) {
      const found = place(chunk.oid)
      if (found.type !== 'bytes' || found.length !== chunk.length)
        throw new MlvError('OBJECT_CORRUPT', `The chunk ${chunk.oid} in ${blobs.url} is not what its recipe says`, {
          hint: 'Push the file again from a clone that has it.',
        })
      const last = groups.at(-1)
      if (
        last &&
        last.range.pack === found.pack &&
        last.range.end === found.offset &&
        found.offset + found.length - last.range.start <= RANGE_BYTES
      ) {
        last.range.end += found.length
        last.chunks.push(chunk)
      } else
        groups.push({
          range: { pack: found.pack, start: found.offset, end: found.offset + found.length, places: [] },
          chunks: [chunk],
        })
    }
    const ahead = Math.max(1, options.concurrency ?? 4)
    const flying: Promise<Buffer>[] = []
    for (let i = 0; i < groups.length; i++) {
      while (flying.length < ahead && i + flying.length < groups.length) {
        const flight = readRange(groups[i + flying.length]!.range, options.signal)
        flight.catch(() => {})
        flying.push(flight)
      }
      const bytes = await flying.shift()!
      let at = 0
      for (const chunk of groups[i]!.chunks) {
        const piece = bytes.subarray(at, at + chunk.length)
        verifyObject(chunk.oid, piece, blobs.url)
        at += chunk.length
        yield piece
      }
    }
  }

  async function* stream(oid: Oid, options: ReadOptions = {}): AsyncGenerator<Buffer> {
    if (presence.isPurged(oid)) throw missing(oid)
    const found = presence.locate(oid)
    if (!found && loose?.has(oid)) {
      yield* verified(oid, readFilePieces(loose.path(oid), options.signal), blobs.url)
      return
    }
    if (!found) throw missing(oid)
    if (found.type === 'bytes') {
      const bytes = await readRange(
        { pack: found.pack, start: found.offset, end: found.offset + found.length, places: [] },
        options.signal,
      )
      verifyObject(oid, bytes, blobs.url)
      yield bytes
      return
    }
    const recipe = await readRange(
      { pack: found.pack, start: found.offset, end: found.offset + found.length, places: [] },
      options.signal,
    )
    yield* verified(oid, readChunks(parseRecipe(recipe, oid, found.size), options), blobs.url)
  }

  return {
    blobs,
    description,
    policy: {
      looseFrom: loose ? (options.looseFrom ?? 1 << 20) : undefined,
      chunkFrom: options.role === 'remote' ? CHUNK_FROM : undefined,
    },
    loose,
    refresh: () => presence.refresh(description),
    has: (oid) =>
      presence.has(oid) || (loose !== undefined && !presence.isPurged(oid) && !presence.isCondemned(oid) && loose.has(oid)),
    locate: presence.locate,
    read,
    readEach,
    stream,
    loadChunkIndexes: presence.loadChunkIndexes,
    hasChunk: presence.hasChunk,
    writer: (writer = {}) =>
      createStoreWriter(blobs, {
        concurrency: writer.concurrency ?? 2,
        signal: writer.signal,
        onIndex: presence.adopt,
      }),
    async setAside(oid) {
      const found = presence.locate(oid)
      if (!found) {
        loose?.setAside(oid)
        return
      }
      presence.markCorrupt(oid, found.pack)
      await blobs.put(KEYS.corrupt(oid), Buffer.from(JSON.stringify({ packs: [found.pack] })))
      if (!description.records.includes('corrupt')) {
        description.records.push('corrupt')
        await blobs.put(KEYS.description, Buffer.from(formatDescription(description)))
      }
    },
    adopt: presence.adopt,
    close: () => blobs.close?.(),
  }
}

async function* verified(oid: Oid, pieces: AsyncIterable<Buffer>, url: string): AsyncGenerator<Buffer> {
  const hash = createOidHash()
  for await (const piece of pieces) {
    hash.update(piece)
    yield piece
  }
  if (hash.digest() !== oid)
    throw new MlvError('OBJECT_CORRUPT', `The object ${oid} in ${url} does not hash to its name`, {
      hint: 'Run "mlv pull" to fetch it again, or push it again from a clone that has it.',
    })
}

async function* readFilePieces(path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const { createReadStream } = await import('node:fs')
  yield* createReadStream(path, { highWaterMark: 4 << 20, signal }) as AsyncIterable<Buffer>
}
