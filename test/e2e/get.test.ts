import { chmodSync, readdirSync, rmSync, symlinkSync, utimesSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

async function twoVersions(): Promise<Repo> {
  const repo = await makeRepo({ 'data/a': 'old', 'data/sub/b': 'b', 'data/run': '#!', model: 'v1' }, { init: true })
  chmodSync(repo.path('data/run'), 0o755)
  symlinkSync('a', repo.path('data/link'))
  await repo.mlv('add', 'data', 'model')
  await repo.commit('First')
  await repo.git('tag', 'v1')
  repo.write('data/a', 'new')
  repo.write('model', 'v2')
  await repo.mlv('add', '-u')
  await repo.commit('Second')
  return repo
}

describe('mlv get', () => {
  it('writes files and folders as they were', async () => {
    const repo = await twoVersions()
    expect((await repo.mlv('get', 'model', '--rev', 'v1', '-o', 'old.bin')).stdout).toBe('wrote old.bin  (2 B)\n')
    expect(repo.read('old.bin')).toBe('v1')
    await repo.mlv('get', 'data/a', '--rev', 'v1', '-o', 'a.old')
    expect(repo.read('a.old')).toBe('old')
    expect(await repo.mlv('get', 'data', '--rev', 'v1', '-o', 'copy')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('copy'))).toEqual({ a: 'old', 'sub/b': 'b', run: 'exec #!', link: '→ a' })
    await repo.mlv('get', 'data/sub', '-o', 'sub')
    expect(listing(repo.path('sub'))).toEqual({ b: 'b' })
    expect(JSON.parse((await repo.mlv('get', 'model', '-o', 'm', '--json')).stdout)).toMatchObject({ bytes: 2, path: 'model' })
  })

  it('fetches what is not here from the remote, and keeps it nowhere else', async () => {
    const repo = await twoVersions()
    const remote = makeFolder().dir
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    await repo.mlv('push', '--all-commits')
    const clone = await repo.clone()
    expectFailure(await clone.mlv('get', 'data', '-o', 'x'), 3, 'remote')
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('get', 'data', '--rev', 'v1', '-o', 'copy')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(clone.path('copy'))).toMatchObject({ a: 'old', 'sub/b': 'b' })
    await clone.mlv('get', 'data/sub/b', '-o', 'b')
    expect(clone.read('b')).toBe('b')
  })

  it('brings all that is tracked in a folder that git keeps, also of another repository', async () => {
    const repo = await makeRepo({ 'models/a': 'a', 'models/deep/b/c': 'c', 'models/notes': 'git has it' }, { init: true })
    await repo.mlv('add', 'models/a', 'models/deep/b')
    await repo.commit()
    expect((await repo.mlv('get', 'models', '-o', 'copy')).stdout).toBe('wrote copy  (2 tracked paths, 2 B)\n')
    expect(listing(repo.path('copy'))).toEqual({ a: 'a', 'deep/b/c': 'c' })
    const other = await makeRepo()
    const got = await other.mlv('get', repo.dir, 'models', '--json')
    expect(JSON.parse(got.stdout)).toMatchObject({ bytes: 2, paths: ['a', 'deep/b'] })
    expect(listing(other.path('models'))).toEqual({ a: 'a', 'deep/b/c': 'c' })
    await other.mlv('init')
    expectFailure(
      await other.mlv('import', repo.dir, 'models', '-o', 'x'),
      2,
      'models is not tracked itself, but holds 2 tracked paths',
    )
  })

  it('replaces no folder that holds what the user works in, nor another repository, even when forced', async () => {
    const repo = await twoVersions()
    await repo.git('init', '-q', 'other')
    for (const place of ['.', '..', '/', 'other'])
      expect((await repo.mlv('get', 'data', '-o', place, '--force')).exitCode).toBeGreaterThan(1)
    repo.write('full/of/work', 'mine')
    expectFailure(await repo.mlvWith({ cwd: 'full/of' }, 'get', '../../data', '-o', '..', '--force'), 2, 'what you work in')
    expect([repo.exists('.git/HEAD'), repo.exists('other/.git/HEAD'), repo.read('full/of/work')]).toEqual([true, true, 'mine'])
    expect(await repo.mlv('get', 'model', '-o', 'full', '--force')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('full')).toBe('v2')
    expect(await repo.mlv('get', 'data/sub', '-o', 'full', '--force')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('full'))).toEqual({ b: 'b' })
  })

  it('explains what is there already, what is missing, and leaves nothing half-written', async () => {
    const repo = await twoVersions()
    repo.write('taken', 'mine')
    expect(expectFailure(await repo.mlv('get', 'model', '-o', 'taken'), 4, 'is there already')).toContain('--force')
    expect(repo.read('taken')).toBe('mine')
    expect((await repo.mlv('get', 'model', '-o', 'taken', '--force')).exitCode).toBe(0)
    expect(repo.read('taken')).toBe('v2')
    expectFailure(await repo.mlv('get', 'data/none', '-o', 'x'), 2, 'has no data/none')
    expectFailure(await repo.mlv('get', 'data/a/below', '-o', 'x'), 2, 'has no data/a/below')
    expectFailure(await repo.mlv('get', 'nope', '-o', 'x'), 2, 'tracks nothing at nope')
    expectFailure(await repo.mlv('get', 'model', '--rev', 'v9', '-o', 'x'), 2, 'v9')
    expectFailure(await repo.mlv('get', 'model', '-o', 'no/such/x'), 2, 'No such folder')
    rmSync(repo.path('.git/mlv/store/packs'), { recursive: true })
    const broken = await repo.mlv('get', 'data', '-o', 'x')
    expect(broken.exitCode).toBeGreaterThan(2)
    expect(broken.exitCode).toBeLessThan(10)
    expect(readdirSync(repo.dir).filter((name) => name === 'x' || name.startsWith('.mlv-tmp'))).toEqual([])
  })

  it('removes what one that was killed long ago left for the same place', async () => {
    const repo = await twoVersions()
    const left = (of: string, age: number) => {
      const name = `.mlv-tmp-0123456789ab-${of}.tmp`
      repo.write(`${name}/a`, 'half')
      utimesSync(repo.path(name), Date.now() / 1000 - age, Date.now() / 1000 - age)
      return name
    }
    const others = left('y', 100_000)
    left('x', 100_000)
    expect((await repo.mlv('get', 'data', '-o', 'x')).exitCode).toBe(0)
    const young = left('z', 10)
    expect((await repo.mlv('get', 'data', '-o', 'z')).exitCode).toBe(0)
    expect(readdirSync(repo.dir).filter((name) => name.startsWith('.mlv-tmp'))).toEqual(expect.arrayContaining([others, young]))
    expect(readdirSync(repo.dir)).not.toContain('.mlv-tmp-0123456789ab-x.tmp')
  })

  it('that is killed leaves what the next one to the same place removes at once, unless somebody may be at it', async () => {
    const repo = await twoVersions()
    const left = () => readdirSync(repo.dir).filter((name) => name.startsWith('.mlv-tmp'))
    const killed = await repo.mlvWith({ env: { MLV_FAULT: 'kill:1@get: name' } }, 'get', 'data', '-o', 'x')
    expect(killed.exitCode).toBe(-1)
    const [name] = left()
    const running = name!.replace(/\.\d+\./, `.${process.pid}.`)
    const foreign = name!.replace(/\.[0-9a-f]{8}-/, '.00000000-')
    for (const others of [running, foreign]) repo.write(`${others}/a`, 'half')
    expect((await repo.mlv('get', 'data', '-o', 'x')).exitCode).toBe(0)
    expect(left().sort()).toEqual([running, foreign].sort())
    expect(listing(repo.path('x'))).toMatchObject({ a: 'new' })
  })
})
