import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openIndex } from '../../src/store/pack-index.ts'
import { makeFolder, makeRepo } from '../helpers/repo.ts'

/** The indexes of a store that repeat others, and the number of all. */
function indexesOf(store: string): { all: number; merged: number } {
  const folder = join(store, 'index')
  const indexes = readdirSync(folder).map((name) => openIndex(readFileSync(join(folder, name))))
  return { all: indexes.length, merged: indexes.filter(({ supersedes }) => supersedes.length > 0).length }
}

describe('many small adds and pushes', () => {
  it('leave few indexes in use, in the cache and on the remote, and print nothing of it', async () => {
    const remote = makeFolder().dir
    const repo = await makeRepo({}, { init: true })
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    for (let i = 0; i < 8; i++) {
      repo.write('data/file', `version ${i}\n`)
      expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
      const push = await repo.mlv('push', '--json')
      expect(push).toMatchObject({ exitCode: 0, stderr: '' })
      expect(JSON.parse(push.stdout)).toMatchObject({ objects: 2 })
    }
    await repo.commit()
    // The merged one says it all: the others are deleted at once.
    for (const store of [remote, repo.path('.git/mlv/store')]) expect(indexesOf(store)).toMatchObject({ all: 1, merged: 1 })
    expect((await repo.mlv('push')).stdout).toBe('everything is on origin already\n')
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(clone.read('data/file')).toBe('version 7\n')
    expect((await repo.mlv('checkout')).exitCode).toBe(0)
  })
})
