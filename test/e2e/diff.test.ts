import { renameSync, rmSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

/** v1, v2 of a folder and a file, tagged and pushed. */
async function twoVersions(): Promise<{ repo: Repo; remote: string }> {
  const remote = makeFolder().dir
  const repo = await makeRepo({ 'data/a': 'aaa', 'data/b': 'bb', 'data/sub/c': 'cccc', model: 'one' }, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  await repo.mlv('add', 'data', 'model')
  await repo.commit('First')
  await repo.git('tag', 'v1')
  repo.write('data/a', 'aaaaaa')
  rmSync(repo.path('data/b'))
  renameSync(repo.path('data/sub/c'), repo.path('data/sub/moved'))
  repo.write('data/new', 'n')
  repo.write('model', 'second')
  await repo.mlv('add', '-u')
  await repo.commit('Second')
  await repo.git('tag', 'v2')
  expect(await repo.mlv('push', '--all-commits')).toMatchObject({ exitCode: 0, stderr: '' })
  return { repo, remote }
}

const TEXT = `modified  data  (3 files, 9 B → 3 files, 11 B)  +1 −1 ~1 →1
  ~ modified  data/a  (3 B → 6 B)
  - deleted   data/b  (2 B)
  + added     data/new  (1 B)
  → renamed   data/sub/c → data/sub/moved  (4 B)
modified  model  (3 B → 6 B)
`

describe('mlv diff', () => {
  it('compares two revisions down to files, with sizes and renames', async () => {
    const { repo } = await twoVersions()
    expect(await repo.mlv('diff', 'v1', 'v2')).toEqual({ exitCode: 0, stdout: TEXT, stderr: '' })
    expect((await repo.mlv('diff', 'v1')).stdout).toBe(TEXT)
    expect((await repo.mlv('diff', 'v1..v2', '--stat')).stdout).toBe(
      'modified  data  (3 files, 9 B → 3 files, 11 B)  +1 −1 ~1 →1\nmodified  model  (3 B → 6 B)\n',
    )
    expect((await repo.mlv('diff', 'v1', 'v2', '--', 'model')).stdout).toBe('modified  model  (3 B → 6 B)\n')
    expect((await repo.mlv('diff', '--exit-code')).exitCode).toBe(0)
    expect((await repo.mlv('diff', 'v1', '--exit-code')).exitCode).toBe(1)
    const answer = JSON.parse((await repo.mlv('diff', 'v1', 'v2', '--json')).stdout)
    expect(answer.paths.map((item: { path: string }) => item.path)).toEqual(['data', 'model'])
    expect((await repo.mlv('diff', 'v1', 'v2', '--', 'data/sub')).stdout).toMatch(/renamed {3}data\/sub\/c → data\/sub\/moved/)
    expect((await repo.mlv('diff', 'v1', 'v2', '--', 'data/sub')).stdout).not.toContain('data/a')
  })

  it('says the same again, and after a status: pages of a tree that is in no store are made anew', async () => {
    const { repo, remote } = await twoVersions()
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    await clone.mlv('pull', 'data/sub', 'data/new')
    clone.write('data/sub/moved', 'mine')
    clone.write('data/other/mine', 'mine')
    const text = `modified  data  (3 files, 11 B → 4 files, 15 B)  +1 −0 ~1
  + added     data/other/mine  (4 B)
  ~ modified  data/sub/moved  (4 B)
`
    for (const before of ['status', 'diff']) {
      await clone.mlv(before)
      expect(await clone.mlv('diff')).toEqual({ exitCode: 0, stdout: text, stderr: '' })
    }
  })

  it('--md makes a table for a pull request', async () => {
    const { repo } = await twoVersions()
    const { stdout } = await repo.mlv('diff', 'v1...v2', '--md')
    expect(stdout).toContain('| path | before | after | files |\n| --- | --- | --- | --- |\n')
    expect(stdout).toContain('| data | 3 files, 9 B | 3 files, 11 B | +1 −1 ~1 →1 |')
    expect(stdout).toContain('- renamed `data/sub/c → data/sub/moved`')
    expect((await repo.mlv('diff', 'v2', 'v2', '--md')).stdout).toBe('No data changed.\n')
  })

  it('compares from where a branch left', async () => {
    const { repo } = await twoVersions()
    await repo.git('switch', '-q', '-c', 'exp', 'v1')
    await repo.mlv('checkout', '--force')
    repo.write('model', 'experiment')
    await repo.mlv('add', 'model')
    await repo.commit('Try')
    expect((await repo.mlv('diff', 'main...exp')).stdout).toBe('modified  model  (3 B → 10 B)\n')
  })

  it('needs no data: a fresh clone reads the pages from the remote', async () => {
    const { repo, remote } = await twoVersions()
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect((await clone.mlv('diff', 'v1', 'v2')).stdout).toBe(TEXT)
    // What was never placed here is no difference.
    expect((await clone.mlv('diff')).stdout).toMatch(/^no data differs between HEAD and/)
    await clone.mlv('pull', 'data/sub')
    expect((await clone.mlv('diff')).stdout).toMatch(/^no data differs/)
  })

  it('tells totals only where the pages cannot be had', async () => {
    const { repo } = await twoVersions()
    const clone = await repo.clone()
    expect((await clone.mlv('diff', 'v1', 'v2')).stdout).toBe(
      'modified  data  (3 files, 9 B → 3 files, 11 B)  files unknown: no list of them here\nmodified  model  (3 B → 6 B)\n',
    )
    await clone.mlv('remote', 'add', 'gone', 's3://nowhere/x', '--local')
    await clone.mlv('config', 'set', 'remotes.gone.endpoint', 'http://127.0.0.1:9', '--local')
    expect((await clone.mlv('diff', 'v1', 'v2')).stdout).toContain('files unknown')
  })

  it('shows the workspace: what changed, what was deleted, what is new', async () => {
    const { repo } = await twoVersions()
    repo.write('data/a', 'x')
    rmSync(repo.path('model'))
    expect((await repo.mlv('diff')).stdout).toBe(
      `modified  data  (3 files, 11 B → 3 files, 6 B)  +0 −0 ~1
  ~ modified  data/a  (6 B → 1 B)
deleted   model  (6 B → nothing)
`,
    )
    repo.write('extra', 'e')
    await repo.mlv('add', 'extra')
    expect((await repo.mlv('diff', '--', 'extra')).stdout).toBe('added     extra  (nothing → 1 B)\n')
  })

  it('explains unknown revisions, paths without --, shallow clones', async () => {
    const { repo } = await twoVersions()
    expectFailure(await repo.mlv('diff', 'nope'), 2, 'nope')
    expect(expectFailure(await repo.mlv('diff', 'model'), 2, 'not a revision')).toContain('--')
    expectFailure(await repo.mlv('diff', 'v1', 'v2', 'v1'), 2, 'Two revisions')
    await repo.git('switch', '-q', '-c', 'exp')
    await repo.commit('More')
    const clone = await repo.clone('--depth', '1', '--no-single-branch')
    expect(expectFailure(await clone.mlv('diff', 'origin/main...HEAD'), 3, 'shallow')).toContain('fetch-depth: 0')
  })
})
