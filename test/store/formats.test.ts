import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import xxhash from 'xxhash-wasm'
import { loadFingerprint } from '../../src/base/fingerprint.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import { openStore } from '../../src/store/open-store.ts'
import { applyTransfer, planTransfer, type Wanted } from '../../src/store/transfer.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { emptyTable, type StatRow } from '../../src/workspace/stat-table.ts'
import { tablePath, writeTable } from '../../src/workspace/stat-table-file.ts'
import { noise } from './noise.ts'
import { type Folder, writeFolder } from './page-store.ts'

/** Reads what mlv wrote by docs/formats.md alone: below, nothing of mlv's own reading is used. */
const document = readFileSync(fileURLToPath(new URL('../../docs/formats.md', import.meta.url)), 'utf8')
const blocks = [...document.matchAll(/^```text\n([\s\S]*?)^```$/gm)].map((match) => match[1]!)
const blockOf = (start: string) => blocks.find((block) => block.startsWith(start))!

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex')

const folder = mkdtempSync(join(tmpdir(), 'mlv-formats-'))
const [cacheRoot, remoteRoot] = [join(folder, 'cache'), join(folder, 'remote')]
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const numbered = (count: number): Folder =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${String(i).padStart(6, '0')}.bin`, `${i}\n`]))
const world: Folder = {
  ...{ 'hello.txt': 'hi\n', 'run.sh': 'exec:echo hi\n', now: 'link:hello.txt', 'with\ttab': '', none: {}, 'ü\\\n': 'x' },
  ...{ raw: { 'a b': 'x' }, many: numbered(3000) },
}
const large = noise('formats', 20 << 20)
const middle = noise('middle', 3 << 20)
let root: Oid

/** Paths and contents of a folder of this test, links as `link:…`. */
function listed(from: Folder, above = ''): [string, string][] {
  return Object.entries(from).flatMap(([name, value]) =>
    typeof value === 'string' ? [[above + name, value] as [string, string]] : listed(value, `${above}${name}/`),
  )
}

beforeAll(async () => {
  await loadFingerprint()
  const cache = await openStore(createDirBlobs({ root: cacheRoot }), { role: 'cache', purpose: 'write' })
  const writer = cache.writer()
  const wanted: Wanted[] = []
  const add = (bytes: Buffer) => {
    const oid = oidOfBytes(bytes)
    if (!writer.has(oid)) wanted.push({ oid, size: bytes.length })
    return writer.has(oid) ? undefined : writer.add(oid, bytes)
  }
  const pages: Buffer[] = []
  root = writeFolder(world, (_oid, bytes) => void pages.push(Buffer.from(bytes))).oid
  for (const bytes of pages) await add(bytes)
  for (const [, content] of listed(world)) await add(Buffer.from(content.replace(/^(exec|link):/, '')))
  await writer.finish()
  for (const bytes of [large, middle]) {
    wanted.push({ oid: oidOfBytes(bytes), size: bytes.length })
    await cache.loose!.storeStream(
      oidOfBytes(bytes),
      (async function* () {
        yield bytes
      })(),
    )
  }
  const remote = await openStore(createDirBlobs({ root: remoteRoot }), { role: 'remote', purpose: 'write' })
  const sent = await applyTransfer(planTransfer(cache, remote, wanted), cache, remote)
  expect(sent.failed).toEqual([])
})

interface Entry {
  pack: string
  offset: number
  length: number
  size: number
  type: number
}

/** "Indexes": every entry of the indexes whose name `accept`s, each at its oid. */
function readIndexes(store: string, accept: (name: string) => boolean): Map<string, Entry> {
  const found = new Map<string, Entry>()
  for (const name of readdirSync(join(store, 'index')).filter(accept)) {
    const bytes = readFileSync(join(store, 'index', name))
    expect(sha256(bytes)).toBe(name.slice(0, 64))
    expect(bytes.toString('latin1', 0, 8)).toBe('mlvindx1')
    const [p, s, n, zero] = [8, 12, 16, 20].map((at) => bytes.readUInt32LE(at)) as [number, number, number, number]
    expect(zero).toBe(0)
    const packs = Array.from({ length: p }, (_, i) => bytes.toString('hex', 24 + 32 * i, 56 + 32 * i))
    const f = 24 + 32 * (p + s)
    expect(bytes.length).toBe(f + 1024 + 52 * n)
    const counts = Array.from({ length: 256 }, () => 0)
    let last = ''
    for (let i = 0; i < n; i++) {
      const at = f + 1024 + 52 * i
      const oid = bytes.toString('hex', at, at + 32)
      expect(oid >= last).toBe(true)
      last = oid
      for (let byte = bytes[at]!; byte < 256; byte++) counts[byte]!++
      const entry = { ...readRow(bytes, at), pack: packs[bytes.readUInt32LE(at + 48)]! }
      if (found.get(oid)?.type !== 0) found.set(oid, entry)
    }
    expect(Array.from({ length: 256 }, (_, i) => bytes.readUInt32LE(f + 4 * i))).toEqual(counts)
  }
  return found
}

function readRow(bytes: Buffer, at: number) {
  expect(bytes[at + 47]).toBe(0)
  return {
    offset: bytes.readUInt32LE(at + 32),
    length: bytes.readUInt32LE(at + 36),
    size: bytes.readUIntLE(at + 40, 6),
    type: bytes[at + 46]!,
  }
}

const isPlain = (name: string) => /^[0-9a-f]{64}$/.test(name)
const isChunks = (name: string) => /^[0-9a-f]{64}-chunks$/.test(name)

function createReader(store: string) {
  const objects = readIndexes(store, isPlain)
  const chunks = readIndexes(store, isChunks)
  const packs = new Map<string, Buffer>()
  function stored({ pack, offset, length }: Entry): Buffer {
    const bytes = packs.get(pack) ?? readFileSync(join(store, 'packs', pack.slice(0, 2), pack))
    packs.set(pack, bytes)
    return bytes.subarray(offset, offset + length)
  }
  function read(oid: string): Buffer {
    const entry = objects.get(oid)
    if (!entry) return readFileSync(join(store, 'objects', oid.slice(0, 2), oid))
    const bytes =
      entry.type === 0
        ? stored(entry)
        : Buffer.concat(chunksOf(oid).map((chunk) => stored((chunks.get(chunk.oid) ?? objects.get(chunk.oid))!)))
    expect([sha256(bytes), bytes.length]).toEqual([oid, entry.size])
    return bytes
  }
  function chunksOf(oid: string) {
    const [head, ...lines] = stored(objects.get(oid)!).toString().trimEnd().split('\n')
    expect(head).toBe(`mlv-recipe 1 ${objects.get(oid)!.size}`)
    return lines.map((line) => ({ oid: line.slice(0, 64), length: Number(line.slice(65)) }))
  }
  return { read, chunksOf, objects, chunks }
}

describe.each([
  ['cache', cacheRoot],
  ['remote', remoteRoot],
])('a %s, read by the document alone', (role, store) => {
  test('has the layout of the document, and nothing else', () => {
    const known = role === 'cache' ? ['index', 'mlv.json', 'objects', 'packs', 'tmp'] : ['index', 'mlv.json', 'packs', 'tmp']
    expect(readdirSync(store).sort()).toEqual(known)
    expect(readdirSync(join(store, 'index')).some(isChunks)).toBe(role === 'remote')
    const example = JSON.parse(blockOf('{\n'))
    const description = JSON.parse(readFileSync(join(store, 'mlv.json'), 'utf8'))
    expect({ ...description, id: '' }).toEqual({ ...example, id: '' })
    for (const { id } of [example, description]) expect(id).toMatch(/^[\w-]{1,64}$/)
  })

  test('gives every file of a tree, and the tree is cut as the document says', async () => {
    const { h64 } = await xxhash()
    const { read } = createReader(store)
    const files: [string, string][] = []

    /** The leaf pages of one folder, each as the fields of its lines, the name last. */
    function leavesOf(oid: string, level?: number): string[][][] {
      const lines = read(oid).toString('utf8').split('\n')
      expect(lines.pop()).toBe('')
      const [, told = '0'] = /^mlv-tree 1 (?:leaf|branch (\d+))$/.exec(lines[0]!)!
      if (level !== undefined) expect(Number(told)).toBe(level)
      const entries = lines.slice(1).map((line) => {
        const [fields, name] = line.split('\t') as [string, string]
        const escapes: Record<string, string> = { '\\': '\\', t: '\t', n: '\n' }
        return [...fields.split(' '), name.replace(/\\(.)/g, (_, char: string) => escapes[char]!)]
      })
      return told === '0' ? [entries] : entries.flatMap((entry) => leavesOf(entry[1]!, Number(told) - 1))
    }

    function walk(oid: string, path: string): void {
      const leaves = leavesOf(oid)
      const entries = leaves.flat()
      const names = entries.map((entry) => Buffer.from(entry.at(-1)!))
      expect(Buffer.concat([...names].sort(Buffer.compare)).equals(Buffer.concat(names))).toBe(true)
      let length = 0
      const cuts = entries.filter((entry, i) => {
        length++
        const isCut = (h64(entry.at(-1)!, 0n) & 0x7fn) === 0n || length === 1024 || i === entries.length - 1
        if (isCut) length = 0
        return isCut
      })
      expect(leaves.map((leaf) => leaf.at(-1)).filter(Boolean)).toEqual(cuts)
      for (const entry of entries) {
        const [kind, child, size] = entry
        const name = entry.at(-1)!
        if (kind === 'tree') {
          walk(child!, `${path}${name}/`)
          continue
        }
        const content = read(child!)
        expect(content.length).toBe(Number(size))
        files.push([path + name, kind === 'file' ? content.toString() : `${kind}:${content.toString()}`])
      }
    }
    walk(root, '')
    expect(new Map(files)).toEqual(new Map(listed(world)))
  })

  test('gives large files', () => {
    const { read } = createReader(store)
    for (const bytes of [large, middle]) expect(read(sha256(bytes)).equals(bytes)).toBe(true)
  })

  test('every pack is named by its content, and its own table says what the indexes say', () => {
    const { objects, chunks } = createReader(store)
    let rows = 0
    for (const fan of readdirSync(join(store, 'packs')))
      for (const name of readdirSync(join(store, 'packs', fan))) {
        const bytes = readFileSync(join(store, 'packs', fan, name))
        expect([sha256(bytes), fan, bytes.length <= 33_554_432]).toEqual([name, name.slice(0, 2), true])
        expect(bytes.toString('latin1', bytes.length - 8)).toBe('mlvpack1')
        const count = bytes.readUInt32LE(bytes.length - 16)
        expect(bytes.readUInt32LE(bytes.length - 12)).toBe(48 * count)
        const table = bytes.length - 16 - 48 * count
        let end = 0
        for (let row = 0; row < count; row++, rows++) {
          const at = table + 48 * row
          const entry = readRow(bytes, at)
          const oid = bytes.toString('hex', at, at + 32)
          expect(entry.offset).toBe(end)
          end += entry.length
          expect(objects.get(oid) ?? chunks.get(oid)).toEqual({ ...entry, pack: name })
        }
        expect(end).toBe(table)
      }
    expect(rows).toBe(objects.size + chunks.size)
  })
})

describe('what goes where', () => {
  test('a cache keeps objects of 1 MiB and more whole and read-only', () => {
    for (const bytes of [large, middle]) {
      const stats = statSync(join(cacheRoot, 'objects', sha256(bytes).slice(0, 2), sha256(bytes)))
      expect([stats.size, stats.mode & 0o777]).toEqual([bytes.length, 0o444])
    }
  })

  test('a remote cuts files of 16 MiB and more as the document says, byte by byte', () => {
    const { objects, chunksOf } = createReader(remoteRoot)
    expect([objects.get(sha256(large))!.type, objects.get(sha256(middle))!.type]).toEqual([1, 0])
    const gear = Array.from({ length: 256 }, (_, b) => createHash('sha256').update(`mlv gear ${b}`).digest().readUInt32BE(0))
    const lengths: number[] = []
    for (let s = 0; s < large.length; ) {
      let end = Math.min(large.length, s + 4_194_304)
      let hash = 0
      for (let i = s + 524_288; i < end; i++) {
        hash = (hash * 2 + gear[large[i]!]!) % 2 ** 32
        if ((hash & (i < s + 1_048_576 ? 0x7ffffe00 : 0x7fffe000)) === 0) end = i + 1
      }
      lengths.push(end - s)
      s = end
    }
    expect(chunksOf(sha256(large)).map(({ length }) => length)).toEqual(lengths)
  })
})

describe('the examples of the document', () => {
  test('pages have the oids that the document gives them', () => {
    const [leaf, branch] = blocks.filter((block) => block.startsWith('mlv-tree')) as [string, string]
    expect(blockOf('mlv: 1')).toContain(sha256(leaf))
    expect(document).toContain(`the root: \`${sha256(branch)}\``)
    const pages = new Map<string, string>()
    const made = writeFolder(numbered(500), (oid, bytes) => void pages.set(oid, bytes.toString()))
    expect(pages.get(made.oid)).toBe(branch)
    const small: Folder = {
      'hello.txt': 'hi\n',
      'run.sh': 'exec:echo hi\n',
      now: 'link:hello.txt',
      'with\ttab': '',
      raw: { 'a b': 'x' },
      none: {},
    }
    expect(writeFolder(small, (oid, bytes) => void pages.set(oid, bytes.toString()))).toEqual({
      oid: sha256(leaf),
      size: 12,
      files: 5,
    })
  })

  test('names end pages as told', async () => {
    const { h64 } = await xxhash()
    expect(h64('000307.bin', 0n).toString(16)).toBe('b61c70a280432a80')
    for (const [, name] of document.matchAll(/`(\d{6}\.bin)`/g))
      expect((h64(name!, 0n) & 0x7fn) === 0n).toBe(!['000000.bin', '000499.bin'].includes(name!))
  })

  test('the recipe is that of what it says', () => {
    const parts = [Buffer.alloc(1 << 20), Buffer.from('sixteen bytes !!')]
    const size = parts.reduce((sum, part) => sum + part.length, 0)
    expect(blockOf('mlv-recipe')).toBe(
      `mlv-recipe 1 ${size}\n${parts.map((part) => `${sha256(part)} ${part.length}\n`).join('')}`,
    )
  })
})

