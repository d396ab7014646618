import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasCode, MlvError } from '../../src/base/errors.ts'
import { loadFingerprint } from '../../src/base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore, type Purpose } from '../../src/store/open-store.ts'
import { parsePackTable } from '../../src/store/pack.ts'
import { openIndex } from '../../src/store/pack-index.ts'
import { parseRecipe } from '../../src/store/recipe.ts'
import { readTree } from '../../src/store/tree.ts'
import { parsePage } from '../../src/store/tree-page.ts'
import { diffTrees, walkTree } from '../../src/store/tree-walk.ts'
import { findLost, verifyStore } from '../../src/store/verify.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { noise } from './noise.ts'
import { type Folder, writeFolder } from './page-store.ts'

beforeAll(loadFingerprint)
const folder = mkdtempSync(join(tmpdir(), 'mlv-fuzz-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A change to a file's bytes; places are parts of its length, so that they fit any file. */
const mutation = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.double({ min: 0, max: 0.999999, noNaN: true }), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.double({ min: 0, max: 0.999999, noNaN: true }) }),
  fc.record({ kind: fc.constant('append' as const), bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }) }),
  fc.record({
    kind: fc.constant('write' as const),
    at: fc.double({ min: 0, max: 0.999999, noNaN: true }),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 48 }),
      fc
        .constantFrom('\n', '\t', '0', '9007199254740992', '1125899906842624', '/', '..', '\0', 'tree', 'page')
        .map((text) => Buffer.from(text)),
      fc.constantFrom(0, 1, 0xffffffff, 0x7fffffff).map((number) => {
        const bytes = Buffer.alloc(4)
        bytes.writeUInt32LE(number)
        return bytes
      }),
    ),
  }),
  fc.record({
    kind: fc.constant('move' as const),
    from: fc.double({ min: 0, max: 0.999999, noNaN: true }),
    to: fc.double({ min: 0, max: 0.999999, noNaN: true }),
    length: fc.integer({ min: 1, max: 200 }),
  }),
)
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never

function mutate(bytes: Buffer, change: Mutation): Buffer {
  const place = (part: number) => Math.floor(part * bytes.length)
  const result = Buffer.from(bytes)
  switch (change.kind) {
    case 'flip':
      if (bytes.length > 0) result[place(change.at)]! ^= 1 << change.bit
      return result
    case 'cut':
      return result.subarray(0, place(change.at))
    case 'append':
      return Buffer.concat([result, change.bytes])
    case 'write':
      result.set(change.bytes.subarray(0, bytes.length - place(change.at)), place(change.at))
      return result
    case 'move':
      bytes.copy(result, place(change.to), place(change.from), place(change.from) + change.length)
      return result
  }
}

/** Runs a reader; what it throws must be ours. @returns what it answered */
async function answer<T>(read: () => T | Promise<T>): Promise<T | MlvError> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof MlvError) return error
    throw error
  }
}

function filesOf(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.endsWith('tmp'))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort()
}

const world: Folder = { a: 'A', sub: { b: 'B', deep: { c: 'C' } }, z: 'link:a' }

