import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'
import { findS3, type S3Server, startS3 } from '../helpers/s3-server.ts'

/** Bytes without repetition, the same in each run. */
function noise(bytes: number, seed: string): Buffer {
  const blocks: Buffer[] = []
  for (let i = 0; blocks.length * 32 < bytes; i++) blocks.push(createHash('sha256').update(`${seed} ${i}`).digest())
  return Buffer.concat(blocks).subarray(0, bytes)
}

interface World {
  repo: Repo
  remote: string
}

async function world(files: Record<string, string | Uint8Array>, ...paths: string[]): Promise<World> {
  const remote = makeFolder().dir
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  expect(await repo.mlv('add', ...paths)).toMatchObject({ exitCode: 0, stderr: '' })
  await repo.commit('First')
  return { repo, remote }
}

async function cloneOf({ repo, remote }: World): Promise<Repo> {
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', remote, '--local')
  return clone
}

const ok = { exitCode: 0, stderr: '' }
const packs = (remote: string) =>
  existsSync(join(remote, 'packs'))
    ? readdirSync(join(remote, 'packs')).flatMap((name) =>
        readdirSync(join(remote, 'packs', name)).map((oid) => join(remote, 'packs', name, oid)),
      )
    : []
const size = (remote: string) => packs(remote).reduce((sum, path) => sum + statSync(path).size, 0)

