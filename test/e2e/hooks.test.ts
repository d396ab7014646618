import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

const PIPELINE = `stages:
  copy:
    cmd: cp params.yaml model.bin
    deps: [params.yaml]
    outs: [model.bin]
`

/** A repository with a stage whose out mlv stores, hooks installed, and remotes for git and for data. */
async function makeProject(): Promise<Repo> {
  const repo = await makeRepo({ 'mlv.yaml': PIPELINE, 'params.yaml': 'lr: 1\n' }, { init: true })
  const { dir } = makeFolder()
  await repo.mlv('remote', 'add', 'origin', join(dir, 'store'))
  await repo.mlv('repro')
  await repo.commit('Run')
  await repo.mlv('hooks', 'install')
  await repo.git('init', '-q', '--bare', join(dir, 'bare.git'))
  await repo.git('remote', 'add', 'origin', join(dir, 'bare.git'))
  return repo
}

describe('with hooks installed', () => {
  it('git push sends the outs of stages first', async () => {
    const repo = await makeProject()
    await repo.git('push', '-q', 'origin', 'main')
    expect((await repo.mlv('push', '--dry-run')).stdout).toBe('everything is on origin already\n')
  })

  it('git switch places the outs of stages as the other branch has them', async () => {
    const repo = await makeProject()
    await repo.git('switch', '-q', '-c', 'exp/two')
    repo.write('params.yaml', 'lr: 2\n')
    await repo.mlv('repro')
    await repo.commit('Run with 2')
    await repo.git('switch', '-q', 'main')
    expect(repo.read('model.bin')).toBe('lr: 1\n')
    expect((await repo.mlv('repro', '--dry-run', '--exit-code')).exitCode).toBe(0)
  })
})