/** A store with everything in it: small objects, pages, recipes over chunks of their own and of others, and, in a cache, a whole file. */
async function makeStore(role: 'cache' | 'remote'): Promise<{ root: string; objects: Map<Oid, Buffer> }> {
  const root = join(folder, role)
  const store = await openStore(createDirBlobs({ root }), { role, purpose: 'write', looseFrom: 1 << 20 })
  const objects = new Map<Oid, Buffer>()
  const keep = (bytes: Buffer) => {
    objects.set(oidOfBytes(bytes), bytes)
    return oidOfBytes(bytes)
  }
  const writer = store.writer()
  for (let i = 0; i < 20; i++) {
    const bytes = Buffer.from(`object ${i}`)
    await writer.add(keep(bytes), bytes)
  }
  const pages: Buffer[] = []
  writeFolder(world, (_oid, bytes) => void pages.push(Buffer.from(bytes)))
  for (const bytes of pages) await writer.add(keep(bytes), bytes)
  const chunks = ['one', 'two', 'three'].map((seed) => noise(seed, 5000))
  for (const bytes of chunks) await writer.addChunk(oidOfBytes(bytes), bytes)
  for (const order of [
    [0, 1, 2],
    [2, 0],
    [1, 1, 1],
  ]) {
    const parts = order.map((i) => chunks[i]!)
    await writer.addRecipe(
      keep(Buffer.concat(parts)),
      parts.map((bytes) => ({ oid: oidOfBytes(bytes), length: bytes.length })),
    )
  }
  await writer.finish()
  if (store.loose) {
    const bytes = noise('whole', 2 << 20)
    const oid = keep(bytes)
    await store.loose.storeStream(
      oid,
      (async function* () {
        yield bytes
      })(),
    )
    store.loose.flush()
  }
  store.close()
  return { root, objects }
}

let copies = 0

/** Opens a copy of a store in which one file was altered. @param honest also gives a pack or index the name that its new bytes hash to, as a liar would */
async function openAltered(
  { root }: { root: string },
  change: { file: number; mutations: Mutation[]; honest: boolean },
  how: { role: 'cache' | 'remote'; purpose: Purpose },
): Promise<{ dir: string; open: () => Promise<ObjectStore> }> {
  const dir = join(folder, `copy-${++copies}`)
  cpSync(root, dir, { recursive: true })
  const files = filesOf(dir)
  const file = files[change.file % files.length]!
  const path = join(dir, file)
  let bytes: Buffer = readFileSync(path)
  for (const one of change.mutations) bytes = mutate(bytes, one)
  rmSync(path)
  writeFileSync(path, bytes)
  if (change.honest && /^(packs|index)\//.test(file))
    renameSync(path, join(dirname(path), `${oidOfBytes(bytes)}${file.endsWith('-chunks') ? '-chunks' : ''}`))
  return { dir, open: () => openStore(createDirBlobs({ root: dir }), { ...how, looseFrom: 1 << 20 }) }
}

async function readWhole(store: ObjectStore, oid: Oid): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of store.stream(oid)) pieces.push(piece)
  return Buffer.concat(pieces)
}

const change = fc.record({
  file: fc.nat(1000),
  mutations: fc.array(mutation, { minLength: 1, maxLength: 3 }),
  honest: fc.boolean(),
})
const runs = { numRuns: Number(process.env.MLV_TEST_FUZZ_RUNS ?? 60) }

describe.each(['cache', 'remote'] as const)('a %s in which a file was altered', (role) => {
  let store: { root: string; objects: Map<Oid, Buffer> }
  beforeAll(async () => {
    store = await makeStore(role)
  })

  test('gives right bytes or an error of ours', async () => {
    await fc.assert(
      fc.asyncProperty(change, fc.constantFrom<Purpose>('read', 'write', 'check'), async (altered, purpose) => {
        const { dir, open } = await openAltered(store, altered, { role, purpose })
        const opened = await answer(open)
        if (!(opened instanceof MlvError))
          for (const [oid, bytes] of store.objects) {
            for (const read of [() => opened.read(oid), () => readWhole(opened, oid)]) {
              const got = await answer(read)
              if (!(got instanceof MlvError)) expect(got.equals(bytes)).toBe(true)
            }
          }
        rmSync(dir, { recursive: true })
      }),
      runs,
    )
  })

  test('where a full check finds nothing, everything can be read', async () => {
    await fc.assert(
      fc.asyncProperty(change, async (altered) => {
        const { dir, open } = await openAltered(store, altered, { role, purpose: 'check' })
        const before = filesOf(dir)
        const opened = await answer(open)
        if (!(opened instanceof MlvError)) {
          const verified = await verifyStore(opened, { part: { n: 1, of: 1 } })
          const corrupt = new Set(verified.faults.flatMap((fault) => (fault.kind === 'object-corrupt' ? [fault.oid] : [])))
          const wanted = [...store.objects].map(([oid, bytes]) => ({ oid, size: bytes.length }))
          const lost = await findLost(opened, wanted, corrupt)
          for (const [oid, bytes] of store.objects)
            if (!lost.has(oid)) expect((await readWhole(opened, oid)).equals(bytes)).toBe(true)
        }
        expect(filesOf(dir)).toEqual(before)
        rmSync(dir, { recursive: true })
      }),
      runs,
    )
  })
})