describe('push, fetch and pull', () => {
  it('send and get only what is missing', async () => {
    const here = await world({ 'data/a': 'a', 'data/b': 'b', model: 'm' }, 'data', 'model')
    expect((await here.repo.mlv('push', '--dry-run')).stdout).toMatch(/^would send 4 objects/)
    expect(packs(here.remote)).toEqual([])
    expect((await here.repo.mlv('push')).stdout).toMatch(/^sent 4 objects/)
    expect((await here.repo.mlv('push')).stdout).toBe('everything is on origin already\n')
    here.repo.write('data/c', 'c')
    await here.repo.mlv('add', 'data')
    expect((await here.repo.mlv('push')).stdout).toMatch(/^sent 2 objects/)
    await here.repo.commit()
    const clone = await cloneOf(here)
    expect((await clone.mlv('fetch', '--dry-run')).stdout).toMatch(/^would fetch 5 objects/)
    expect((await clone.mlv('fetch')).stdout).toMatch(/^fetched 5 objects/)
    expect((await clone.mlv('fetch')).stdout).toBe('everything is in the cache already\n')
    expect(clone.exists('model')).toBe(false)
    expect((await clone.mlv('pull')).stdout).toBe('data  (3 files written)\nmodel  (1 file written)\n')
    expect((await clone.mlv('pull')).stdout).toBe('everything is checked out\n')
    expect(listing(clone.path('data'))).toEqual({ a: 'a', b: 'b', c: 'c' })
  })

  it('take subsets by path', async () => {
    const here = await world({ 'data/train/a': 'a', 'data/train/b': 'b', 'data/test/c': 'c', model: 'm' }, 'data', 'model')
    await here.repo.mlv('push')
    const clone = await cloneOf(here)
    expect(await clone.mlv('pull', 'data/train')).toMatchObject(ok)
    expect(listing(clone.path('data'))).toEqual({ 'train/a': 'a', 'train/b': 'b' })
    expect(clone.exists('model')).toBe(false)
    expect((await clone.mlv('status')).stdout).toMatch(/^absent +data .*\?1.*\nabsent +model/)
    expect(await clone.mlv('pull', 'data/test/c')).toMatchObject(ok)
    expect(clone.read('data/test/c')).toBe('c')
    expectFailure(await clone.mlv('pull', 'nothing'), 2, 'not tracked')
    // Two parts at once.
    const other = await cloneOf(here)
    expect(await other.mlv('pull', 'data/train/a', 'data/test')).toMatchObject(ok)
    expect(listing(other.path('data'))).toEqual({ 'train/a': 'a', 'test/c': 'c' })
    const bare = makeFolder().dir
    await here.repo.mlv('remote', 'add', 'part', bare, '--local')
    expect(await here.repo.mlv('push', '-r', 'part', 'data/train')).toMatchObject(ok)
    await other.mlv('remote', 'add', 'part', bare, '--local')
    rmSync(other.path('.git/mlv/store'), { recursive: true })
    rmSync(other.path('data'), { recursive: true })
    expect(await other.mlv('pull', '-r', 'part', 'data/train')).toMatchObject(ok)
    expect(listing(other.path('data'))).toEqual({ 'train/a': 'a', 'train/b': 'b' })
  })

  it('push takes unpushed commits, and all others where told to', async () => {
    const here = await world({ model: 'v1' }, 'model')
    const { repo } = here
    const upstream = makeFolder().dir
    await repo.git('init', '-q', '--bare', upstream)
    await repo.git('remote', 'add', 'up', upstream)
    await repo.git('push', '-q', '-u', 'up', 'main')
    const next = async (text: string) => {
      repo.write('model', text)
      expect(await repo.mlv('add', 'model')).toMatchObject(ok)
      return repo.commit(text)
    }
    await next('v2')
    await next('v3')
    // v2 and v3 are between upstream and HEAD; v1 is not.
    expect((await repo.mlv('push')).stdout).toMatch(/^sent 2 objects/)
    await repo.git('tag', 'old', 'HEAD~2')
    expect((await repo.mlv('push', '-T')).stdout).toMatch(/^sent 1 object,/)
    await repo.git('switch', '-q', '-c', 'side')
    await next('side 1')
    await next('side 2')
    await repo.git('switch', '-q', 'main')
    await repo.mlv('checkout')
    expect((await repo.mlv('push', '-a')).stdout).toMatch(/^sent 1 object,/)
    expect((await repo.mlv('push', '--rev', 'side~1')).stdout).toMatch(/^sent 1 object,/)
    expect((await repo.mlv('push', '--all-commits')).stdout).toBe('everything is on origin already\n')
    const clone = await cloneOf(here)
    expect((await clone.mlv('fetch', '--all-commits')).stdout).toMatch(/^fetched 5 objects/)
    expectFailure(await clone.mlv('fetch', '--rev', 'nothing'), 2, 'nothing')
  })

  it('pull of other revisions gets what the workspace lacks, too', async () => {
    const here = await world({ model: 'v1' }, 'model')
    here.repo.write('model', 'v2')
    await here.repo.mlv('add', 'model')
    await here.repo.commit('Second')
    await here.repo.mlv('push', '--all-commits')
    const clone = await cloneOf(here)
    await clone.git('switch', '-q', '--detach', 'HEAD~1')
    expect((await clone.mlv('pull', '--all-branches')).stdout).toMatch(/^fetched 2 objects/)
    expect(clone.read('model')).toBe('v1')
  })

  it('a part that was pulled goes with its branch, unless something of it has changed', async () => {
    const here = await world({ 'data/train/a': 'a', 'data/test/b': 'b' }, 'data')
    await here.repo.mlv('push')
    await here.repo.git('switch', '-q', '--orphan', 'bare')
    await here.repo.git('checkout', 'main', '--', '.mlv')
    rmSync(here.repo.path('data'), { recursive: true })
    await here.repo.commit('Without data')
    const clone = await cloneOf(here)
    await clone.git('switch', '-q', 'main')
    expect(await clone.mlv('pull', 'data/train')).toMatchObject(ok)
    await clone.git('switch', '-q', 'bare')
    expect(await clone.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect([clone.exists('data'), await clone.git('status', '--short')]).toEqual([false, ''])
    await clone.git('switch', '-q', 'main')
    await clone.mlv('pull', 'data/train')
    clone.write('data/train/a', 'mine')
    await clone.git('switch', '-q', 'bare')
    expect(await clone.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect(clone.read('data/train/a')).toBe('mine')
  })

  it('pull gets what exists, lists the rest, and fails at the end', async () => {
    const here = await world({ 'data/a': 'a', 'data/b': 'b', model: 'm' }, 'data', 'model')
    await here.repo.mlv('push', 'data')
    const clone = await cloneOf(here)
    const result = await clone.mlv('pull')
    expect(result.stdout).toContain('data  (2 files written)\n')
    expect(result.stdout).toContain('not on origin:\n  model  (1 B)\n')
    expectFailure(result, 5, 'model is not whole on origin')
    expect(listing(clone.path('data'))).toEqual({ a: 'a', b: 'b' })
    expectFailure(await clone.mlv('fetch'), 5, 'model')
    expectFailure(await clone.mlv('push'), 5, 'model is not whole')
    expect((await clone.mlv('status', '--remote')).stdout).toContain('neither here nor on origin')
  })

  it('a file that pull could not get stays outdated, not modified', async () => {
    const here = await world({ 'data/a': 'one', 'data/b': 'one', model: 'm1' }, 'data', 'model')
    await here.repo.mlv('push')
    const clone = await cloneOf(here)
    await clone.mlv('pull')
    const lost = packs(here.remote)
    here.repo.write('data/a', 'second')
    here.repo.write('model', 'm2')
    await here.repo.mlv('add', '-u')
    await here.repo.mlv('push')
    await here.repo.commit('Second')
    // The new data goes; only the tree's pages stay reachable through the cache of the clone.
    await clone.git('pull', '-q')
    await clone.mlv('fetch')
    const cached = join(clone.dir, '.git/mlv/store')
    expect(lost.length).toBeGreaterThan(0)
    expect(existsSync(cached)).toBe(true)
    rmSync(cached, { recursive: true })
    for (const pack of packs(here.remote)) if (!lost.includes(pack)) rmSync(pack)
    expect((await clone.mlv('pull')).exitCode).toBeGreaterThanOrEqual(5)
    expect([clone.read('data/a'), clone.read('model')]).toEqual(['one', 'm1'])
    const states = JSON.parse((await clone.mlv('status', '--json')).stdout).paths.map((item: { state: string }) => item.state)
    expect(states).toEqual(['outdated', 'outdated'])
  })

  it('say what chunks saved after an insert into a large file', async () => {
    const bytes = noise(40 << 20, 'large')
    const here = await world({ 'large.bin': bytes }, 'large.bin')
    expect(await here.repo.mlv('push')).toMatchObject(ok)
    const before = size(here.remote)
    writeFileSync(
      here.repo.path('large.bin'),
      Buffer.concat([bytes.subarray(0, 20 << 20), noise(1000, 'new'), bytes.subarray(20 << 20)]),
    )
    await here.repo.mlv('add', 'large.bin')
    const { stdout, exitCode } = await here.repo.mlv('push')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^sent 1 object, .*chunks already there saved 3[0-9.]+ MiB of 40(\.0)? MiB\n$/)
    expect(size(here.remote) - before).toBeLessThan(8 << 20)
    await here.repo.commit()
    const clone = await cloneOf(here)
    expect(await clone.mlv('pull')).toMatchObject(ok)
    expect(readFileSync(clone.path('large.bin')).equals(readFileSync(here.repo.path('large.bin')))).toBe(true)
  })

  it('pull assembles an edited large file from the version in the cache, or from the workspace', async () => {
    const old = noise(40 << 20, 'edited')
    const here = await world({ 'model.bin': old }, 'model.bin')
    await here.repo.mlv('push')
    const [cached, dropped] = [await cloneOf(here), await cloneOf(here)]
    for (const clone of [cached, dropped]) expect(await clone.mlv('pull')).toMatchObject(ok)
    const now = Buffer.concat([old.subarray(0, 20 << 20), noise(1000, 'more'), old.subarray(20 << 20)])
    here.repo.write('model.bin', now)
    await here.repo.mlv('add', 'model.bin')
    await here.repo.mlv('push')
    await here.repo.commit('Second')
    rmSync(dropped.path('.git/mlv/store'), { recursive: true })
    for (const clone of [cached, dropped]) {
      await clone.git('pull', '-q')
      const pulled = await clone.mlv('pull', '--json', '--force')
      expect(pulled).toMatchObject(ok)
      expect(JSON.parse(pulled.stdout).saved).toBeGreaterThan(30 << 20)
      expect(readFileSync(clone.path('model.bin')).equals(now)).toBe(true)
    }
  })

  it('pull writes a large file into the workspace while it comes, as a copy of its own, and leaves nothing beside it', async () => {
    const bytes = noise(5 << 20, 'spare')
    const here = await world({ model: bytes, 'data/large': bytes, 'data/other': noise(3 << 20, 'other') }, 'model', 'data')
    await here.repo.mlv('push')
    const cached = (repo: Repo) => {
      const oid = createHash('sha256').update(bytes).digest('hex')
      return repo.path(`.git/mlv/store/objects/${oid.slice(0, 2)}/${oid}`)
    }
    const temporary = (repo: Repo) => readdirSync(repo.path('.git/mlv/store/tmp'))
    const clone = await cloneOf(here)
    expect(await clone.mlv('pull')).toMatchObject(ok)
    for (const path of ['model', 'data/large', 'data/other'])
      expect(readFileSync(clone.path(path)).equals(readFileSync(here.repo.path(path)))).toBe(true)
    expect(new Set([cached(clone), clone.path('model'), clone.path('data/large')].map((path) => statSync(path).ino)).size).toBe(3)
    expect(statSync(clone.path('model')).mode & 0o777).toBe(0o666 & ~process.umask())
    expect(temporary(clone)).toEqual([])
    expect((await clone.mlv('status')).stdout).toBe('up to date\n')

    // What may not be placed, or proves wrong, leaves nothing either.
    const other = await cloneOf(here)
    other.write('model', 'mine')
    expectFailure(await other.mlv('pull'), 4, /model has changes/)
    expect(existsSync(cached(other))).toBe(true)
    expect(temporary(other)).toEqual([])
    expect(other.read('model')).toBe('mine')
    const third = await cloneOf(here)
    for (const path of packs(here.remote)) {
      const altered = readFileSync(path)
      altered.fill(7, 1000, 2000)
      rmSync(path)
      writeFileSync(path, altered)
    }
    expect((await third.mlv('pull')).exitCode).not.toBe(0)
    expect(temporary(third)).toEqual([])
  })

  it('take a limit of bytes per second from the option, the settings and the environment', async () => {
    const here = await world({ 'model.bin': noise(600 << 10, 'limited') }, 'model.bin')
    const started = performance.now()
    expect(await here.repo.mlv('push', '--limit-rate', '512K')).toMatchObject(ok)
    expect(performance.now() - started).toBeGreaterThan(1000)
    for (const rate of ['fast', '0', '100'])
      expectFailure(await here.repo.mlv('pull', '--limit-rate', rate), 2, /--limit-rate takes bytes per second from 4K/)
    expectFailure(await here.repo.mlvWith({ env: { MLV_LIMIT_RATE: 'much' } }, 'push'), 2, /MLV_LIMIT_RATE.*bytes per second/)
    expect(await here.repo.mlv('config', 'set', 'core.limit_rate', '512K')).toMatchObject({ exitCode: 0 })
    rmSync(here.repo.path('.git/mlv/store'), { recursive: true })
    const again = performance.now()
    expect(await here.repo.mlv('fetch')).toMatchObject(ok)
    expect(performance.now() - again).toBeGreaterThan(1000)
  })

  it('find a truncated or altered pack: nothing wrong is stored, and the rest comes', async () => {
    const here = await world({ 'data/a': noise(300_000, 'a'), 'data/b': 'b' }, 'data')
    await here.repo.mlv('push')
    here.repo.write('model', 'm')
    await here.repo.mlv('add', 'model')
    const first = packs(here.remote)
    await here.repo.mlv('push')
    await here.repo.commit()
    for (const pack of first) {
      rmSync(`${pack}.x`, { force: true })
      const bytes = readFileSync(pack)
      rmSync(pack)
      writeFileSync(pack, bytes)
      truncateSync(pack, 100_000)
    }
    const clone = await cloneOf(here)
    const result = await clone.mlv('pull')
    expect([5, 6]).toContain(result.exitCode)
    expectFailure(result, result.exitCode, /data|pack|object/i)
    expect(clone.read('model')).toBe('m')
    expect(clone.exists('data/a')).toBe(false)
  })

  it('push and pull the outs of stages', async () => {
    const here = await world({ 'raw/a': '1\n2\n' }, 'raw')
    here.repo.write(
      'mlv.yaml',
      'stages:\n  prep:\n    cmd: mkdir -p prep && cp raw/a prep/b\n    deps: [raw]\n    outs: [prep]\n',
    )
    expect(await here.repo.mlv('repro')).toMatchObject({ exitCode: 0 })
    await here.repo.commit('Run')
    expect(await here.repo.mlv('push')).toMatchObject(ok)
    const clone = await cloneOf(here)
    expect(await clone.mlv('pull')).toMatchObject(ok)
    expect(clone.read('prep/b')).toBe('1\n2\n')
    expect((await clone.mlv('status')).stdout).toBe('up to date\n')
    expect((await clone.mlv('repro')).stdout).toContain('unchanged')
  })

  it('name the remote that is missing or unknown, and a folder that is none', async () => {
    const repo = await makeRepo({ a: '1' }, { init: true })
    await repo.mlv('add', 'a')
    for (const verb of ['push', 'pull', 'fetch']) {
      expect(expectFailure(await repo.mlv(verb), 3, /remote/)).toContain('mlv remote add')
      expectFailure(await repo.mlv(verb, '-r', 'nope'), 2, 'nope')
      expectFailure(await repo.mlv(verb, '-j', 'many'), 2, '-j')
    }
    repo.write('file', 'x')
    await repo.mlv('remote', 'add', 'bad', './file', '--local')
    const result = await repo.mlv('push', '-r', 'bad')
    expectFailure(result, result.exitCode, /file/)
    expect(result.exitCode).toBeGreaterThan(1)
  })
})

describe.skipIf(!findS3())('with a bucket', () => {
  let server: S3Server
  beforeAll(async () => {
    server = (await startS3())!
  })
  afterAll(() => server?.stop())

  async function bucketWorld(): Promise<{ repo: Repo; url: string; env: Record<string, string> }> {
    const url = `s3://${await server.bucket(`sync-${Math.random().toString(36).slice(2, 8)}`)}/some/prefix`
    const env = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey }
    const repo = await makeRepo({ 'data/a': 'a', 'data/large': noise(3 << 20, 's3'), model: 'm' }, { init: true, env })
    await configure(repo, url)
    await repo.mlv('add', 'data', 'model')
    await repo.commit()
    return { repo, url, env }
  }

  async function configure(repo: Repo, url: string, endpoint = server.endpoint): Promise<void> {
    expect(
      await repo.mlv(
        'remote',
        'add',
        'origin',
        url,
        '--local',
        '--endpoint',
        endpoint,
        '--region',
        server.region,
        '--path-style',
      ),
    ).toMatchObject({ exitCode: 0 })
  }

  it('pushes, diffs without data, and pulls', async () => {
    const { repo, url } = await bucketWorld()
    expect(await repo.mlv('push')).toMatchObject({ ...ok, stdout: expect.stringMatching(/^sent 4 objects/) })
    expect((await repo.mlv('status', '--remote')).stdout).toBe('up to date\n')
    const clone = await repo.clone()
    await configure(clone, url)
    expect(await clone.mlv('pull', 'data')).toMatchObject(ok)
    expect(readFileSync(clone.path('data/large')).equals(noise(3 << 20, 's3'))).toBe(true)
    expect(await clone.mlv('pull')).toMatchObject(ok)
    expect((await clone.mlv('status')).stdout).toBe('up to date\n')
  })

  it('explains wrong credentials, a missing bucket, an endpoint that is down', async () => {
    const { repo } = await bucketWorld()
    const wrong = await repo.mlvWith({ env: { AWS_SECRET_ACCESS_KEY: 'wrong' } }, 'push')
    expect(expectFailure(wrong, 7, /./)).toMatch(/credential|access/i)
    const none = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined }
    expect(expectFailure(await repo.mlvWith({ env: none }, 'push'), 7, /./)).toMatch(/AWS_ACCESS_KEY_ID/)
    await repo.mlv('remote', 'add', 'nobucket', 's3://no-such-bucket/x', '--local', '--endpoint', server.endpoint, '--path-style')
    expectFailure(await repo.mlv('push', '-r', 'nobucket'), 7, /no-such-bucket/)
    await repo.mlv('remote', 'add', 'down', 's3://bucket/x', '--local', '--endpoint', 'http://127.0.0.1:9', '--path-style')
    expectFailure(await repo.mlv('push', '-r', 'down'), 7, /127\.0\.0\.1:9/)
    expectFailure(await repo.mlv('pull', '-r', 'down'), 7, /127\.0\.0\.1:9/)
    expect(existsSync(repo.path('data/large'))).toBe(true)
  })
})
