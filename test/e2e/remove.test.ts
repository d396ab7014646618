import { rmSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo } from '../helpers/repo.ts'

describe('mlv remove', () => {
  it('stops tracking and keeps the files', async () => {
    const repo = await makeRepo({ 'data/a': 'a', model: 'm', other: 'o' }, { init: true })
    await repo.mlv('add', 'data', 'model', 'other')
    await repo.commit()
    const { stdout, exitCode } = await repo.mlv('remove', 'data', 'model')
    expect(exitCode).toBe(0)
    expect(stdout).toContain('no longer tracked  data  (the files stay)\n')
    expect(stdout).toMatch(/to commit: git add .*data\.mlv/)
    expect(repo.read('.gitignore')).toBe('/other\n')
    expect(repo.read('data/a')).toBe('a')
    expect(repo.exists('data.mlv')).toBe(false)
    expect((await repo.mlv('add', 'data')).exitCode).toBe(0)
  })

  it('--delete deletes, but not what no cache has', async () => {
    const repo = await makeRepo({ 'data/a': 'a', model: 'm' }, { init: true })
    await repo.mlv('add', 'data', 'model')
    repo.write('data/new', 'n')
    repo.write('model', 'changed')
    expectFailure(await repo.mlv('remove', 'data', '--delete'), 4, 'in no cache')
    expectFailure(await repo.mlv('remove', 'model', '--delete'), 4, 'in no cache')
    expect([repo.exists('data.mlv'), repo.exists('data/new'), repo.read('model')]).toEqual([true, true, 'changed'])
    // Only looked at by status: still in no cache.
    await repo.mlv('status')
    expectFailure(await repo.mlv('remove', 'data', '--delete'), 4, 'in no cache')
    expect((await repo.mlv('remove', 'data', '--delete', '--force')).exitCode).toBe(0)
    expect(repo.exists('data')).toBe(false)
  })

  it('takes one entry out of a tracked folder, here or in a fresh clone', async () => {
    const remote = makeFolder().dir
    const repo = await makeRepo({ 'data/a': 'a', 'data/sub/b': 'b', 'data/sub/c': 'c' }, { init: true })
    await repo.mlv('remote', 'add', 'origin', remote)
    await repo.mlv('add', 'data')
    await repo.mlv('push')
    await repo.commit()
    expect(await repo.mlv('remove', 'data/sub/b', '--delete')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('data.mlv')).toContain('files: 2\n')
    expect(listing(repo.path('data'))).toEqual({ a: 'a', 'sub/c': 'c' })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect(await repo.mlv('remove', 'data/sub')).toMatchObject({ exitCode: 0 })
    expect(repo.read('data.mlv')).toContain('files: 1\n')
    // Its file stayed: to mlv it is a new one.
    expect((await repo.mlv('status')).stdout).toMatch(/added +data\/sub\/c/)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('remove', 'data/sub')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(clone.read('data.mlv')).toContain('files: 1\n')
    expectFailure(await clone.mlv('remove', 'data/none'), 2, 'not tracked')
    expectFailure(await clone.mlv('remove', 'nothing'), 2, 'not tracked')
  })
})

describe('mlv move', () => {
  it('moves data, pointer and ignore line', async () => {
    const repo = await makeRepo({ 'data/a': 'a', 'sets/keep': 'k' }, { init: true })
    await repo.mlv('add', 'data')
    expect(await repo.mlv('move', 'data', 'sets/raw')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('sets/raw'))).toEqual({ a: 'a' })
    expect([repo.exists('data'), repo.exists('data.mlv'), repo.exists('sets/raw.mlv')]).toEqual([false, false, true])
    expect(repo.read('sets/.gitignore')).toBe('/raw\n')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect((await repo.mlv('move', 'sets/raw', '.')).exitCode).toBe(0)
    expect(repo.exists('raw.mlv')).toBe(true)
    rmSync(repo.path('raw/a'))
    expect((await repo.mlv('status')).stdout).toMatch(/deleted +raw\/a|deleted +raw/)
  })

  it('refuses to bury anything', async () => {
    const repo = await makeRepo({ 'data/a': 'a', 'data/b': 'b', other: 'o', taken: 't' }, { init: true })
    await repo.mlv('add', 'data', 'other')
    expectFailure(await repo.mlv('move', 'other', 'taken'), 4, 'there already')
    expectFailure(await repo.mlv('move', 'data', 'data/in'), 4, 'lies in data')
    expectFailure(await repo.mlv('move', 'other', 'data/in'), 4, 'would lie in data')
    expectFailure(await repo.mlv('move', 'data/a', 'x'), 2, 'is an entry of data')
    expectFailure(await repo.mlv('move', 'nothing', 'x'), 2, 'not tracked')
    expectFailure(await repo.mlv('move', 'other', '../x'), 2, 'outside')
    expectFailure(await repo.mlv('move', 'other', '.git/x'), 2, 'protected')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })
})
