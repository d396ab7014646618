import { copyFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { openBinaryGit } from '../../src/git/binary.ts'
import { findGitProgram } from '../../src/git/git-process.ts'
import { openIsomorphicGit } from '../../src/git/isomorphic.ts'
import { openGit } from '../../src/git/open-git.ts'
import { findGit } from '../../src/git/place.ts'
import { makeRepo } from '../helpers/repo.ts'
import { describeGit } from './contract.ts'

describeGit('the git program', async (place, env) => openBinaryGit(findGitProgram(env)!, place, env))
describeGit('isomorphic-git', openIsomorphicGit)

describe('git started from within a hook or a script', () => {
  it('stays in its own repository, whatever GIT_DIR says', async () => {
    const repo = await makeRepo({ a: '1' }, { commit: true })
    const other = await makeRepo({ b: '1' }, { commit: true })
    const env = {
      ...repo.env,
      GIT_DIR: other.path('.git'),
      GIT_WORK_TREE: other.dir,
      GIT_INDEX_FILE: other.path('.git/index'),
      GIT_PREFIX: 'x/',
    }
    const git = await openGit(findGit(repo.dir)!, env)
    expect(await git.tracked('')).toEqual(['a'])
    expect(await git.resolve('HEAD')).toBe(await repo.git('rev-parse', 'HEAD'))
    git.close()
  })

  it('sees the coming commit in an index beside its own', async () => {
    const repo = await makeRepo({ a: '1' }, { commit: true })
    repo.write('b', '2')
    await repo.git('add', 'b')
    copyFileSync(repo.path('.git/index'), repo.path('.git/next-index-1.lock'))
    await repo.git('rm', '-q', '--cached', 'b')
    const git = await openGit(findGit(repo.dir)!, { ...repo.env, GIT_INDEX_FILE: '.git/next-index-1.lock' })
    expect(await git.tracked('')).toEqual(['a', 'b'])
    git.close()
  })

  it('is read by isomorphic-git where PATH has no git', async () => {
    const repo = await makeRepo({ a: '1' }, { commit: true })
    const git = await openGit(findGit(repo.dir)!, { ...repo.env, PATH: repo.dir })
    expect(await git.resolve('HEAD')).toBe(await repo.git('rev-parse', 'HEAD'))
    git.close()
  })

  it('fails with the command that helps where git does not trust the owner', async () => {
    const repo = await makeRepo({ a: '1' }, { commit: true })
    const git = await openGit(findGit(repo.dir)!, { ...repo.env, GIT_TEST_ASSUME_DIFFERENT_OWNER: '1' })
    await expect(git.tracked('')).rejects.toMatchObject({
      code: 'GIT_FAILED',
      hint: expect.stringContaining('git config --global --add safe.directory'),
    })
    git.close()
  })
})
