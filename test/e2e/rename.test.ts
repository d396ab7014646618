import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { makeRepo } from '../helpers/repo.ts'

it('a pointer renamed by git renames its data, and git is shown neither name', async () => {
  const repo = await makeRepo({ 'old/a.txt': 'a', 'old/b.txt': 'b' }, { init: true })
  await repo.mlv('add', 'old')
  await repo.commit('one')
  await repo.git('mv', 'old.mlv', 'new.mlv')
  expect((await repo.mlv('checkout')).exitCode).toBe(0)
  expect(await repo.read('new/a.txt')).toBe('a')
  expect(await repo.exists('old')).toBe(false)
  expect(await repo.git('status', '--short')).toBe(' M .gitignore\nR  old.mlv -> new.mlv')
  expect(await repo.read('.gitignore')).toBe('/new\n')
})

it('a cache that lost everything is told of, and filled again from the workspace', async () => {
  const repo = await makeRepo({ 'data/a.txt': 'a', 'data/b.txt': 'b' }, { init: true })
  await repo.mlv('add', 'data')
  rmSync(join(repo.dir, '.git/mlv/store'), { recursive: true, force: true })
  expect(await repo.mlv('status')).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('unchanged  data  (missing from cache)'),
  })
  expect((await repo.mlv('add', 'data')).stdout).toContain('stored again')
  expect(await repo.mlv('status')).toMatchObject({ exitCode: 0, stdout: 'up to date\n' })
})

it('data of another branch goes with its branch, and comes back with it', async () => {
  const repo = await makeRepo({ 'readme.txt': 'x' }, { init: true, commit: true })
  await repo.git('switch', '-q', '-c', 'other')
  await repo.write('data/a.txt', 'a')
  await repo.mlv('add', 'data')
  await repo.commit('data')
  await repo.git('switch', '-q', 'main')
  expect((await repo.mlv('checkout')).stdout).toContain('1 file removed')
  expect(await repo.exists('data')).toBe(false)
  await repo.git('switch', '-q', 'other')
  await repo.mlv('checkout')
  expect(await repo.read('data/a.txt')).toBe('a')
  await repo.write('data/new.txt', 'mine')
  await repo.git('switch', '-q', 'main')
  await repo.mlv('checkout')
  expect(await repo.read('data/new.txt')).toBe('mine')
})