describe('altered files, named by what they hash to now', () => {
  let files: Map<string, Buffer>
  beforeAll(async () => {
    const { root } = await makeStore('remote')
    files = new Map(filesOf(root).map((file) => [file, readFileSync(join(root, file))]))
  })
  const kind = (prefix: string) => [...files].filter(([file]) => file.startsWith(prefix)).map(([, bytes]) => bytes)
  const changes = fc.array(mutation, { minLength: 1, maxLength: 4 })
  const many = { numRuns: 20 * runs.numRuns }

  test('an index', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(100), changes, async (which, list) => {
        const all = kind('index/')
        const bytes = list.reduce(mutate, all[which % all.length]!)
        const index = await answer(() => openIndex(bytes))
        if (index instanceof MlvError) return
        for (const read of [index.summarize, index.tables, index.packCounts, () => [...index.entries()]])
          await answer<unknown>(read)
        for (let byte = 0; byte < 256; byte += 15) {
          const oid = byte.toString(16).padStart(2, '0').repeat(32) as Oid
          await answer<unknown>(() => [index.has(oid), index.find(oid)])
        }
      }),
      many,
    )
  })

  test('a pack’s table', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(100), changes, async (which, list) => {
        const all = kind('packs/')
        const bytes = list.reduce(mutate, all[which % all.length]!)
        await answer(() => parsePackTable(bytes, oidOfBytes(bytes), bytes.length))
      }),
      many,
    )
  })

  test('a recipe', async () => {
    const whole = Buffer.from(`mlv-recipe 1 12\n${'ab'.repeat(32)} 5\n${'cd'.repeat(32)} 7\n`)
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const chunks = await answer(() => parseRecipe(list.reduce(mutate, whole), 'ef'.repeat(32) as Oid, 12))
        if (!(chunks instanceof MlvError)) expect(chunks.reduce((sum, { length }) => sum + length, 0)).toBe(12)
      }),
      many,
    )
  })

  test('a tree page: totals add up, names are in order, or it is refused', async () => {
    const large: Folder = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`file ${i}`, String(i)]))
    const pages = new Map<Oid, Buffer>()
    const root = writeFolder({ large, ...world }, (oid, bytes) => void pages.set(oid, Buffer.from(bytes)))
    const oids = [...pages.keys()]
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), changes, async (which, list) => {
        const altered = oids[which % oids.length]!
        const read = async (oid: Oid) => {
          const bytes = pages.get(oid)
          if (!bytes) throw new MlvError('OBJECT_MISSING', `no ${oid}`)
          return oid === altered ? list.reduce(mutate, bytes) : bytes
        }
        await answer(() => parsePage(list.reduce(mutate, pages.get(altered)!), altered))
        await answer(() => readTree(root.oid, read, root))
        let files = 0
        const walked = await answer(async () => {
          for await (const { entry } of walkTree(root.oid, read, '', root)) if (entry.kind !== 'tree') files++
        })
        if (!(walked instanceof MlvError)) expect(files).toBe(root.files)
        else expect(hasCode(walked, 'TREE_INVALID', 'OBJECT_MISSING')).toBe(true)
        const compared = await answer(async () => {
          for await (const { after } of diffTrees(undefined, root.oid, read)) expect(after).toBeDefined()
        })
        if (compared instanceof MlvError) expect(hasCode(compared, 'TREE_INVALID', 'OBJECT_MISSING')).toBe(true)
      }),
      { numRuns: 4 * runs.numRuns },
    )
  })
})