test('rows of known files lie as the document says', () => {
  const row = {
    kind: 'exec',
    oid: oidOfBytes('x'),
    size: 5,
    files: 0,
    mtime: 1.5,
    ctime: 2.5,
    inode: 9,
    recorded: true,
    racy: false,
    unsettled: true,
  } as const
  const rows = new Map<string, StatRow>([
    ['ü/a', row],
    ['b', { ...row, kind: 'file', recorded: false }],
  ])
  writeTable(folder, 'data' as RepoPath, {
    ...emptyTable(),
    rows,
  })
  const path = join(folder, 'stat', sha256('data').slice(0, 32))
  expect(tablePath(folder, 'data' as RepoPath)).toBe(path)
  const bytes = readFileSync(path)
  expect(bytes.toString('latin1', 0, 8)).toBe('mlvstat2')
  expect(bytes.readUInt32LE(12)).toBe(Number.parseInt(sha256(bytes.subarray(16)).slice(0, 8), 16))
  const h = bytes.readUInt32LE(8)
  const { count: n, path: named } = JSON.parse(bytes.toString('utf8', 16, 16 + h))
  expect([n, named]).toEqual([2, 'data'])
  let at = Math.ceil((16 + h) / 8) * 8
  expect([0, 8, 16, 24, 32].map((offset) => bytes.readDoubleLE(at + offset))).toEqual([5, 0, 1.5, 9, 2.5])
  at += 40 * n
  expect(bytes.toString('hex', at, at + 32)).toBe(row.oid)
  at += 32 * n
  expect([bytes[at], bytes[at + 1]]).toEqual([1 + 4 + 16, 16])
  expect(bytes.toString('utf8', at + n)).toBe('ü/a\0b')
})
