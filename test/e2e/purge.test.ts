import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBlobs } from '../../src/transport/open-blobs.ts'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'
import { findS3, type S3Server, startS3 } from '../helpers/s3-server.ts'

const ok = { exitCode: 0, stderr: '' }
const SECRET = 'Ada lives at 12 Secret Street\n'
const oidOf = (text: string | Buffer) => createHash('sha256').update(text).digest('hex')

interface World {
  repo: Repo
  remote: string
}

async function world(files: Record<string, string | Uint8Array>, ...paths: string[]): Promise<World> {
  const remote = makeFolder().dir
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  expect(await repo.mlv('add', ...paths)).toMatchObject(ok)
  await repo.commit('First')
  return { repo, remote }
}

async function cloneOf({ repo, remote }: World): Promise<Repo> {
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', remote, '--local')
  return clone
}

const store = (repo: Repo) => repo.path('.git/mlv/store')

/** Every file of a store as one text, so that nothing of what was purged can hide. */
function bytesOf(folder: string): string {
  if (!existsSync(folder)) return ''
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((item) => item.isFile())
    .map((item) => readFileSync(join(item.parentPath, item.name), 'latin1'))
    .join('\n')
}

const purge = (repo: Repo, ...args: string[]) => repo.mlv('purge', '--all-commits', '--yes', '-r', 'origin', ...args)

