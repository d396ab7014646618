import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'
import { findS3, type S3Server, startS3 } from '../helpers/s3-server.ts'
import { noise } from '../store/noise.ts'

const MIB = 1 << 20

interface World {
  repo: Repo
  remote: string
  cache: string
}

async function world(files: Record<string, string | Uint8Array>, ...paths: string[]): Promise<World> {
  const remote = makeFolder().dir
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  expect(await repo.mlv('add', ...paths)).toMatchObject({ exitCode: 0 })
  await repo.commit('First')
  expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
  return { repo, remote, cache: repo.path('.git/mlv/store') }
}

const small = { 'data/a': 'alpha', 'data/b': 'beta', 'data/sub/c': 'gamma' }

/** Files below one kind of key. */
function blobs(store: string, kind: string): string[] {
  const folder = join(store, kind)
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

/** Turns one bit where `text` lies, and leaves size, mode and time as they were. */
function alter(path: string, at: number | string = 0): void {
  const bytes = readFileSync(path)
  const { atime, mtime } = statSync(path)
  const offset = typeof at === 'string' ? bytes.indexOf(at) : at
  if (offset < 0) throw new Error(`${path} does not hold "${at}"`)
  bytes[offset]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  chmodSync(path, 0o444)
  utimesSync(path, atime, mtime)
}

/** The pack that holds a text. */
function packWith(store: string, text: string): string {
  const found = blobs(store, 'packs').find((path) => readFileSync(path).includes(text))
  if (!found) throw new Error(`no pack holds "${text}"`)
  return found
}

const largest = (paths: string[]) => paths.sort((a, b) => statSync(b).size - statSync(a).size)[0]!

const sound = { exitCode: 0, stderr: '' }

describe('a check that finds nothing', () => {
  it('says what it looked at', async () => {
    const { repo } = await world({ ...small, big: noise('big', 2 * MIB) }, 'data', 'big')
    expect(await repo.mlv('fsck')).toMatchObject({ ...sound, stdout: 'the cache: 6 needed objects are all there, 1 pack\n' })
    const read = await repo.mlv('fsck', '--read-data')
    expect(read).toMatchObject(sound)
    expect(read.stdout).toMatch(
      /^the cache: 6 needed objects are all there and whole, 1 pack, 2\.0 MiB in 6 objects hashed again\n$/,
    )
    const some = await repo.mlv('fsck', '--read-data=1/9')
    expect(some.stdout).toMatch(/^the cache: 6 needed objects are all there, 1 pack/)
    expect(await repo.mlv('fsck', '--remote', '--read-data', '--all-commits')).toMatchObject(sound)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--rev', 'HEAD', '--repair')).toMatchObject(sound)
  })

  it('answers of an empty project', async () => {
    const repo = await makeRepo({}, { init: true, commit: true })
    expect(await repo.mlv('fsck', '--read-data', '--all-commits')).toMatchObject(sound)
    expectFailure(await repo.mlv('fsck', '--remote'), 3, /No remote is configured/)
  })

  it('refuses parts that are none', async () => {
    const repo = await makeRepo({}, { init: true })
    for (const part of ['0/3', '4/3', '1', '1/0', 'x', '1/3/5', '-1/3'])
      expectFailure(await repo.mlv('fsck', `--read-data=${part}`), 2, /--read-data takes N\/T/)
  })
})

describe('parts', () => {
  it('cover all data between them', async () => {
    const { repo, cache } = await world({ ...small, one: noise('one', MIB), two: noise('two', MIB) }, 'data', 'one', 'two')
    const all = JSON.parse((await repo.mlv('fsck', '--read-data', '--json')).stdout).read
    const parts = await Promise.all([1, 2, 3].map((n) => repo.mlv('fsck', `--read-data=${n}/3`, '--json')))
    const sum = parts.reduce((total, { stdout }) => total + JSON.parse(stdout).read.bytes, 0)
    expect(sum).toBe(all.bytes)
    for (const object of blobs(cache, 'objects')) alter(object)
    const found = await Promise.all([1, 2, 3].map((n) => repo.mlv('fsck', `--read-data=${n}/3`, '--json')))
    expect(found.flatMap(({ stdout }) => JSON.parse(stdout).faults)).toHaveLength(2)
  })
})

describe('a remote that is not as it should be', () => {
  it('of a newer format is refused, and files of others are passed over', async () => {
    const { repo, remote } = await world(small, 'data')
    for (const kind of ['packs/ab', 'index', 'corrupt', 'packs'])
      for (const name of ['README', 'f'.repeat(63), `${'0'.repeat(64)}.bak`]) {
        mkdirSync(join(remote, kind), { recursive: true })
        writeFileSync(join(remote, kind, name), 'not of mlv')
      }
    writeFileSync(join(remote, 'packs', '0'.repeat(64)), 'not where a pack of that name lies')
    expect(await repo.mlv('fsck', '--remote', '--read-data', '--rev', 'HEAD', '--repair')).toMatchObject(sound)
    const file = join(remote, 'mlv.json')
    const description = JSON.parse(readFileSync(file, 'utf8'))
    const write = (change: object) => {
      rmSync(file)
      writeFileSync(file, JSON.stringify({ ...description, ...change }))
    }
    write({ format: 2 })
    expectFailure(await repo.mlv('fsck', '--remote'), 6, /needs a newer mlv/)
    write({ write_requires: ['teleport'] })
    expect(await repo.mlv('fsck', '--remote')).toMatchObject(sound)
    expectFailure(await repo.mlv('fsck', '--remote', '--repair'), 6, /needs a newer mlv/)
    rmSync(file)
    expectFailure(await repo.mlv('fsck', '--remote'), 6, /holds packs but no mlv\.json/)
  })

  it('has an index that lies: it is found by hashing, and made again from the packs', async () => {
    const { repo, remote } = await world(small, 'data')
    const [index] = blobs(remote, 'index')
    const bytes = readFileSync(index!)
    // The offset of the first entry.
    bytes.writeUInt32LE(bytes.readUInt32LE(bytes.length - 52 + 32) ^ 1, bytes.length - 52 + 32)
    rmSync(index!)
    writeFileSync(join(remote, 'index', createHash('sha256').update(bytes).digest('hex')), bytes)
    expectFailure(await repo.mlv('fsck', '--remote', '--read-data'), 6, /is damaged/)
    const mended = await repo.mlv('fsck', '--remote', '--read-data', '--repair')
    expect(mended).toMatchObject(sound)
    expect(mended.stdout).toMatch(/^1 index made again from the packs$/m)
    expect(await repo.mlv('fsck', '--remote', '--read-data', '--rev', 'HEAD')).toMatchObject(sound)
    expect(blobs(remote, 'packs')).toHaveLength(1)
  })

  it('has an index that lies beside one that does not, and a record that blames the pack: both go', async () => {
    const { repo, remote } = await world({ ...small, big: noise('told wrongly', 17 * MIB) }, 'data', 'big')
    const index = blobs(remote, 'index').find((file) => !file.endsWith('-chunks'))!
    const bytes = readFileSync(index)
    const entries = bytes.length - 52 * bytes.readUInt32LE(16)
    for (let entry = entries; entry < bytes.length; entry += 52) bytes[entry + 32]! ^= 1
    rmSync(index)
    writeFileSync(join(remote, 'index', createHash('sha256').update(bytes).digest('hex')), bytes)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    // Who reads what the index says takes the pack for damaged; the next push writes the same pack and a true index.
    expect((await clone.mlv('pull')).exitCode).not.toBe(0)
    expect(await repo.mlv('push')).toMatchObject(sound)
    // Whoever reads now finds that the pack is sound, and does without the index that says otherwise.
    expect(await clone.mlv('pull')).toMatchObject(sound)
    expectFailure(await repo.mlv('fsck', '--remote', '--read-data'), 6, /is damaged/)
    const mended = await repo.mlv('fsck', '--remote', '--read-data', '--repair')
    expect(mended).toMatchObject(sound)
    expect(mended.stdout).toMatch(/^broken {2}index\//m)
    expect(blobs(remote, 'corrupt')).toEqual([])
    expect(await repo.mlv('fsck', '--remote', '--read-data', '--all-commits')).toMatchObject(sound)
  })
})

describe('data in no store', () => {
  it('is a fault where a revision must be whole, and none where it was never fetched or pushed', async () => {
    const { repo, remote } = await world(small, 'data')
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    const fresh = await clone.mlv('fsck')
    expect(fresh).toMatchObject(sound)
    expect(fresh.stdout).toMatch(/^absent {2}data: 1 object not here\n/)
    expectFailure(await clone.mlv('fsck', '--rev', 'HEAD'), 5, /The cache lacks 1 needed object/)
    repo.write('data/d', 'delta')
    await repo.mlv('add', 'data')
    await repo.commit('Second')
    expect((await repo.mlv('fsck', '--remote', 'origin')).stdout).toMatch(/^absent {2}data: 2 objects not pushed\n/)
    const asked = await repo.mlv('fsck', '--remote', 'origin', '--rev', 'HEAD')
    expectFailure(asked, 5, /The remote origin lacks 2 needed objects/)
    expect(asked.stdout).toMatch(/ {2}data {2}\(in main; since [0-9a-f]{8}\)\n(.*\n)* {4}missing {2}data\/d {2}/)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--rev', 'HEAD~1')).toMatchObject(sound)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--rev', 'HEAD', '--repair')).toMatchObject(sound)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--all-commits')).toMatchObject(sound)
  })

  it('is a fault on a remote where published commits need it', async () => {
    const { repo, remote } = await world(small, 'data')
    const upstream = makeFolder().dir
    await repo.git('init', '-q', '--bare', upstream)
    await repo.git('remote', 'add', 'upstream', upstream)
    await repo.git('push', '-q', '-u', 'upstream', 'main')
    for (const kind of ['packs', 'index']) rmSync(join(remote, kind), { recursive: true })
    const result = await repo.mlv('fsck', '--remote', 'origin')
    expectFailure(result, 5, /lacks 5 needed objects/)
    expect(result.stdout).toContain('upstream/main')
    expect(await repo.mlv('fsck', '--remote', 'origin', '--repair')).toMatchObject(sound)
    expect(await repo.mlv('fsck', '--remote', 'origin')).toMatchObject(sound)
  })
})

