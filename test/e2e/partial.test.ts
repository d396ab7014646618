import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openIndex } from '../../src/store/pack-index.ts'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

/** A folder of 40 folders with three files each, and a flat one whose list of files takes several pages; pushed. */
async function world(): Promise<{ repo: Repo; remote: string; clone: Repo }> {
  const files: Record<string, string> = {}
  for (let i = 0; i < 40; i++) for (const name of ['a', 'b', 'c']) files[`data/folder ${i}/${name}`] = `${name} of ${i}`
  for (let i = 0; i < 600; i++) files[`data/flat/${String(i).padStart(3, '0')}`] = `${i}`
  const remote = makeFolder().dir
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  await repo.mlv('add', 'data')
  expect((await repo.mlv('push')).exitCode).toBe(0)
  await repo.commit()
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', remote, '--local')
  return { repo, remote, clone }
}

/** How many objects a clone's cache holds. */
function cached(repo: Repo): number {
  const folder = repo.path('.git/mlv/store/index')
  return readdirSync(folder).reduce((sum, name) => sum + openIndex(readFileSync(join(folder, name))).count, 0)
}

const ok = { exitCode: 0, stderr: '' }

describe('a part of a large tree', () => {
  it('is pulled with the pages that lead to it, and no others', async () => {
    const { clone } = await world()
    expect(await clone.mlv('pull', 'data/folder 7')).toMatchObject(ok)
    expect(listing(clone.path('data'))).toEqual({ 'folder 7/a': 'a of 7', 'folder 7/b': 'b of 7', 'folder 7/c': 'c of 7' })
    // Three files, the page that lists them, and the root.
    expect(cached(clone)).toBe(5)
    expect((await clone.mlv('status')).stdout).toMatch(/^absent +data /)
    expect(await clone.mlv('pull', 'data/flat/300')).toMatchObject(ok)
    // One file, the branch page, and the leaf that lists it.
    expect(cached(clone)).toBe(8)
    const [data] = JSON.parse((await clone.mlv('status', '--json')).stdout).paths as {
      state: string
      changes: { kind: string; path: string }[]
    }[]
    expect(data!.state).toBe('absent')
    expect(new Set(data!.changes.map(({ kind }) => kind))).toEqual(new Set(['absent']))
    expect(data!.changes.map(({ path }) => path)).toContain('data/folder 8')
    expect(data!.changes.map(({ path }) => path)).not.toContain('data/folder 7')
  })

  it('is outdated, and not changed, once the pointer has moved on', async () => {
    const { repo, clone } = await world()
    await clone.mlv('pull', 'data/folder 7')
    for (const name of ['folder 7/b', 'folder 8/a']) repo.write(`data/${name}`, 'newer')
    await repo.mlv('add', 'data')
    await repo.commit()
    await repo.mlv('push')
    await clone.git('pull', '-q')
    const state = async () => JSON.parse((await clone.mlv('status', '--json')).stdout).paths[0].state
    expect(await state()).toBe('outdated')
    const pointer = clone.read('data.mlv')
    expect(await clone.mlv('add', '-u')).toMatchObject(ok)
    expectFailure(await clone.mlv('add', 'data'), 4, 'data is outdated')
    expect(clone.read('data.mlv')).toBe(pointer)
    clone.write('data/folder 7/c', 'mine')
    expect(await state()).toBe('diverged')
    expectFailure(await clone.mlv('add', '-u'), 4, 'was changed here')
    clone.write('data/folder 7/c', 'c of 7')
    expect(await clone.mlv('pull', 'data/folder 7')).toMatchObject(ok)
    expect(await state()).toBe('absent')
    expect(clone.read('data/folder 7/b')).toBe('newer')
    expect(await clone.mlv('add', 'data')).toMatchObject(ok)
    expect(clone.read('data.mlv')).toBe(pointer)
  })

  it('is changed and added there, and all the rest stays in the tree', async () => {
    const { repo, clone } = await world()
    await clone.mlv('pull', 'data/folder 7', 'data/flat/300')
    clone.write('data/folder 7/b', 'changed')
    clone.write('data/flat/300', 'changed')
    clone.write('data/flat/new', 'new')
    expect((await clone.mlv('status')).stdout).toMatch(/~ modified +data\/folder 7\/b/)
    for (const path of ['data/folder 7/b', 'data/flat/300', 'data/flat/new'])
      expect(await clone.mlv('add', path)).toMatchObject({ exitCode: 0 })
    expect(await clone.mlv('push')).toMatchObject(ok)
    expect((await clone.mlv('status')).stdout).toMatch(/^absent +data /)
    repo.write('data.mlv', clone.read('data.mlv'))
    expect(await repo.mlv('pull')).toMatchObject({ exitCode: 0 })
    const here = listing(repo.path('data'))
    expect(Object.keys(here).length).toBe(721)
    expect([here['folder 7/b'], here['flat/300'], here['flat/new'], here['folder 8/b']]).toEqual([
      'changed',
      'changed',
      'new',
      'b of 8',
    ])
  })

  it('is checked out without a look at the rest', async () => {
    const { repo } = await world()
    repo.write('data/folder 1/a', 'work that is in no cache')
    rmSync(repo.path('data/folder 2'), { recursive: true })
    repo.write('data/folder 3/b', 'work in the part')
    expect(await repo.mlv('checkout', 'data/folder 2')).toMatchObject(ok)
    expect(repo.read('data/folder 2/c')).toBe('c of 2')
    const refused = await repo.mlv('checkout', 'data/folder 3')
    expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining('data/folder 3/b')])
    expect(await repo.mlv('checkout', '--force', 'data/folder 3/b')).toMatchObject(ok)
    expect(repo.read('data/folder 1/a')).toBe('work that is in no cache')
    expect((await repo.mlv('status')).stdout).toMatch(/^modified +data +\(\+0 −0 ~1\)\n +~ modified +data\/folder 1\/a/)
    repo.write('data/folder 1/a', 'a of 1')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('that nothing holds is refused, and not taken for one in place', async () => {
    const { repo, clone } = await world()
    expectFailure(await repo.mlv('checkout', 'data/foldr 2'), 2, 'data holds no data/foldr 2')
    expectFailure(await repo.mlv('checkout', 'data/folder 2/a/b'), 2, 'data holds no data/folder 2/a/b')
    expectFailure(await clone.mlv('pull', 'data/folder 2/z'), 2, 'data holds no data/folder 2/z')
    await repo.mlv('checkout')
    for (const args of [['status'], ['push'], ['drop'], ['unprotect']])
      expectFailure(await repo.mlv(...args, 'data/foldr 2'), 2, 'data holds no data/foldr 2')
    for (const args of [['fetch'], ['pull']])
      expectFailure(await clone.mlv(...args, 'data/folder 2/z'), 2, 'data holds no data/folder 2/z')
    repo.write('data/new', 'not added yet')
    for (const args of [['push'], ['drop']]) expectFailure(await repo.mlv(...args, 'data/new'), 2, 'data/new is not tracked')
    expect(await repo.mlv('status', 'data/new')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('data/new') })
    expect(await repo.mlv('checkout', 'data/new')).toMatchObject(ok)
    expect(repo.read('data/new')).toBe('not added yet')
    // Another revision has it.
    await repo.mlv('remove', 'data/folder 2')
    rmSync(repo.path('data/folder 2'), { recursive: true })
    expectFailure(await repo.mlv('checkout', 'data/folder 2'), 2, 'data holds no data/folder 2')
    expect(await repo.mlv('pull', '--rev', 'HEAD', 'data/folder 2')).toMatchObject(ok)
  })

  it('that was edited, and looked at as a part, still shows when the whole is looked at', async () => {
    const { repo } = await world()
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    repo.write('data/folder 5/a', 'A OF 5')
    repo.write('data/folder 5/new', 'new')
    expect((await repo.mlv('checkout', '--dry-run', 'data/folder 5')).exitCode).not.toBe(70)
    expect((await repo.mlv('checkout', 'data/folder 5')).exitCode).toBe(4)
    const { stdout } = await repo.mlv('status')
    expect(stdout).toMatch(/~ modified +data\/folder 5\/a/)
    expect(stdout).toMatch(/\+ added +data\/folder 5\/new/)
  })

  it('is placed over a file or link that stands where a folder above it belongs', async () => {
    const { repo } = await world()
    rmSync(repo.path('data/folder 9'), { recursive: true })
    repo.write('data/folder 9', 'a file in the way')
    expect((await repo.mlv('checkout', 'data/folder 9/a')).exitCode).toBe(4)
    expect(await repo.mlv('checkout', '--force', 'data/folder 9/a')).toMatchObject(ok)
    expect(listing(repo.path('data/folder 9'))).toEqual({ a: 'a of 9' })
  })
})
