import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mapBounded } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import type { Oid } from '../base/oid.ts'
import { asBuffer, type BlobInfo, type Blobs } from './blobs.ts'
import { KEYS } from './layout.ts'
import { openIndex, type PackIndex, parseIndexKey } from './pack-index.ts'
import { findSuccessor } from './superseded.ts'

/** An index as its place lists it. */
export interface IndexFile extends BlobInfo {
  oid: Oid
  /** known by its name, and not in the listing, which is older */
  unlisted?: boolean
}

/** Indexes of one kind, those of objects or those of chunks. */
export interface Side {
  /** in use: none that a larger one repeats */
  open: Map<Oid, PackIndex>
  /** index/ as it was listed last */
  listed: IndexFile[]
  /** those that a larger open one repeats: not read, or no longer used */
  superseded: Set<Oid>
  /** sizes of the listed ones, in bytes */
  sizes: Map<Oid, number>
  /** by what they say they repeat, those that are or were open */
  claims: Map<Oid, PackIndex[]>
}

/** Indexes read at once. */
const READS = 8
/** How often index/ is listed again when indexes vanish between the listing and the reading. */
export const LISTINGS = 8

/** Answers when indexes prove broken: writes new ones in their place, or throws. */
export type MendIndexes = (broken: readonly { key: string; error: Error }[], named: ReadonlySet<Oid>) => Promise<Buffer[]>

export interface IndexSetOptions {
  /** a folder for copies of a remote's indexes; undefined where the blobs are as near */
  copies: string | undefined
  mend: MendIndexes
  /** look at every entry of an index before it is believed */
  thorough?: boolean
}

/** The indexes of a store: listed, read, mended where they are broken, and left aside where larger ones repeat them. */
export interface IndexSet {
  readonly objects: Side
  readonly chunks: Side
  /** Lists index/ and reads what is new; of chunks only once they were asked for. */
  read(): Promise<void>
  loadChunks(): Promise<void>
  /** takes in an index that was just written */
  adopt(oid: Oid, bytes: Buffer, chunks: boolean): void
  /** does without an index that says what is not so */
  discard(index: Oid): void
  /** all in use, of both kinds */
  all(): PackIndex[]
}