describe('what was dropped on purpose', () => {
  it('is no fault', async () => {
    const { repo } = await world({ ...small, big: noise('dropped', 2 * MIB) }, 'data', 'big')
    expect(await repo.mlv('drop', 'data', 'big')).toMatchObject({ exitCode: 0 })
    const result = await repo.mlv('fsck')
    expect(result).toMatchObject(sound)
    expect(result.stdout).toMatch(/absent {2}big: 1 object/)
  })
})

describe('what was purged', () => {
  it('is no fault, and is not brought back from the workspace or from another remote', async () => {
    const { repo, remote } = await world(small, 'data')
    const backup = makeFolder().dir
    await repo.mlv('remote', 'add', 'backup', backup, '--local')
    await repo.mlv('push', '-r', 'backup')
    expect(await repo.mlv('purge', 'data/a', '--all-commits', '--remote', 'origin', '--yes')).toMatchObject({ exitCode: 0 })
    for (const options of [[], ['--remote', 'origin']]) {
      const result = await repo.mlv('fsck', ...options, '--rev', 'HEAD', '--read-data', '--repair')
      expect(result).toMatchObject(sound)
      expect(result.stdout).toMatch(/^purged {2}1 needed object, on purpose$/m)
    }
    for (const store of [remote, repo.path('.git/mlv/store')])
      expect(blobs(store, 'packs').some((path) => readFileSync(path).includes('alpha'))).toBe(false)
  })
})

