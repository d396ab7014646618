import { dirname, join } from 'node:path'
import { hasCode } from '../base/errors.ts'
import { type Oid, oidOfBytes, oidOfFile } from '../base/oid.ts'
import type { Blobs } from './blobs.ts'
import { findDamage } from './damage.ts'
import { describe } from './description.ts'
import { FOREIGN, type ForeignReader } from './foreign.ts'
import { createInspection } from './inspection.ts'
import { CHUNK_FROM, formatDescription, isWritable, KEYS } from './layout.ts'
import { createLooseObjects } from './loose.ts'
import { makeIndexes, replaceIndexes } from './mend-indexes.ts'
import { mergeSmallIndexes } from './merge-indexes.ts'
import type { ObjectStore } from './object-store.ts'
import { createPresence } from './presence.ts'
import { createReader } from './read-objects.ts'
import { createStoreWriter } from './store-writer.ts'

/** write: makes the store when there is none; read: an absent store is empty; check: as read, told of broken indexes instead of failing, and
 *  nothing is written, not even a note of damage; repair: as check, where it may be written to */
export type Purpose = 'read' | 'write' | 'check' | 'repair'

export interface OpenOptions {
  /** a cache keeps large objects whole as files; a remote keeps packs alone */
  role: 'cache' | 'remote'
  purpose: Purpose
  /** a folder for copies of a remote's indexes */
  stateDir?: string
  /** reads objects that stay in buckets of their own */
  foreign?: ForeignReader
  /** caches: objects of this many bytes and more lie whole */
  looseFrom?: number
}

/** Notes of damage are worth having, but a place that cannot be written to can still be read. */
async function unlessReadOnly(write: () => Promise<void>): Promise<void> {
  try {
    await write()
  } catch (error) {
    if (!hasCode(error, 'FILE_UNWRITABLE', 'DISK_FULL', 'REMOTE_DENIED', 'REMOTE_FAILED', 'REMOTE_UNREACHABLE')) throw error
  }
}

