import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findGit } from '../../src/git/place.ts'
import { makeFolder, makeRepo } from '../helpers/repo.ts'

describe('findGit', () => {
  it('finds the work tree from any folder below it', async () => {
    const repo = await makeRepo({ 'a/b/c.txt': 'x' })
    const place = { workTree: repo.dir, gitDir: repo.path('.git'), commonDir: repo.path('.git') }
    expect(findGit(repo.dir)).toEqual(place)
    expect(findGit(repo.path('a/b'))).toEqual(place)
  })

  it('leads a linked worktree to the common folder', async () => {
    const repo = await makeRepo({ a: '1' }, { commit: true })
    const other = join(makeFolder().dir, 'other tree')
    await repo.git('worktree', 'add', '-q', '-b', 'side', other)
    expect(findGit(other)).toEqual({
      workTree: other,
      gitDir: repo.path('.git/worktrees/other-tree'),
      commonDir: repo.path('.git'),
    })
  })

  it('takes a submodule as a repository of its own', async () => {
    const inner = await makeRepo({ a: '1' }, { commit: true })
    const repo = await makeRepo()
    await repo.git('submodule', 'add', '-q', inner.dir, 'libs/inner')
    const gitDir = repo.path('.git/modules/libs/inner')
    expect(findGit(repo.path('libs/inner'))).toEqual({ workTree: repo.path('libs/inner'), gitDir, commonDir: gitDir })
  })

  it('passes by a folder that is only named .git', async () => {
    const repo = await makeRepo()
    mkdirSync(repo.path('sub/.git'), { recursive: true })
    expect(findGit(repo.path('sub'))?.workTree).toBe(repo.dir)
  })

  it('finds nothing outside a repository', () => {
    expect(findGit(makeFolder().dir)).toBeUndefined()
  })

  it.each([
    ['garbage', 'is neither a git folder nor'],
    ['gitdir: /nowhere/at/all\n', 'leads to /nowhere/at/all'],
  ])('says what is wrong with a .git file that reads %j', (text, message) => {
    const { dir } = makeFolder()
    writeFileSync(join(dir, '.git'), text)
    expect(() => findGit(dir)).toThrow(expect.objectContaining({ code: 'GIT_FAILED', message: expect.stringContaining(message) }))
  })
})