describe('a whole object of the cache', () => {
  const files = { big: noise('whole', 3 * MIB) }

  it('that was altered without a trace is found by hashing, and stored again from the workspace', async () => {
    const { repo, cache } = await world(files, 'big')
    await repo.mlv('remote', 'remove', 'origin', '--local')
    alter(blobs(cache, 'objects')[0]!, 12345)
    expect(await repo.mlv('fsck')).toMatchObject(sound)
    // Without these options the repair would find nothing.
    const told = expectFailure(await repo.mlv('fsck', '--rev', 'HEAD', '--read-data'), 6, /is damaged/)
    expect(told).toContain('Run "mlv fsck --rev HEAD --read-data --repair"')
    const found = await repo.mlv('fsck', '--read-data')
    expectFailure(found, 6, /The cache is damaged/)
    expect(found.stdout).toMatch(/ {4}corrupt {2}big {2}/)
    const mended = await repo.mlv('fsck', '--read-data', '--repair')
    expect(mended).toMatchObject(sound)
    expect(mended.stdout).toMatch(/1 object restored from the workspace/)
    expect(await repo.mlv('fsck', '--read-data')).toMatchObject(sound)
    expect(blobs(cache, 'objects').filter((path) => path.endsWith('.corrupt'))).toHaveLength(1)
  })

  it.each(['deleted', 'truncated', 'altered'])('that was %s comes back from a remote', async (how) => {
    const { repo, cache } = await world(files, 'big')
    rmSync(repo.path('big'))
    const object = blobs(cache, 'objects')[0]!
    if (how === 'deleted') rmSync(object)
    else if (how === 'altered') alter(object, 7)
    else {
      chmodSync(object, 0o644)
      truncateSync(object, MIB)
    }
    expect((await repo.mlv('fsck', '--read-data')).exitCode).toBe(how === 'deleted' ? 5 : 6)
    const mended = await repo.mlv('fsck', '--read-data', '--repair')
    expect(mended).toMatchObject(sound)
    expect(mended.stdout).toMatch(/1 object restored from origin/)
    expect(await repo.mlv('fsck', '--read-data', '--rev', 'HEAD')).toMatchObject(sound)
    expect(await repo.mlv('checkout')).toMatchObject(sound)
    expect(readFileSync(repo.path('big')).equals(files.big)).toBe(true)
  })
})