export function createIndexSet(blobs: Blobs, { copies, mend, thorough = false }: IndexSetOptions): IndexSet {
  const newSide = (): Side => ({ open: new Map(), listed: [], sizes: new Map(), superseded: new Set(), claims: new Map() })
  const objectSide = newSide()
  const chunkSide = newSide()
  const indexes = objectSide.open
  const chunkIndexes = chunkSide.open
  const discarded = new Set<Oid>()
  /** keys of those that were written here, or that took their place */
  const own = new Map<Oid, string>()

  function keepCopy(name: string, bytes: Buffer): void {
    if (!copies) return
    try {
      mkdirSync(copies, { recursive: true })
      faultPoint('index copy: write')
      writeFileSync(join(copies, name), bytes)
    } catch (error) {
      throw fileError(error, 'writing', copies)
    }
  }

  async function readIndex(key: string, oid: Oid): Promise<PackIndex | undefined> {
    const name = nameOf(key)
    if (copies) {
      try {
        return openIndex(readFileSync(join(copies, name)), oid)
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' && !hasCode(error, 'INDEX_CORRUPT')) throw fileError(error, 'reading', copies)
      }
    }
    for (let tries = 2; ; tries--) {
      try {
        const bytes = asBuffer(await blobs.get(key))
        const index = openIndex(bytes, oid)
        if (thorough) index.summarize()
        keepCopy(name, bytes)
        return index
      } catch (error) {
        // Merged into a larger one since it was listed; the next listing shows that one.
        if (hasCode(error, 'BLOB_MISSING')) return undefined
        // Broken on its way, perhaps: it is mended only if it is so again.
        if (!hasCode(error, 'INDEX_CORRUPT') || tries === 1) throw error
      }
    }
  }

  /** Reads the index that repeats a listed one which is gone, where the place tells which that is: the listing may not show it yet. */
  async function readSuccessor(side: Side, gone: IndexFile): Promise<PackIndex | undefined> {
    const found = await findSuccessor(blobs, gone.oid, side === chunkSide)
    const index = found && (await readIndex(found.info.key, found.oid))
    if (!index?.supersedes.includes(found!.repeats)) return undefined
    side.superseded.add(gone.oid)
    if (!side.sizes.has(index.oid)) {
      side.sizes.set(index.oid, found!.info.size)
      side.listed.push({ ...found!.info, oid: index.oid, unlisted: true })
    }
    return index
  }

  /** Reads what is listed and not yet open; broken ones are mended or thrown. The largest come first and alone, then more at a time: an
   *  index is larger than those it supersedes, so that these are hardly ever read.
   *  @returns false where one is gone since it was listed */
  async function readIndexes(side: Side): Promise<boolean> {
    const waiting = side.listed.filter(({ oid }) => !side.open.has(oid) && !discarded.has(oid)).sort((a, b) => b.size - a.size)
    const broken: { key: string; error: Error }[] = []
    let whole = true
    for (let next = 0, wave = 1; next < waiting.length; wave = Math.min(wave * 2, READS)) {
      const batch: IndexFile[] = []
      for (; next < waiting.length && batch.length < wave; next++)
        if (!side.superseded.has(waiting[next]!.oid)) batch.push(waiting[next]!)
      const fresh: PackIndex[] = []
      await mapBounded(batch, READS, async (file) => {
        const { key, oid } = file
        try {
          const index = (await readIndex(key, oid)) ?? (await readSuccessor(side, file))
          if (index) fresh.push(index)
          else whole = false
        } catch (error) {
          if (!hasCode(error, 'INDEX_CORRUPT')) throw error
          const { code, message, hint } = error
          broken.push({ key, error: new MlvError(code, `${blobs.url}: ${message}`, { hint, cause: error }) })
        }
      })
      for (const index of fresh) side.open.set(index.oid, index)
      leaveSuperseded(side, fresh)
    }
    if (broken.length > 0) await replaceBroken(side, broken)
    return whole
  }

  async function replaceBroken(side: Side, broken: readonly { key: string; error: Error }[]): Promise<void> {
    if (side === objectSide) await readIndexes(chunkSide)
    const named = new Set([...indexes.values(), ...chunkIndexes.values()].flatMap((index) => index.packs))
    for (const bytes of await mend(broken, named)) {
      const index = openIndex(bytes)
      indexes.set(index.oid, index)
    }
  }

  /** Notes what indexes that were just opened name as superseded, and whether others name them. Where both are open it must be true: an index that
   *  only says so would hide what it lacks. One that was not read must at least be smaller than what the larger one says of its own packs. */
  function leaveSuperseded(side: Side, opened: readonly PackIndex[]): void {
    for (const index of opened)
      for (const oid of index.supersedes) {
        const claimants = side.claims.get(oid)
        if (claimants) claimants.push(index)
        else side.claims.set(oid, [index])
      }
    const leave = (oid: Oid, larger: PackIndex) => {
      const other = side.open.get(oid)
      const isRepeated = other
        ? other.count <= larger.count && repeatsPacks(larger, other)
        : (side.sizes.get(oid) ?? 0) < (side.sizes.get(larger.oid) ?? 0) - 32 * larger.supersedes.length
      if (!isRepeated) return
      side.open.delete(oid)
      side.superseded.add(oid)
    }
    for (const index of opened) {
      for (const oid of index.supersedes) leave(oid, index)
      // What was read now may be repeated by one that was open before.
      for (const larger of side.claims.get(index.oid) ?? []) if (side.open.get(larger.oid) === larger) leave(index.oid, larger)
    }
  }

  /** Forgets what is no longer listed, with what it superseded, and deletes copies that nobody will read. */
  function forget(): void {
    for (const side of [objectSide, chunkSide]) {
      side.sizes = new Map(side.listed.map(({ oid, size }) => [oid, size]))
      for (const oid of side.open.keys()) if (!side.sizes.has(oid)) side.open.delete(oid)
      side.superseded.clear()
      side.claims.clear()
      leaveSuperseded(side, [...side.open.values()])
    }
    if (!copies || !existsSync(copies)) return
    const names = new Set([objectSide, chunkSide].flatMap(({ listed }) => listed.map(({ key }) => nameOf(key))))
    for (const name of readdirSync(copies)) {
      if (names.has(name)) continue
      try {
        faultPoint('index copy: delete')
        unlinkSync(join(copies, name))
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', join(copies, name))
      }
    }
  }

  let wantsChunks = false

  async function loadChunks(): Promise<void> {
    wantsChunks = true
    if (!(await readIndexes(chunkSide))) await readListed()
  }

  /** A listing may be older than what was written here: asked for by name, it shows. */
  async function listOwn(): Promise<void> {
    const listed = new Set([objectSide, chunkSide].flatMap((side) => side.listed.map(({ oid }) => oid)))
    for (const [oid, key] of own) {
      if (listed.has(oid)) continue
      const side = parseIndexKey(key)?.chunks ? chunkSide : objectSide
      const found = await blobs.head(key)
      if (found) {
        side.listed.push({ ...found, oid, unlisted: true })
        continue
      }
      own.delete(oid)
      // Merged into another one, which is looked for in the same way.
      const next = await findSuccessor(blobs, oid, side === chunkSide)
      if (next) own.set(next.oid, next.info.key)
    }
  }

  /** Lists index/ and reads what is new. What vanishes in between was merged into what the next listing shows. */
  async function readListed(): Promise<void> {
    for (let tries = LISTINGS; tries > 0; tries--) {
      objectSide.listed = []
      chunkSide.listed = []
      for await (const info of blobs.list('index/')) {
        const name = parseIndexKey(info.key)
        if (name) (name.chunks ? chunkSide : objectSide).listed.push({ ...info, oid: name.oid })
      }
      await listOwn()
      forget()
      const isWhole = await readIndexes(objectSide)
      if ((!wantsChunks || (await readIndexes(chunkSide))) && isWhole) return
    }
  }

  return {
    objects: objectSide,
    chunks: chunkSide,
    read: readListed,
    loadChunks,
    adopt(oid, bytes, chunks) {
      const side = chunks ? chunkSide : objectSide
      const index = openIndex(bytes, oid)
      side.open.set(oid, index)
      own.set(oid, KEYS.index(oid, chunks))
      keepCopy(chunks ? `${oid}-chunks` : oid, bytes)
      leaveSuperseded(side, [index])
    },
    discard(oid) {
      discarded.add(oid)
      for (const side of [objectSide, chunkSide]) side.open.delete(oid)
    },
    all: () => [...indexes.values(), ...chunkIndexes.values()],
  }
}

/** Of indexes that are compared with many others. */
const packSets = new WeakMap<PackIndex, ReadonlySet<Oid>>()

function repeatsPacks(larger: PackIndex, other: PackIndex): boolean {
  const packs = packSets.get(larger) ?? new Set(larger.packs)
  packSets.set(larger, packs)
  return other.packs.every((pack) => packs.has(pack))
}

/** An index's name in its folder. */
function nameOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}
