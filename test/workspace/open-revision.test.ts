import { symlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { RepoPath } from '../../src/base/paths.ts'
import type { Git } from '../../src/git/git.ts'
import { openGit } from '../../src/git/open-git.ts'
import { findGit } from '../../src/git/place.ts'
import { openRevision, resolveRange } from '../../src/workspace/open-revision.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'

const path = (text: string) => text as RepoPath

async function openAt(repo: Repo, prefix = '') {
  const git: Git = await openGit(findGit(repo.dir)!, repo.env)
  return { root: repo.path(prefix), prefix, git: async () => git }
}

describe('a revision', () => {
  it('reads the workspace and a commit the same way', async () => {
    const repo = await makeRepo({ 'params.yaml': 'lr: 1\n', 'sub/a': 'a', '.gitignore': 'skip\n' }, { commit: true })
    repo.write('params.yaml', 'lr: 2\n')
    repo.write('new', 'x')
    repo.write('skip', 'x')
    const project = await openAt(repo)
    const text = async (name: string | undefined, file: string) =>
      Buffer.from((await (await openRevision(project, name)).read(path(file))) ?? '-').toString()
    expect(await text('HEAD', 'params.yaml')).toBe('lr: 1\n')
    for (const name of [undefined, 'workspace']) expect(await text(name, 'params.yaml')).toBe('lr: 2\n')
    expect(await text(undefined, 'skip')).toBe('x')
    for (const file of ['nothing', 'sub', 'params.yaml/below'])
      for (const name of ['HEAD', undefined]) expect(await text(name, file)).toBe('-')
    const list = async (name: string | undefined, folder?: string) =>
      (await (await openRevision(project, name)).list(folder === undefined ? undefined : path(folder))).sort()
    expect(await list('HEAD')).toEqual(['.gitignore', 'params.yaml', 'sub/a'])
    expect(await list(undefined)).toEqual(['.gitignore', 'new', 'params.yaml', 'sub/a'])
    for (const name of ['HEAD', undefined]) expect(await list(name, 'sub')).toEqual(['sub/a'])
    expect(await openRevision(project, 'main')).toMatchObject({ name: 'main', commit: await repo.git('rev-parse', 'HEAD') })
  })

  it('sees only the project, below the top of the work tree', async () => {
    const repo = await makeRepo({ 'top.txt': 'x', 'sub/dir/a': 'a', 'sub/directory': 'b' }, { commit: true })
    const project = await openAt(repo, 'sub/dir')
    for (const name of ['HEAD', undefined]) {
      const revision = await openRevision(project, name)
      expect(await revision.list()).toEqual(['a'])
      expect(Buffer.from((await revision.read(path('a')))!).toString()).toBe('a')
    }
  })

  it('does not follow a link out of the project', async () => {
    const repo = await makeRepo({ 'sub/inside': 'x', outside: 'secret', 'folder/file': 'secret' })
    for (const [target, link] of [
      ['inside', 'good'],
      ['../outside', 'bad'],
      ['../folder', 'way'],
      ['nowhere', 'dangling'],
      ['loop', 'loop'],
    ] as const)
      symlinkSync(target, repo.path(`sub/${link}`))
    const revision = await openRevision(await openAt(repo, 'sub'), undefined)
    expect(Buffer.from((await revision.read(path('good')))!).toString()).toBe('x')
    for (const link of ['bad', 'way/file'])
      await expect(revision.read(path(link))).rejects.toMatchObject({ code: 'PATH_INVALID' })
    for (const link of ['dangling', 'loop', 'way'])
      expect(await revision.read(path(link)).catch((error) => error.code)).toSatisfy(
        (found) => found === undefined || found === 'PATH_INVALID',
      )
  })

  it('says what to try when there is no such commit', async () => {
    const repo = await makeRepo({ a: '1' })
    const unknown = async (from: Repo, name: string) =>
      openRevision(await openAt(from), name).catch((error) => `${error.code}: ${error.hint}`)
    expect(await unknown(repo, 'HEAD')).toMatch(/^REVISION_UNKNOWN: .*git commit/)
    await repo.commit()
    expect(await unknown(repo, 'nothing')).toMatch(/^REVISION_UNKNOWN: .*git branch -a.*git fetch/)
    expect(await unknown(repo, '--all')).toMatch(/^REVISION_UNKNOWN/)
    await repo.git('switch', '-q', '-c', 'exp/lr')
    await repo.git('switch', '-q', 'main')
    expect(await unknown(await repo.clone(), 'exp/lr')).toBe('REVISION_UNKNOWN: Did you mean "origin/exp/lr"?')
    await repo.commit()
    expect(await unknown(await repo.clone('--depth', '1'), 'HEAD~1')).toMatch(/fetch-depth: 0/)
  })
})

describe('A...B', () => {
  it('goes from the merge base to B', async () => {
    const repo = await makeRepo({ a: '1' })
    const base = await repo.commit('base')
    await repo.git('switch', '-q', '-c', 'side')
    const side = await repo.commit('side')
    await repo.git('switch', '-q', 'main')
    await repo.commit('ahead')
    const git = await (await openAt(repo)).git()
    expect(await resolveRange(git, 'main...side')).toEqual([base, side])
    expect(await resolveRange(git, '...side')).toEqual([base, side])
    expect(await resolveRange(git, 'side...')).toEqual([base, await repo.git('rev-parse', 'main')])
    expect(await resolveRange(git, 'main')).toBeUndefined()
    await expect(resolveRange(git, 'main...nothing')).rejects.toMatchObject({
      code: 'REVISION_UNKNOWN',
      message: expect.stringContaining('nothing'),
    })
    await repo.git('switch', '-q', '--orphan', 'apart')
    await repo.commit('apart')
    await expect(resolveRange(git, 'main...apart')).rejects.toMatchObject({
      code: 'REVISION_UNKNOWN',
      message: expect.stringContaining('no commit in common'),
    })
  })
})
