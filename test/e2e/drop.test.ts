import { existsSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

const ok = { exitCode: 0, stderr: '' }
const LARGE = 'x'.repeat(2 << 20)

async function world(files: Record<string, string>, ...paths: string[]): Promise<{ repo: Repo; remote: string }> {
  const remote = makeFolder().dir
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  expect(await repo.mlv('add', ...paths)).toMatchObject(ok)
  await repo.commit('First')
  return { repo, remote }
}

const packFiles = (store: string) =>
  readdirSync(join(store, 'packs')).flatMap((fan) =>
    readdirSync(join(store, 'packs', fan)).map((name) => join(store, 'packs', fan, name)),
  )

const looseFiles = (repo: Repo) => {
  const folder = repo.path('.git/mlv/store/objects')
  return existsSync(folder) ? readdirSync(folder).flatMap((fan) => readdirSync(join(folder, fan))) : []
}

describe('drop', () => {
  it('removes from the cache, small and large, what the remote holds, and pull brings it back', async () => {
    const { repo } = await world({ 'data/small': 'small', 'data/large': LARGE, model: 'm' }, 'data', 'model')
    await repo.mlv('push')
    expect(looseFiles(repo)).toHaveLength(1)
    expect((await repo.mlv('drop', 'data', '--dry-run')).stdout).toBe(
      'would drop  2 objects of the cache, 2.0 MiB; origin has them\n',
    )
    expect(looseFiles(repo)).toHaveLength(1)
    expect(await repo.mlv('drop', 'data')).toMatchObject({
      ...ok,
      stdout: 'dropped  2 objects of the cache, 2.0 MiB; origin has them\n',
    })
    expect(looseFiles(repo)).toEqual([])
    expect((await repo.mlv('drop', 'data')).stdout).toBe('there are no local copies of it\n')
    expect(repo.read('data/small')).toBe('small')
    // The list of files stays, and so does what was not named.
    repo.write('data/new', 'new')
    expect((await repo.mlv('status')).stdout).toContain('data/new')
    rmSync(repo.path('data'), { recursive: true })
    rmSync(repo.path('model'))
    expect(await repo.mlv('checkout', 'model')).toMatchObject(ok)
    expectFailure(await repo.mlv('checkout', 'data'), 5, 'not in the cache')
    expect(await repo.mlv('pull')).toMatchObject(ok)
    expect(listing(repo.path('data'))).toEqual({ small: 'small', large: LARGE })
  })

  it('with --workspace takes the files as well, which are absent then and not deleted', async () => {
    const { repo } = await world({ 'data/train/a': 'a', 'data/train/b': 'b', 'data/test': 't', model: 'm' }, 'data', 'model')
    await repo.mlv('push')
    expect((await repo.mlv('drop', '-w', 'data/train')).stdout).toBe(
      'dropped  2 files of the workspace, 2 B\ndropped  2 objects of the cache, 2 B; origin has them\n',
    )
    expect(listing(repo.path('data'))).toEqual({ test: 't' })
    expect((await repo.mlv('status')).stdout).toMatch(/^absent +data .*\?[12]/)
    // An add keeps what is absent.
    repo.write('data/test', 'changed')
    expect(await repo.mlv('add', 'data')).toMatchObject(ok)
    expect(repo.read('data.mlv')).toContain('files: 3')
    expect(await repo.mlv('push')).toMatchObject(ok)
    expect(await repo.mlv('drop', '--workspace', '.')).toMatchObject(ok)
    expect([repo.exists('data'), repo.exists('model')]).toEqual([false, false])
    expect((await repo.mlv('status')).stdout).toMatch(/^absent +data\nabsent +model/)
    expect(await repo.mlv('pull')).toMatchObject(ok)
    expect(listing(repo.path('data'))).toEqual({ 'train/a': 'a', 'train/b': 'b', test: 'changed' })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('asks the remote itself: what its index names and its packs no longer hold is not dropped', async () => {
    const { repo, remote } = await world({ 'data/a': 'a', 'data/b': 'b' }, 'data')
    const before = listing(repo.path('.git/mlv/store'))
    expectFailure(await repo.mlv('drop', '-w', 'data'), 5, /^error: data is not whole on origin, so nothing was dropped/)
    await repo.mlv('push')
    const [pack] = packFiles(remote)
    truncateSync(pack!, 40)
    expectFailure(await repo.mlv('drop', '-w', 'data'), 5, 'not whole on origin')
    rmSync(pack!)
    expect(expectFailure(await repo.mlv('drop', '-w', 'data'), 5, 'not whole on origin')).toContain('mlv push -r origin data')
    expect(listing(repo.path('.git/mlv/store'))).toEqual(before)
    expect(listing(repo.path('data'))).toEqual({ a: 'a', b: 'b' })
  })

  it('refuses to remove work that the remote does not have', async () => {
    const { repo } = await world({ 'data/a': 'a' }, 'data')
    await repo.mlv('push')
    repo.write('data/a', 'work')
    expectFailure(await repo.mlv('drop', '-w', 'data'), 4, 'data/a has changes that are not on origin')
    repo.write('data/a', 'a')
    repo.write('data/b', 'work')
    expectFailure(await repo.mlv('drop', '-w', 'data'), 4, 'data/b has changes')
    expect(listing(repo.path('data'))).toEqual({ a: 'a', b: 'work' })
    expect(await repo.mlv('drop', 'data')).toMatchObject(ok)
    expectFailure(await repo.mlv('drop', 'nothing'), 2, 'not tracked')
    expectFailure(await repo.mlv('drop', '-w', 'data', '--all-commits'), 2, 'no revisions')
    expectFailure(await repo.mlv('drop'), 2, 'Missing required argument')
  })

  it('an edited file whose old bytes were dropped stays modified after a checkout that cannot place them, here and on another branch', async () => {
    const { repo } = await world({ 'data/a': 'a1', 'data/b': 'b1' }, 'data')
    const dataState = async () => JSON.parse((await repo.mlv('status', '--json')).stdout).paths[0].state
    await repo.mlv('push')
    await repo.git('switch', '-q', '-c', 'next')
    repo.write('data/b', 'b2')
    await repo.mlv('add', '-u')
    await repo.commit('Second')
    await repo.mlv('push')
    await repo.mlv('drop', 'data', '--all-commits')
    await repo.mlv('drop', 'data')
    repo.write('data/a', 'mine')
    expect((await repo.mlv('checkout', '--allow-missing')).stdout).toContain('data/a')
    expect(await dataState()).toBe('modified')
    await repo.git('switch', '-q', 'main')
    expect((await repo.mlv('checkout', '--allow-missing')).stdout).toContain('data/b')
    expect(await dataState()).toBe('diverged')
    expect(listing(repo.path('data'))).toEqual({ a: 'mine', b: 'b2' })
    await repo.git('switch', '-q', 'next')
    expect((await repo.mlv('checkout', '--allow-missing')).stdout).toContain('data/a')
    expect((await repo.mlv('add', '-u')).stdout).toContain('data')
    expect(await dataState()).toBe('unchanged')
  })

  it('keeps what other paths in the workspace need, and older versions go without it', async () => {
    const { repo } = await world({ 'data/a': 'same', 'data/b': 'b', copy: 'same' }, 'data', 'copy')
    repo.write('data/b', 'b2')
    await repo.mlv('add', 'data')
    await repo.commit('Second')
    expect(await repo.mlv('push', '--all-commits')).toMatchObject(ok)
    expect((await repo.mlv('drop', 'data', '--all-commits')).stdout).toMatch(
      /^dropped {2}1 object .*\nkept {2}2 objects that the workspace needs\n$/,
    )
    expect((await repo.mlv('drop', 'data')).stdout).toMatch(/^dropped {2}1 object .*\nkept {2}1 object/)
    rmSync(repo.path('copy'))
    expect(await repo.mlv('checkout', 'copy')).toMatchObject(ok)
  })

  it('does not leave links that lead nowhere', async () => {
    const { repo } = await world({ 'data/large': LARGE }, 'data')
    await repo.mlv('push')
    await repo.mlv('config', 'set', 'cache.link', 'symlink', '--local')
    expect(await repo.mlv('checkout', '--relink')).toMatchObject(ok)
    expect(expectFailure(await repo.mlv('drop', 'data'), 4, 'data/large is a link into the cache')).toContain('mlv unprotect')
    expect(repo.read('data/large')).toBe(LARGE)
    expect(await repo.mlv('drop', '-w', 'data')).toMatchObject(ok)
    expect([repo.exists('data'), looseFiles(repo)]).toEqual([false, []])
    expect(await repo.mlv('pull')).toMatchObject(ok)
    expect(repo.read('data/large')).toBe(LARGE)
  })

  it('answers in JSON', async () => {
    const { repo } = await world({ 'data/a': 'a' }, 'data')
    await repo.mlv('push')
    const { stdout } = await repo.mlv('drop', 'data', '--json')
    expect(JSON.parse(stdout)).toEqual({ remotes: ['origin'], objects: 1, bytes: 1, shared: 0, files: 0, fileBytes: 0 })
  })
})
