import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { oidOfBytes } from '../../src/base/oid.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

const LARGE = Buffer.alloc(2 << 20, 'large ')

async function tracked(files: Record<string, string | Uint8Array>, ...paths: string[]): Promise<Repo> {
  const repo = await makeRepo(files, { init: true })
  expect(await repo.mlv('add', ...paths)).toMatchObject({ exitCode: 0, stderr: '' })
  await repo.commit('Data')
  return repo
}

/** The folder of whole objects, and their files. */
function objects(repo: Repo): string[] {
  const folder = repo.path('.git/mlv/store/objects')
  return existsSync(folder)
    ? readdirSync(folder).flatMap((name) => readdirSync(join(folder, name)).map((oid) => join(folder, name, oid)))
    : []
}

/** Puts a tree page made by hand into the cache and a pointer to it into the work tree. */
async function plant(repo: Repo, page: string, files: Record<string, string> = {}): Promise<void> {
  const store = await openStore(createDirBlobs({ root: repo.path('.git/mlv/store') }), { purpose: 'write', role: 'cache' })
  const writer = store.writer()
  for (const text of Object.values(files)) await writer.add(oidOfBytes(Buffer.from(text)), Buffer.from(text))
  const oid = oidOfBytes(Buffer.from(page))
  await writer.add(oid, Buffer.from(page))
  await writer.finish()
  store.close()
  repo.write('evil.mlv', `mlv: 1\nkind: tree\noid: ${oid}\nsize: 4\nfiles: 1\n`)
}