describe('purge', () => {
  it('deletes a file of a folder from every pack, here and on the remote, and leaves the rest', async () => {
    const { repo, remote } = await world({ 'data/people/ada': SECRET, 'data/people/bob': 'Bob', 'data/other': 'other' }, 'data')
    const first = await repo.git('rev-parse', 'HEAD')
    repo.write('data/other', 'other, changed')
    await repo.mlv('add', 'data')
    const second = await repo.commit('Second')
    expect(await repo.mlv('push', '--all-commits')).toMatchObject(ok)
    expect([bytesOf(store(repo)), bytesOf(remote)]).toEqual([expect.stringContaining(SECRET), expect.stringContaining(SECRET)])

    const dry = await repo.mlv('purge', 'data/people/ada', '--all-commits', '-r', 'origin', '--dry-run')
    expect(dry).toMatchObject(ok)
    expect(dry.stdout).toContain('would purge  1 object, 30 B, of data\n')
    expect(bytesOf(remote)).toContain(SECRET)

    const done = await purge(repo, 'data/people/ada', '--json')
    expect(done).toMatchObject(ok)
    expect(JSON.parse(done.stdout)).toMatchObject({
      objects: [oidOf(SECRET)],
      bytes: SECRET.length,
      paths: ['data'],
      commits: [second, first],
      refs: ['refs/heads/main'],
      workspace: ['data/people/ada'],
      purged: true,
      otherRemotes: [],
      stores: [
        { name: 'origin', removed: 1 },
        { name: 'cache', removed: 1 },
      ],
    })
    for (const folder of [store(repo), remote]) {
      expect(bytesOf(folder)).not.toContain('Secret Street')
      expect(readdirSync(join(folder, 'purged'))).toEqual([oidOf(SECRET)])
    }
    // The file in the workspace is the user's to delete; it is not stored again.
    expect(repo.read('data/people/ada')).toBe(SECRET)
    appendFileSync(repo.path('data/people/bob'), '!')
    writeFileSync(repo.path('data/people/copy'), SECRET)
    expectFailure(await repo.mlv('add', 'data'), 5, /data\/people\/copy holds data that was purged \(record purged\//)
    rmSync(repo.path('data/people/copy'))
    rmSync(repo.path('data/people/ada'))
    expect(await repo.mlv('add', 'data')).toMatchObject(ok)
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
    await repo.commit('Without Ada')
    const clone = await cloneOf({ repo, remote })
    expect(await clone.mlv('pull')).toMatchObject(ok)
    expect(listing(clone.path('data'))).toEqual({ 'people/bob': 'Bob!', other: 'other, changed' })
    expect(await clone.mlv('pull', '--rev', first)).toMatchObject({
      exitCode: 0,
      stderr: expect.stringMatching(/^warning: data of .* holds data that was purged/),
    })
  })

  it('neither push nor pull nor checkout of another clone brings it back, and each says purged', async () => {
    const { repo, remote } = await world({ 'data/ada': SECRET, 'data/bob': 'Bob' }, 'data')
    await repo.mlv('push')
    const other = await cloneOf({ repo, remote })
    expect(await other.mlv('pull')).toMatchObject(ok)
    expect(await purge(repo, 'data/ada')).toMatchObject(ok)
    // The other clone has it in its cache, out of reach.
    expect(bytesOf(store(other))).toContain(SECRET)
    expectFailure(await other.mlv('drop', 'data'), 5, 'data holds data that was purged from origin')
    expect(expectFailure(await other.mlv('pull'), 5, 'data holds data that was purged')).toContain('mlv purge')
    other.write('data/new', 'new')
    await other.mlv('add', 'data')
    const pushed = await other.mlv('push')
    expect(pushed).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(/^warning: data .*holds data that was purged/) })
    expect(bytesOf(remote)).not.toContain('Secret Street')
    // It lies on another remote, and pull does not take it from there.
    const spare = makeFolder().dir
    await other.mlv('remote', 'add', 'spare', spare, '--local')
    expect(await other.mlv('push', '-r', 'spare')).toMatchObject(ok)
    await repo.mlv('remote', 'add', 'spare', spare, '--local')
    rmSync(repo.path('data'), { recursive: true })
    expectFailure(await repo.mlv('pull', '-r', 'spare'), 5, 'data holds data that was purged')
    expect(listing(repo.path('data'))).toEqual({ bob: 'Bob' })
    expectFailure(await repo.mlv('checkout'), 5, /data\/ada was purged \(record purged\//)
    expectFailure(await repo.mlv('get', 'data/ada', '-o', 'out'), 5, /was purged/)
    expect(bytesOf(store(repo))).not.toContain('Secret Street')
    const fresh = await cloneOf({ repo, remote })
    expectFailure(await fresh.mlv('pull'), 5, 'data holds data that was purged')
    expect(listing(fresh.path('data'))).toEqual({ bob: 'Bob' })
    // Once it is no longer tracked, all is well.
    expect(await repo.mlv('remove', 'data/ada')).toMatchObject(ok)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
  })

  it('of a whole folder takes the names of its files as well, and the project still works', async () => {
    const { repo, remote } = await world(
      { 'people/ada-lovelace': SECRET, 'people/bob': 'Bob', 'data/a': 'a', empty: '' },
      'people',
      'data',
      'empty',
    )
    await repo.mlv('push')
    expect(await purge(repo, 'people')).toMatchObject(ok)
    for (const folder of [store(repo), remote]) expect(bytesOf(folder)).not.toMatch(/Secret Street|lovelace/)
    expect(await repo.mlv('status')).toMatchObject({ exitCode: 0 })
    expect(await repo.mlv('remove', 'people', '--delete', '--force')).toMatchObject(ok)
    await repo.commit('Without people')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    const clone = await cloneOf({ repo, remote })
    expect(await clone.mlv('pull')).toMatchObject(ok)
    expect([clone.read('data/a'), clone.read('empty')]).toEqual(['a', ''])
    await clone.git('switch', '-q', '--detach', 'HEAD~1')
    expectFailure(await clone.mlv('pull'), 5, 'people holds data that was purged')
    expect(clone.read('data/a')).toBe('a')
  })

  it('refuses a name that no version holds, and deletes nothing then', async () => {
    const { repo, remote } = await world({ 'people/ada': SECRET, 'people/more/bob': 'Bob' }, 'people')
    await repo.mlv('push')
    expectFailure(await purge(repo, 'people/adda'), 2, 'people/adda lies in no version of what is tracked')
    expectFailure(await purge(repo, 'people/ada', 'people/more/bop'), 2, 'people/more/bop lies in no version')
    expectFailure(await purge(repo, oidOf(SECRET), 'people/adda'), 2, 'people/adda lies in no version')
    expect(bytesOf(remote)).toContain(SECRET)
    // In one that goes as a whole, and again when its list of files is gone.
    expect(await purge(repo, 'people', 'people/more')).toMatchObject(ok)
    expect(await purge(repo, 'people/more/bob')).toMatchObject(ok)
    expect(bytesOf(remote)).not.toContain(SECRET)
  })

  it('leaves what lies elsewhere as well, and says where; by its oid it goes from everywhere', async () => {
    const { repo, remote } = await world(
      { 'data/ada': SECRET, 'data/empty': '', 'copies/ada': SECRET, 'copies/empty': '' },
      'data',
      'copies',
    )
    await repo.mlv('push')
    const kept = await purge(repo, 'data', '--json')
    expect(kept.exitCode).toBe(1)
    const one = await purge(repo, 'data/ada')
    expect(one).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/^purged {2}nothing: it lies at other paths as well\n/),
    })
    expect(JSON.parse(kept.stdout).shared).toEqual(
      expect.arrayContaining([{ oid: oidOf(SECRET), path: 'copies/ada' }, expect.objectContaining({ path: 'copies/empty' })]),
    )
    expect(bytesOf(remote)).toContain(SECRET)
    const done = await purge(repo, oidOf(SECRET), '--json')
    expect(JSON.parse(done.stdout)).toMatchObject({ objects: [oidOf(SECRET)], paths: ['copies', 'data'], shared: [] })
    for (const folder of [store(repo), remote]) expect(bytesOf(folder)).not.toContain('Secret Street')
    rmSync(repo.path('copies'), { recursive: true })
    expectFailure(await repo.mlv('pull', 'copies'), 5, 'copies holds data that was purged')
    expect(listing(repo.path('copies'))).toEqual({ empty: '' })
  })

  it('takes large files: whole in the cache, set aside, half written, and in chunks, but no chunk of a living one', async () => {
    const blocks: Buffer[] = []
    for (let i = 0; i < 20 << 15; i++) blocks.push(createHash('sha256').update(`block ${i}`).digest())
    const common = Buffer.concat(blocks)
    const [doomed, living] = [Buffer.concat([common, Buffer.from(SECRET)]), Buffer.concat([common, Buffer.from('public')])]
    const { repo, remote } = await world({ doomed, living }, 'doomed', 'living')
    expect(await repo.mlv('push')).toMatchObject(ok)
    const object = join(store(repo), 'objects', oidOf(doomed).slice(0, 2), oidOf(doomed))
    writeFileSync(`${object}.corrupt`, SECRET)
    const done = JSON.parse((await purge(repo, 'doomed', '--json')).stdout)
    expect(done.stores[0]).toMatchObject({ name: 'origin', keptChunks: expect.any(Number) })
    expect(done.stores[0].keptChunks).toBeGreaterThan(5)
    expect(bytesOf(remote)).not.toContain('Secret Street')
    expect([existsSync(object), existsSync(`${object}.corrupt`)]).toEqual([false, false])
    const clone = await cloneOf({ repo, remote })
    expectFailure(await clone.mlv('pull'), 5, 'doomed holds data that was purged')
    expect(readFileSync(clone.path('living')).equals(living)).toBe(true)
    expect(clone.exists('doomed')).toBe(false)
  })

  it('finds what only other branches, tags and stashes hold', async () => {
    const { repo, remote } = await world({ 'data/a': 'a' }, 'data')
    const secret = (name: string) => `${SECRET}${name}`
    for (const name of ['branch', 'tag', 'stash', 'older stash', 'reflog', 'staged']) {
      await repo.git('switch', '-q', '--detach', 'main')
      await repo.mlv('checkout')
      repo.write('data/secret', secret(name))
      expect(await repo.mlv('add', 'data')).toMatchObject(ok)
      expect(await repo.mlv('push')).toMatchObject(ok)
      if (name.endsWith('stash')) await repo.git('stash', '-q')
      else if (name === 'staged') await repo.git('add', 'data.mlv')
      else await repo.commit(name)
      if (name === 'branch' || name === 'tag') await repo.git(name, `on-${name}`)
    }
    await repo.git('restore', '--worktree', '--source', 'main', 'data.mlv')
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
    const done = JSON.parse((await purge(repo, 'data/secret', '--json')).stdout)
    expect(done.objects.sort()).toEqual(
      ['branch', 'tag', 'stash', 'older stash', 'reflog', 'staged'].map((name) => oidOf(secret(name))).sort(),
    )
    expect(done.refs).toEqual(['refs/heads/on-branch', 'refs/stash', 'refs/tags/on-tag'])
    for (const folder of [store(repo), remote]) expect(bytesOf(folder)).not.toContain('Secret Street')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('no run of a stage stores it again, and what a failed one had written goes', async () => {
    const { repo, remote } = await world(
      { secret: SECRET, 'mlv.yaml': 'stages:\n  make:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n', in: SECRET },
      'secret',
    )
    await repo.mlv('push')
    expect(await purge(repo, 'secret')).toMatchObject(ok)
    expectFailure(await repo.mlv('repro'), 5, 'out holds data that was purged')
    expect(bytesOf(repo.path('.git/mlv'))).toContain(SECRET)
    expect(await purge(repo, 'secret')).toMatchObject(ok)
    for (const folder of [repo.path('.git/mlv'), remote]) expect(bytesOf(folder)).not.toContain('Secret Street')
  })

  it('asks, and refuses where nobody can answer or what is meant is unclear', async () => {
    const { repo, remote } = await world({ 'data/ada': SECRET }, 'data')
    await repo.mlv('push')
    const before = [listing(store(repo)), listing(remote)]
    expect(expectFailure(await repo.mlv('purge', 'data'), 2, 'every commit')).toContain('--all-commits')
    expect(expectFailure(await repo.mlv('purge', 'data', '--all-commits'), 2, 'without a terminal')).toContain('--yes')
    expectFailure(await purge(repo, 'nothing'), 2, 'nothing is tracked in no commit')
    expectFailure(await purge(repo, oidOf('nothing')), 5, 'No commit names the object')
    expectFailure(await repo.mlv('purge', 'data', '--all-commits', '-y', '-r', 'nowhere'), 2, 'no remote')
    expect([listing(store(repo)), listing(remote)]).toEqual(before)
    const alone = await repo.mlv('purge', 'data', '--all-commits', '-y')
    expect(alone.stdout).toContain('not asked: the remotes origin')
    expect(bytesOf(remote)).toContain(SECRET)
    // Again, with the remote this time.
    expect(await purge(repo, 'data')).toMatchObject(ok)
    expect(bytesOf(remote)).not.toContain('Secret Street')
    expect((await purge(repo, 'data')).stdout).toMatch(/has nothing of it\n.*has nothing of it/)
  })
})

describe.skipIf(!findS3())('purge from a bucket', () => {
  let server: S3Server
  beforeAll(async () => {
    server = (await startS3())!
  })
  afterAll(() => server?.stop())

  it('leaves nothing of it under any key', async () => {
    const bucket = await server.bucket(`purge-${Math.random().toString(36).slice(2, 8)}`)
    const env = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey }
    const repo = await makeRepo({ 'data/ada': SECRET, 'data/bob': 'Bob' }, { init: true, env })
    const options = ['--local', '--endpoint', server.endpoint, '--region', server.region, '--path-style']
    await repo.mlv('remote', 'add', 'origin', `s3://${bucket}/prefix`, ...options)
    await repo.mlv('add', 'data')
    await repo.commit()
    expect(await repo.mlv('push')).toMatchObject(ok)
    const blobs = await openBlobs(
      { url: `s3://${bucket}/prefix`, endpoint: server.endpoint, region: server.region, path_style: true },
      { root: repo.dir, env: repo.env },
    )
    const everything = async () => {
      let text = ''
      for await (const { key } of blobs.list('')) text += Buffer.from(await blobs.get(key)).toString('latin1')
      return text
    }
    expect(await everything()).toContain(SECRET)
    expect(await purge(repo, 'data/ada')).toMatchObject(ok)
    expect(await everything()).not.toContain('Secret Street')
    blobs.close?.()
    rmSync(repo.path('.git/mlv/store'), { recursive: true })
    rmSync(repo.path('data'), { recursive: true })
    expectFailure(await repo.mlv('pull'), 5, 'data holds data that was purged')
    expect(listing(repo.path('data'))).toEqual({ bob: 'Bob' })
  })
  it('names what was imported in place, of which only the references go; drop asks whether it is still there', async () => {
    const bucket = await server.bucket(`lake-${Math.random().toString(36).slice(2, 8)}`)
    const env = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey }
    const repo = await makeRepo({}, { init: true, env })
    const remote = makeFolder().dir
    const lake = await openBlobs(
      { url: `s3://${bucket}/lake`, endpoint: server.endpoint, region: server.region, path_style: true },
      { root: repo.dir, env: repo.env },
    )
    await lake.put('ada', Buffer.from(SECRET))
    const at = ['--endpoint', server.endpoint, '--region', server.region, '--path-style']
    expect(await repo.mlv('import-url', `s3://${bucket}/lake/`, ...at, '--in-place')).toMatchObject(ok)
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await repo.mlv('push')).toMatchObject(ok)
    expect(await repo.mlv('pull')).toMatchObject(ok)
    await repo.commit()
    expect((await repo.mlv('drop', 'lake')).stdout).toMatch(/^dropped {2}1 object of the cache/)
    rmSync(repo.path('lake'), { recursive: true })
    expect(await repo.mlv('pull')).toMatchObject(ok)
    expect(repo.read('lake/ada')).toBe(SECRET)
    await lake.delete('ada')
    expectFailure(await repo.mlv('drop', '-w', 'lake'), 5, 'lake is not whole on origin')
    const done = await purge(repo, 'lake', '--json')
    expect(done).toMatchObject(ok)
    expect(JSON.parse(done.stdout)).toMatchObject({ foreign: [`s3://${bucket}/lake/ada`], workspace: ['lake/ada'] })
    for (const folder of [store(repo), remote]) expect(bytesOf(folder)).not.toMatch(/Secret Street|lake\/ada/)
    lake.close?.()
  })
})