describe('a pack', () => {
  it.each(['cache', 'remote'])('with a wrong byte in the %s is mended from the other side', async (side) => {
    const { repo, remote, cache } = await world(small, 'data')
    const store = side === 'cache' ? cache : remote
    const options = side === 'cache' ? [] : ['--remote', 'origin']
    alter(packWith(store, 'alpha'), 'alpha')
    expect(await repo.mlv('fsck', ...options)).toMatchObject(sound)
    const found = await repo.mlv('fsck', ...options, '--read-data')
    expectFailure(found, 6, /is damaged/)
    expect(found.stdout).toMatch(/corrupt pack [0-9a-f]{64}: 1 object in it/)
    expect(found.stdout).toMatch(/ {2}data {2}\(in workspace, main; since [0-9a-f]{8}\)\n {4}corrupt {2}data\/a {2}/)
    expect(blobs(store, 'corrupt')).toEqual([])
    const mended = await repo.mlv('fsck', ...options, '--read-data', '--repair')
    expect(mended).toMatchObject(sound)
    expect(mended.stdout).toMatch(side === 'cache' ? /1 object restored from origin/ : /1 object restored from the cache/)
    expect(await repo.mlv('fsck', ...options, '--read-data')).toMatchObject(sound)
    expect(await repo.mlv('fsck', ...options, '--all-commits')).toMatchObject(sound)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('pull')).toMatchObject(sound)
    expect(listing(clone.path('data'))).toEqual({ a: 'alpha', b: 'beta', 'sub/c': 'gamma' })
  })

  it.each(['deleted', 'truncated'])(
    'that was %s is found without hashing, and its data stored again from the workspace',
    async (how) => {
      const { repo, remote, cache } = await world(small, 'data')
      rmSync(remote, { recursive: true })
      const pack = packWith(cache, 'alpha')
      if (how === 'deleted') rmSync(pack)
      else {
        chmodSync(pack, 0o644)
        truncateSync(pack, 5)
      }
      const found = await repo.mlv('fsck')
      expectFailure(found, 6, /The cache is damaged/)
      const mended = await repo.mlv('fsck', '--repair')
      expect(mended).toMatchObject({ exitCode: 0 })
      expect(mended.stdout).toMatch(/5 objects restored from the workspace|4 objects restored from the workspace/)
      expect(await repo.mlv('fsck', '--read-data', '--rev', 'HEAD')).toMatchObject(sound)
    },
  )

  it('whose table alone is wrong is written again', async () => {
    const { repo, remote } = await world(small, 'data')
    const pack = blobs(remote, 'packs')[0]!
    alter(pack, readFileSync(pack).length - 3)
    expectFailure(await repo.mlv('fsck', '--remote', 'origin', '--read-data'), 6, /is damaged/)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--read-data', '--repair')).toMatchObject(sound)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--read-data')).toMatchObject(sound)
  })

  it('of chunks with a wrong byte is mended chunk by chunk', async () => {
    const { repo, remote } = await world({ big: noise('chunks', 20 * MIB) }, 'big')
    alter(largest(blobs(remote, 'packs')), 3 * MIB)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--rev', 'HEAD')).toMatchObject(sound)
    const found = await repo.mlv('fsck', '--remote', 'origin', '--read-data')
    expectFailure(found, 6, /is damaged/)
    expect(found.stdout).toMatch(/ {4}corrupt {2}big {2}/)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--read-data', '--repair')).toMatchObject(sound)
    const more = blobs(remote, 'packs').reduce((sum, path) => sum + statSync(path).size, 0)
    expect(more).toBeLessThan(26 * MIB)
    expect(await repo.mlv('fsck', '--remote', 'origin', '--read-data', '--rev', 'HEAD')).toMatchObject(sound)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('pull')).toMatchObject(sound)
  })
})