describe('mlv checkout', () => {
  it('brings back what is gone, and says what it would do', async () => {
    const repo = await tracked({ 'data/a': 'a', 'data/b': 'b', model: 'm' }, 'data', 'model')
    rmSync(repo.path('data'), { recursive: true })
    rmSync(repo.path('model'))
    expect((await repo.mlv('checkout', '--dry-run')).stdout).toBe('data  (2 files to write)\nmodel  (1 file to write)\n')
    expect(repo.exists('data')).toBe(false)
    expect((await repo.mlv('checkout')).stdout).toBe('data  (2 files written)\nmodel  (1 file written)\n')
    expect((await repo.mlv('checkout')).stdout).toBe('everything is checked out\n')
    expect(listing(repo.path('data'))).toEqual({ a: 'a', b: 'b' })
    rmSync(repo.path('data'), { recursive: true })
    expect((await repo.mlvWith({ cwd: '.mlv' }, 'checkout', '../data/a', '--json')).stdout).toContain('"placed": 1')
    expect(listing(repo.path('data'))).toEqual({ a: 'a' })
  })

  it('never overwrites what no cache holds, unless told to', async () => {
    const repo = await tracked({ 'data/a': 'a', 'data/b': 'b', model: 'm' }, 'data', 'model')
    repo.write('data/a', 'mine')
    repo.write('model', 'mine')
    rmSync(repo.path('data/b'))
    const said = expectFailure(await repo.mlv('checkout'), 4, /data\/a \(and 1 more\) has changes/)
    expect(said).toContain('mlv add')
    // Nothing was changed: all paths are looked at first.
    expect(repo.exists('data/b')).toBe(false)
    expect(repo.read('model')).toBe('mine')
    expect((await repo.mlv('checkout', '--force')).exitCode).toBe(0)
    expect([repo.read('data/a'), repo.read('data/b'), repo.read('model')]).toEqual(['a', 'b', 'm'])
  })

  it('keeps files that the user put into a tracked folder, and removes what left the version', async () => {
    const repo = await tracked({ 'data/a': 'a', 'data/old/b': 'b' }, 'data')
    await repo.git('switch', '-q', '-c', 'next')
    rmSync(repo.path('data/old'), { recursive: true })
    repo.write('data/c', 'c')
    await repo.mlv('add', 'data')
    await repo.commit('Next')
    await repo.git('switch', '-q', 'main')
    expect((await repo.mlv('checkout')).exitCode).toBe(0)
    expect(listing(repo.path('data'))).toEqual({ a: 'a', 'old/b': 'b' })
    repo.write('data/mine', 'mine')
    repo.write('data/old/mine', 'mine')
    await repo.git('switch', '-q', 'next')
    expect((await repo.mlv('checkout')).exitCode).toBe(0)
    expect(listing(repo.path('data'))).toEqual({ a: 'a', c: 'c', mine: 'mine', 'old/mine': 'mine' })
    expect((await repo.mlv('status', '--json')).stdout).not.toContain('"kind": "deleted"')
  })

  it('turns folders into files and back', async () => {
    const repo = await tracked({ 'data/x': 'file', 'data/y/z': 'inner', top: 'file' }, 'data', 'top')
    await repo.git('switch', '-q', '-c', 'next')
    rmSync(repo.path('data/x'))
    rmSync(repo.path('data/y'), { recursive: true })
    rmSync(repo.path('top'))
    repo.write('data/x/deep/w', 'now a folder')
    repo.write('data/y', 'now a file')
    repo.write('top/inside', 'now a folder')
    expect(await repo.mlv('add', 'data', 'top')).toMatchObject({ exitCode: 0, stderr: '' })
    await repo.commit('Next')
    await repo.git('switch', '-q', 'main')
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('data'))).toEqual({ x: 'file', 'y/z': 'inner' })
    expect(repo.read('top')).toBe('file')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    await repo.git('switch', '-q', 'next')
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('data'))).toEqual({ 'x/deep/w': 'now a folder', y: 'now a file' })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    // The user's own file in the folder that must become a file stands in the way.
    repo.write('top/mine', 'mine')
    await repo.git('switch', '-q', 'main')
    expectFailure(await repo.mlv('checkout', 'top'), 4, 'top/mine')
    expect(repo.read('top/mine')).toBe('mine')
  })

  it('overwrites the beginning that a killed checkout left, and removes its other leftovers', async () => {
    const repo = await tracked({ 'data/a': 'abcdefgh', 'data/b': 'bbbb', 'data/large': LARGE }, 'data')
    rmSync(repo.path('.git/mlv/state'), { recursive: true })
    repo.write('data/a', 'abcd')
    repo.write('data/b', '')
    repo.write('data/large', LARGE.subarray(0, 1_500_000))
    repo.write('data/.mlv-tmp-0123456789ab-large', 'half')
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(Object.keys(listing(repo.path('data'))).sort()).toEqual(['a', 'b', 'large'])
    expect(repo.read('data/a')).toBe('abcdefgh')
    repo.write('data/a', 'abcdX')
    expectFailure(await repo.mlv('checkout'), 4, 'data/a has changes')
  })

  it('removes what a killed checkout of a file tracked by itself left beside it, and nothing else', async () => {
    const repo = await tracked({ model: 'm' }, 'model')
    rmSync(repo.path('model'))
    repo.write('.mlv-tmp-0123456789ab-model.tmp', 'half')
    repo.write('.mlv-tmp-0123456789ab-other.tmp', 'somebody else writes it')
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('model')).toBe('m')
    expect(Object.keys(listing(repo.dir)).filter((name) => name.startsWith('.mlv-tmp'))).toEqual([
      '.mlv-tmp-0123456789ab-other.tmp',
    ])
  })

  it('places what the cache has with --allow-missing, and fails without', async () => {
    const remote = makeFolder().dir
    const repo = await tracked({ 'data/a': 'a', 'data/b': 'b', model: 'm' }, 'data', 'model')
    await repo.mlv('remote', 'add', 'origin', remote)
    await repo.mlv('push')
    await repo.commit('Remote')
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(expectFailure(await clone.mlv('checkout'), 5, 'not in the cache')).toContain('mlv pull')
    expect(await clone.mlv('checkout', '--allow-missing')).toMatchObject({
      exitCode: 0,
      stdout: 'model  (1 file not in the cache)\nnot in the cache:\n  data  (2 B)\n  model  (1 B)\n',
    })
    await clone.mlv('fetch', 'data/a')
    expect((await clone.mlv('checkout', '--allow-missing')).exitCode).toBe(0)
    expect(listing(clone.path('data'))).toEqual({ a: 'a' })
  })

  it('names git switch for a branch, and says what is not tracked', async () => {
    const repo = await tracked({ a: 'a', b: 'b' }, 'a')
    expect(expectFailure(await repo.mlv('checkout', 'main'), 2, '"main" is a branch')).toContain('git switch main')
    expectFailure(await repo.mlv('checkout', 'b'), 2, 'b is not tracked')
    expectFailure(await repo.mlv('checkout', 'nothing'), 2, 'nothing is not tracked')
  })

  it.each(['hardlink', 'symlink'])('links files read-only with cache.link %s; unprotect frees them', async (type) => {
    const repo = await tracked({ 'data/large': LARGE, 'data/small': 's', model: LARGE }, 'data', 'model')
    await repo.mlv('config', 'set', 'cache.link', type, '--local')
    expect(await repo.mlv('checkout', '--relink')).toMatchObject({ exitCode: 0, stderr: '' })
    for (const path of ['data/large', 'model']) {
      const stats = lstatSync(repo.path(path))
      if (type === 'symlink') expect(stats.isSymbolicLink()).toBe(true)
      else expect({ links: stats.nlink, mode: stats.mode & 0o777 }).toEqual({ links: 3, mode: 0o444 })
    }
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect((await repo.mlv('add', 'data', 'model')).stdout).toBe('nothing changed\n')
    expect(await repo.mlv('add', 'data/large')).toMatchObject({ exitCode: 0, stdout: 'nothing changed\n' })
    rmSync(repo.path('.git/mlv/state'), { recursive: true })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect((await repo.mlv('unprotect', 'data', 'model')).stdout).toBe('2 files can be edited now\n')
    for (const path of ['data/large', 'model']) {
      expect(lstatSync(repo.path(path))).toMatchObject({ nlink: 1 })
      writeFileSync(repo.path(path), 'edited')
    }
    expect((await repo.mlv('status')).stdout).toContain('modified   data')
    for (const object of objects(repo)) expect(oidOfBytes(readFileSync(object))).toBe(object.slice(-64))
    expect((await repo.mlv('checkout', '--force')).exitCode).toBe(0)
    expect(readFileSync(repo.path('model')).equals(LARGE)).toBe(true)
  })

  it('replaces links to objects that the cache has lost, and no link of the user', async () => {
    const repo = await tracked({ 'data/large': LARGE, 'data/other': `${LARGE}other`, model: LARGE }, 'data', 'model')
    await repo.mlv('remote', 'add', 'origin', '../remote', '--local')
    await repo.mlv('config', 'set', 'cache.link', 'symlink', '--local')
    expect((await repo.mlv('checkout', '--relink')).exitCode).toBe(0)
    expect((await repo.mlv('push')).exitCode).toBe(0)
    rmSync(repo.path('.git/mlv/store'), { recursive: true })
    for (const path of ['data', 'model'])
      expect(expectFailure(await repo.mlv('add', path), 5, 'is a link to an object that the cache has lost')).toContain(
        'mlv pull',
      )
    rmSync(repo.path('data/other'))
    symlinkSync(repo.path('.git/mlv/store/objects/elsewhere'), repo.path('data/other'))
    expectFailure(await repo.mlv('pull'), 4, 'data/other has changes')
    rmSync(repo.path('data/other'))
    expect(await repo.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(readFileSync(repo.path('data/large')).equals(LARGE)).toBe(true)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('--relink turns links back into files', async () => {
    const repo = await tracked({ 'data/large': LARGE }, 'data')
    await repo.mlv('config', 'set', 'cache.link', 'symlink', '--local')
    await repo.mlv('checkout', '--relink')
    await repo.mlv('config', 'set', 'cache.link', 'copy', '--local')
    expect((await repo.mlv('checkout', '--relink')).exitCode).toBe(0)
    expect(lstatSync(repo.path('data/large')).isFile()).toBe(true)
    expect(lstatSync(repo.path('data/large')).mode & 0o200).toBe(0o200)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('never follows a link that stands where a folder belongs', async () => {
    const outside = makeFolder().dir
    const repo = await tracked({ 'deep/data/sub/a': 'a', 'data/sub/a': 'a' }, 'data', 'deep/data')
    rmSync(repo.path('data'), { recursive: true })
    symlinkSync(outside, repo.path('data'))
    expect(expectFailure(await repo.mlv('checkout', 'data'), /* in no cache, or a link */ 2, 'symbolic link')).toContain('data')
    unlinkSync(repo.path('data'))
    mkdirSync(repo.path('data'))
    symlinkSync(outside, repo.path('data/sub'))
    const result = await repo.mlv('checkout', 'data')
    expect([2, 4]).toContain(result.exitCode)
    rmSync(repo.path('deep/data'), { recursive: true })
    writeFileSync(join(outside, 'data.mlv'), readFileSync(repo.path('deep/data.mlv')))
    rmSync(repo.path('deep'), { recursive: true })
    symlinkSync(outside, repo.path('deep'))
    expectFailure(await repo.mlv('checkout', 'deep/data'), 2, /symbolic link|not tracked/)
    expect((await repo.mlv('checkout', 'data', '--force')).exitCode).toBe(0)
    expect(listing(repo.path('data'))).toEqual({ 'sub/a': 'a' })
    expect(readdirSync(outside)).toEqual(['data.mlv'])
  })

  const oid = oidOfBytes(Buffer.from('evil'))
  it.each([
    ['..', `file ${oid} 4\t..\n`],
    ['.git', `file ${oid} 4\t.git\n`],
    ['.GIT', `file ${oid} 4\t.GIT\n`],
    ['git~1', `file ${oid} 4\tgit~1\n`],
    ['absolute', `file ${oid} 4\t/tmp/mlv-evil\n`],
    ['climbing', `file ${oid} 4\t../evil\n`],
    ['twice', `file ${oid} 4\ta\nlink ${oid} 4\ta\n`],
    ['unsorted', `file ${oid} 4\tb\nfile ${oid} 4\ta\n`],
  ])('refuses a hostile tree before anything is written: %s', async (_what, lines) => {
    const repo = await tracked({ a: 'a' }, 'a')
    await plant(repo, `mlv-tree 1 leaf\n${lines}`, { evil: 'evil' })
    rmSync(repo.path('a'))
    const said = expectFailure(await repo.mlv('checkout'), 6, /tree page/)
    expect(said).toMatch(/name|order|slash/)
    expect(repo.exists('evil')).toBe(false)
    expect(repo.exists('a')).toBe(false)
    expectFailure(await repo.mlv('checkout', 'evil', '--force'), 6, /tree page/)
  })

  it('writes links as links, also where one hides a folder of the same tree', async () => {
    const repo = await tracked({ 'data/a': 'a' }, 'data')
    symlinkSync('/etc/passwd', repo.path('data/passwd'))
    await repo.mlv('add', 'data')
    rmSync(repo.path('data'), { recursive: true })
    await repo.mlv('checkout')
    expect(listing(repo.path('data'))).toEqual({ a: 'a', passwd: '→ /etc/passwd' })
  })

  it('reports a corrupt object, sets it aside, and pull heals it', async () => {
    const remote = makeFolder().dir
    const repo = await tracked({ 'data/large': LARGE, 'data/small': 'small', 'data/other': 'other' }, 'data')
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    expect((await repo.mlv('push')).exitCode).toBe(0)
    const [large] = objects(repo)
    chmodSync(large!, 0o644)
    writeFileSync(large!, Buffer.alloc(LARGE.length, 'bad'))
    for (const folder of readdirSync(repo.path('.git/mlv/store/packs')))
      for (const name of readdirSync(repo.path(`.git/mlv/store/packs/${folder}`))) {
        const pack = repo.path(`.git/mlv/store/packs/${folder}/${name}`)
        const bytes = readFileSync(pack)
        const at = bytes.indexOf('small')
        if (at < 0) continue
        chmodSync(pack, 0o644)
        bytes.write('SMALL', at)
        writeFileSync(pack, bytes)
      }
    rmSync(repo.path('data'), { recursive: true })
    // A copy is hashed on its way or found out by the next reader; either way no wrong bytes stay unnoticed.
    const first = await repo.mlv('checkout')
    expect({ exitCode: first.exitCode, stderr: first.stderr }).toEqual({
      exitCode: 6,
      stderr: expect.stringMatching(/hash|corrupt|altered/),
    })
    expect(first.stderr).toContain('mlv pull')
    for (let i = 0; i < 3 && (await repo.mlv('pull')).exitCode !== 0; i++);
    expect(await repo.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(readFileSync(repo.path('data/large')).equals(LARGE)).toBe(true)
    expect(repo.read('data/small')).toBe('small')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })
})
