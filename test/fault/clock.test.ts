import { rmSync, utimesSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { listing } from '../helpers/listing.ts'
import { makeRepo } from '../helpers/repo.ts'

const DAY = 24 * 3600

describe.each([
  ['ahead', DAY],
  ['behind', -DAY],
])('files whose clock is a day %s', (_name, skew) => {
  const time = Date.now() / 1000 + skew
  const touch = (path: string) => utimesSync(path, time, time)

  it('are added, seen to change, checked out and pulled like others', async () => {
    const repo = await makeRepo({ 'data/a': 'one', 'data/b': 'b' }, { init: true })
    await repo.mlv('remote', 'add', 'origin', `${repo.dir}/../remote`, '--local')
    for (const name of ['data/a', 'data/b']) touch(repo.path(name))
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    await repo.commit()
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0, stderr: '' })
    const before = listing(repo.path('data'))
    repo.write('data/a', 'longer')
    touch(repo.path('data/a'))
    expect((await repo.mlv('status')).stdout).toMatch(/modified +data/)
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 4 })
    expect(await repo.mlv('checkout', '--force')).toMatchObject({ exitCode: 0 })
    for (const path of ['data', '.git/mlv/store', '.git/mlv/state']) rmSync(repo.path(path), { recursive: true })
    expect(await repo.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('data'))).toEqual(before)
  })
})

it('a time ahead of ours never vouches for a file: a change of the same size, with the same time, is seen', async () => {
  const repo = await makeRepo({ 'data/a': 'one' }, { init: true })
  const time = Date.now() / 1000 + DAY
  utimesSync(repo.path('data/a'), time, time)
  await repo.mlv('add', 'data')
  repo.write('data/a', 'two')
  utimesSync(repo.path('data/a'), time, time)
  expect((await repo.mlv('status')).stdout).toMatch(/modified +data/)
})