describe('what a reader has found wrong on a remote', () => {
  it.each([
    ['a small object', small, 'data', 'alpha'],
    ['a chunk', { big: noise('read', 20 * MIB) }, 'big', 5 * MIB],
  ] as const)('%s: the next push of whoever has it writes it again', async (_what, files, path, at) => {
    const { repo, remote } = await world(files, path)
    const pack = typeof at === 'string' ? packWith(remote, at) : largest(blobs(remote, 'packs'))
    alter(pack, at)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expectFailure(await clone.mlv('pull'), 5, / is not whole on origin/)
    expect(blobs(remote, 'corrupt')).toHaveLength(1)
    const pushed = await repo.mlv('push')
    expect(pushed).toMatchObject(sound)
    expect(pushed.stdout).toMatch(/^sent 1 object/)
    expect(await clone.mlv('pull')).toMatchObject(sound)
    expect(
      readFileSync(clone.path(path === 'big' ? 'big' : 'data/a')).equals(
        readFileSync(repo.path(path === 'big' ? 'big' : 'data/a')),
      ),
    ).toBe(true)
    expect(await clone.mlv('fsck', '--remote', '--read-data', '--rev', 'HEAD')).toMatchObject(sound)
    expect((await repo.mlv('push')).stdout).toBe('everything is on origin already\n')
  })

  it('a pack that is gone: the next push writes what was in it again', async () => {
    const { repo, remote } = await world(small, 'data')
    rmSync(packWith(remote, 'alpha'))
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect((await clone.mlv('pull')).exitCode).not.toBe(0)
    expect((await repo.mlv('push')).stdout).toMatch(/^sent 5 objects/)
    expect(await clone.mlv('pull')).toMatchObject(sound)
  })

  it('a pack that is gone: what was in it is lost, also where no branch was published, and a repair sends all of it that is here', async () => {
    const { repo, remote } = await world({ ...small, big: noise('packed', 17 * MIB) }, 'data', 'big')
    repo.write('data/a', 'newer')
    await repo.mlv('add', 'data')
    await repo.mlv('push')
    for (const pack of blobs(remote, 'packs')) rmSync(pack)
    const found = await repo.mlv('fsck', '--remote')
    expectFailure(found, 6, /is damaged/)
    expect(found.stdout).toMatch(/missing {2}big {2}/)
    expect(found.stdout).not.toMatch(/absent/)
    expect(await repo.mlv('fsck', '--remote', '--repair')).toMatchObject(sound)
    // The version before is of no use to the workspace, but it was there.
    expect(await repo.mlv('fsck', '--remote', '--read-data', '--all-commits')).toMatchObject(sound)
  })
})

