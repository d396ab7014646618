import { rmSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { makeRepo, type Repo } from '../helpers/repo.ts'

/** Two commits: `data` with a file that is ignored from the second one on. */
async function makeIgnored(): Promise<Repo> {
  const repo = await makeRepo({ 'data/a': 'a\n', 'data/run.log': 'first\n' }, { init: true })
  await repo.mlv('add', 'data')
  await repo.commit()
  repo.write('.mlvignore', '*.log\n')
  return repo
}

describe('checkout, where .mlvignore hides something', () => {
  it('does not overwrite a hidden file that is in no cache', async () => {
    const repo = await makeIgnored()
    repo.write('data/run.log', 'mine\n')
    repo.write('data/a', 'b\n')
    await repo.mlv('add', '--force', 'data/a')
    const result = await repo.mlv('checkout')
    expect(result).toMatchObject({ exitCode: 4 })
    expect(result.stderr).toContain('data/run.log has changes that are in no cache')
    expect(repo.read('data/run.log')).toBe('mine\n')
    expect(await repo.mlv('checkout', '--force')).toMatchObject({ exitCode: 0 })
    expect(repo.read('data/run.log')).toBe('first\n')
  })

  it.each([['data'], ['data/sub']])('does not put a file in the place of %s, which holds a hidden one', async (path) => {
    const repo = await makeRepo({ [`${path}/a`]: 'a\n', [`${path}/__pycache__/x`]: 'x\n' }, { init: true })
    await repo.mlv('add', 'data')
    await repo.commit()
    await repo.git('switch', '-q', '-c', 'file')
    rmSync(repo.path(path), { recursive: true })
    repo.write(path, 'now a file\n')
    await repo.mlv('add', 'data')
    await repo.commit()
    rmSync(repo.path(path))
    repo.write(`${path}/a`, 'a\n')
    repo.write(`${path}/__pycache__/x`, 'x\n')
    const refused = await repo.mlv('checkout', path)
    expect(refused).toMatchObject({ exitCode: 4 })
    expect(refused.stderr).toContain(`${path}/__pycache__/x has changes that are in no cache`)
    expect(repo.read(`${path}/a`)).toBe('a\n')
    expect(await repo.mlv('checkout', '--force', path)).toMatchObject({ exitCode: 0 })
    expect(repo.read(path)).toBe('now a file\n')
  })
})