/** Opens the store over blobs. @throws STORE_INVALID, STORE_TOO_NEW, INDEX_CORRUPT where it may not be mended, and what the blobs throw */
export async function openStore(blobs: Blobs, options: OpenOptions): Promise<ObjectStore> {
  const { purpose } = options
  const mayWrite = purpose === 'write' || purpose === 'repair'
  const description = await describe(blobs, mayWrite ? 'write' : 'read')
  const isCache = options.role === 'cache'
  const isChecked = purpose === 'check' || purpose === 'repair'
  const broken: string[] = []
  const made = new Map<Oid, Buffer>()
  const presence = createPresence(blobs, {
    // A checker looks at what is there, not at a copy of it.
    copies: options.stateDir && !isCache && !isChecked ? join(options.stateDir, 'indexes', description.id) : undefined,
    thorough: isChecked,
    mend: async (found, named) => {
      if (purpose === 'read' && !isCache) throw found[0]!.error
      const keys = found.map(({ key }) => key)
      const { indexes } = await makeIndexes(blobs, named)
      if (isChecked) {
        for (const key of keys) if (!broken.includes(key)) broken.push(key)
        for (const bytes of indexes) made.set(oidOfBytes(bytes), bytes)
      } else await replaceIndexes(blobs, keys, indexes)
      return indexes
    },
  })
  let collectedAt = 0
  const listAgain = async () => {
    // Before the records: a collection that begins in between then shows the next time.
    if (isCache) collectedAt = (await blobs.head(KEYS.clock))?.modified ?? 0
    const lost = await presence.refresh(description)
    // What was made in memory is in no listing.
    for (const [oid, bytes] of made) presence.adopt(oid, bytes, false)
    return lost
  }
  await listAgain()
  const described = isCache ? blobs.filePath?.(KEYS.description) : undefined
  const loose = described === undefined ? undefined : createLooseObjects(dirname(described))

  async function refresh(): Promise<boolean> {
    // Another command may have written records of a kind that nobody had looked for yet.
    const now = await describe(blobs, 'read')
    description.records = now.records
    description.read_requires = now.read_requires
    loose?.relist()
    return listAgain()
  }

  /** As refresh, by one request where no collector has ever been: then nothing that was here can have gone. */
  async function recheck(): Promise<boolean> {
    const { records } = await describe(blobs, 'read')
    return records.includes('condemned') || records.includes('purged') ? refresh() : false
  }

  /** Of two that announce at once, the one that wrote first finds its kind gone, and writes again. */
  async function announce(kind: string): Promise<void> {
    for (;;) {
      const now = await describe(blobs, 'read', { certain: true })
      if (now.records.includes(kind)) {
        description.records = now.records
        return
      }
      await blobs.put(KEYS.description, Buffer.from(formatDescription({ ...now, records: [...now.records, kind] })))
    }
  }

  function isCondemned(oid: Oid): boolean {
    const since = presence.condemnedAt(oid)
    // Stored again since: what deletes looks at this time, too.
    return since !== undefined && (loose?.changedAt(oid) ?? 0) <= since
  }

  async function recordDamage(pack: Oid): Promise<void> {
    await presence.damage.record(pack)
    if (!description.records.includes('corrupt')) await announce('corrupt')
  }

  /** Looks at a whole pack once one of its objects proved wrong, so that all that is wrong in it is found at once. Where nothing is, the bytes
   *  were altered on their way, and the place can be asked again. */
  async function examinePack(pack: Oid): Promise<void> {
    const places = presence.placesIn(pack)
    if (places.length === 0) return
    const wrong = await findDamage(blobs, pack, places)
    if (wrong?.length === 0 || (wrong && (await isSlandered(pack)))) return presence.damage.withdraw(pack)
    presence.damage.note(pack, wrong)
    // Those who only read a remote note it there as well, where they may: whoever has the data writes it again with the next push.
    if (isWritable(description)) await unlessReadOnly(() => recordDamage(pack))
  }

  /** Whether an index said of a pack what is not so, and another one tells the truth: it is done without from now on. */
  async function isSlandered(pack: Oid): Promise<boolean> {
    const { lying } = await inspection.readPack(pack, presence.packs().get(pack))
    return lying.length > 0 && presence.placesIn(pack).length > 0
  }

  const reader = createReader({
    blobs,
    presence,
    loose,
    refresh,
    async giveUp(pack, objects) {
      presence.damage.note(pack, objects)
      if (!isChecked) await examinePack(pack)
    },
    foreign: options.foreign,
    setLooseAside: (oid) => {
      if (!isChecked) loose?.setAside(oid)
    },
  })

  const wrote = { objects: false, chunks: false }
  const adopt = (oid: Oid, bytes: Buffer, chunks: boolean) => {
    presence.adopt(oid, bytes, chunks)
    wrote[chunks ? 'chunks' : 'objects'] = true
  }
  const epoch = () => (isCache ? `${description.id} ${collectedAt} ${presence.digest()}` : undefined)
  // Only stores that say so have entries of this type.
  const hasForeign = () => description.read_requires.includes(FOREIGN)
  const refersTo = (oid: Oid) =>
    hasForeign() && !presence.isPurged(oid) && presence.locate(oid)?.type === 'foreign' && !(loose?.has(oid) ?? false)
  const has = (oid: Oid) =>
    (presence.has(oid) && !(isCache && refersTo(oid))) ||
    (loose !== undefined && !presence.isPurged(oid) && loose.has(oid) && !isCondemned(oid))

  function isWaiting(oid: Oid): boolean {
    if (has(oid) || presence.isPurged(oid)) return false
    const place = presence.locate(oid)
    return place
      ? place.type !== 'foreign' && presence.isWaiting(place.pack)
      : presence.isWaiting(oid) && (loose?.has(oid) ?? false)
  }

  const inspection = createInspection({
    blobs,
    presence,
    broken,
    made,
    // What is condemned can still be read, but nobody is given it who looks whether it is there.
    isWhole: (oid) => has(oid) || refersTo(oid),
    record: recordDamage,
  })

  return {
    blobs,
    description,
    policy: {
      looseFrom: loose ? (options.looseFrom ?? 1 << 20) : undefined,
      chunkFrom: isCache ? undefined : CHUNK_FROM,
    },
    loose,
    refresh,
    recheck,
    has,
    isCondemned: isWaiting,
    refersTo,
    async requireFeature(feature) {
      for (;;) {
        const now = await describe(blobs, 'write', { certain: true })
        description.read_requires = now.read_requires
        if (now.read_requires.includes(feature)) return
        const requires = [...now.read_requires, feature].sort()
        await blobs.put(KEYS.description, Buffer.from(formatDescription({ ...now, read_requires: requires })))
      }
    },
    isSound: (since) =>
      (presence.damage.isNone && !description.records.some((kind) => kind === 'condemned' || kind === 'purged')) ||
      (since !== undefined && since === epoch()),
    epoch,
    isPurged: presence.isPurged,
    isBad: presence.damage.isBad,
    announce,
    locate: presence.locate,
    knowsPack: presence.knowsPack,
    countInPack: presence.countInPack,
    ...reader,
    loadChunkIndexes: presence.loadChunkIndexes,
    hasChunk: presence.hasChunk,
    locateChunk: presence.locateChunk,
    writer: (writer = {}) =>
      createStoreWriter(blobs, {
        concurrency: writer.concurrency ?? 2,
        signal: writer.signal,
        digester: writer.digester,
        isTaken: presence.isCondemnedPack,
        onPack: presence.damage.heal,
        onIndex: adopt,
      }),
    async setAside(oid) {
      for (const pack of presence.packsOf(oid)) await examinePack(pack)
      if (loose?.has(oid) && oidOfFile(loose.path(oid)) !== oid) loose.setAside(oid)
    },
    adopt,
    async mergeIndexes(signal) {
      for (const chunks of [false, true]) {
        const kind = chunks ? 'chunks' : 'objects'
        if (!wrote[kind]) continue
        wrote[kind] = false
        await mergeSmallIndexes(blobs, presence, { chunks, records: !isCache, refresh, signal })
      }
    },
    inspection,
    close: () => blobs.close?.(),
  }
}