describe('an index', () => {
  it.each([
    ['cache', 'deleted'],
    ['cache', 'broken'],
    ['remote', 'deleted'],
    ['remote', 'broken'],
  ])('of the %s that is %s is made again from the packs', async (side, how) => {
    const { repo, remote, cache } = await world({ ...small, big: noise('indexed', 17 * MIB) }, 'data', 'big')
    const options = side === 'cache' ? [] : ['--remote', 'origin']
    for (const index of blobs(side === 'cache' ? cache : remote, 'index')) {
      if (how === 'deleted') rmSync(index)
      else alter(index, 100)
    }
    const found = await repo.mlv('fsck', ...options, '--rev', 'HEAD')
    if (how === 'broken') expectFailure(found, 6, /is damaged/)
    else {
      // No other command finds what lies in a pack that no index names.
      expectFailure(found, 5, /lacks \d needed object/)
      expect(found.stdout).toMatch(/missing {2}data {2}/)
      expect(found.stdout).toMatch(/in no index yet/)
    }
    const mended = await repo.mlv('fsck', ...options, '--repair', '--rev', 'HEAD')
    expect(mended).toMatchObject(sound)
    expect(mended.stdout).toMatch(/^1 index made again from the packs$/m)
    expect(mended.stdout).not.toMatch(/not whole|restored/)
    const again = await repo.mlv('fsck', ...options, '--read-data', '--rev', 'HEAD')
    expect(again).toMatchObject(sound)
    expect(again.stdout).not.toMatch(/in no index/)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('pull')).toMatchObject(sound)
  })
})

describe('lost tree pages', () => {
  it('are made again from the workspace', async () => {
    const files = Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`data/${i}`, `${i}`]))
    const { repo, remote, cache } = await world(files, 'data')
    rmSync(remote, { recursive: true })
    for (const kind of ['packs', 'index']) rmSync(join(cache, kind), { recursive: true })
    expectFailure(await repo.mlv('fsck'), 5, /The cache lacks/)
    expect(await repo.mlv('fsck', '--repair')).toMatchObject({ exitCode: 0 })
    expect(await repo.mlv('fsck', '--rev', 'HEAD', '--read-data')).toMatchObject(sound)
  })
})

describe.skipIf(!findS3())('on a real S3 server', () => {
  let server: S3Server
  beforeAll(async () => {
    server = (await startS3())!
  })
  afterAll(() => server.stop())

  it('a remote is checked and mended', async () => {
    const { PutObjectCommand, GetObjectCommand, ListObjectsV2Command, DeleteObjectCommand, S3Client } = await import(
      '@aws-sdk/client-s3'
    )
    const bucket = await server.bucket('fsck')
    const credentials = { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey }
    const s3 = new S3Client({ endpoint: server.endpoint, region: server.region, credentials, forcePathStyle: true })
    const repo = await makeRepo(small, {
      init: true,
      env: { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey },
    })
    const url = `s3://${bucket}/some/prefix`
    await repo.mlv(
      'remote',
      'add',
      'origin',
      url,
      '--local',
      '--endpoint',
      server.endpoint,
      '--region',
      server.region,
      '--path-style',
    )
    await repo.mlv('add', 'data')
    await repo.commit()
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
    const keys = async (kind: string) =>
      ((await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `some/prefix/${kind}/` }))).Contents ?? []).map(
        ({ Key }) => Key!,
      )
    const check = (...more: string[]) => repo.mlv('fsck', '--remote', '--rev', 'HEAD', ...more)
    expect(await check('--read-data')).toMatchObject(sound)

    const [pack] = await keys('packs')
    const body = Buffer.from(
      await (await s3.send(new GetObjectCommand({ Bucket: bucket, Key: pack! }))).Body!.transformToByteArray(),
    )
    body[body.indexOf('beta')]! ^= 1
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: pack!, Body: body }))
    expectFailure(await check('--read-data'), 6, /The remote origin is damaged/)
    expect(await check('--read-data', '--repair')).toMatchObject(sound)
    for (const index of await keys('index')) await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: index }))
    expect(await check('--repair')).toMatchObject(sound)
    for (const gone of await keys('packs')) await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: gone }))
    expectFailure(await check(), 6, /The remote origin is damaged/)
    expect(await check('--repair')).toMatchObject(sound)
    expect(await check('--read-data')).toMatchObject(sound)
    s3.destroy()
  })
})
