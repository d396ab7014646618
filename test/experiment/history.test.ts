import { beforeEach, describe, expect, it } from 'vitest'
import { readCommits, walkCommits } from '../../src/experiment/commit-files.ts'
import { type HistorySelection, readHistory } from '../../src/experiment/history.ts'
import { openIsomorphicGit } from '../../src/git/isomorphic.ts'
import { openGit } from '../../src/git/open-git.ts'
import { findGit } from '../../src/git/place.ts'
import { openRevision } from '../../src/workspace/open-revision.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'

const PIPELINE = 'stages:\n  train:\n    cmd: x\n    metrics: [m.json]\n'

async function project(repo: Repo, prefix = '') {
  const git = await openGit(findGit(repo.dir)!, repo.env)
  const root = repo.path(prefix)
  const opened = {
    root,
    prefix,
    git: async () => git,
    revision: (name: string | undefined) => openRevision({ root, prefix, git: async () => git }, name),
  }
  return { ...opened, close: () => git.close() }
}

async function history(repo: Repo, selection: HistorySelection = {}, prefix = '') {
  const opened = await project(repo, prefix)
  try {
    return await readHistory(opened, selection)
  } finally {
    opened.close()
  }
}

async function subjects(repo: Repo, selection: HistorySelection) {
  return (await history(repo, { withoutWorkspace: true, ...selection })).map((row) => row.commit!.subject)
}

const ITEM = '${item}'

describe('experiments from history', () => {
  let repo: Repo
  beforeEach(async () => {
    repo = await makeRepo({ 'readme.md': 'hello\n' })
    await repo.commit('no values yet')
    repo.write('params.yaml', 'lr: 0.1\n')
    repo.write('mlv.yaml', PIPELINE)
    repo.write('m.json', '{"acc": 0.5}')
    await repo.commit('first run')
    repo.write('code.py', '1')
    await repo.commit('code only')
    repo.write('mlv.lock', '{}')
    await repo.commit('lock only')
  })

  it('by default: the workspace, HEAD and the tips of exp/ branches', async () => {
    await repo.git('switch', '-q', '-c', 'exp/fast')
    repo.write('params.yaml', 'lr: 0.9\n')
    repo.write('m.json', '{"acc": 0.7}')
    await repo.commit('faster')
    await repo.git('tag', 'v1')
    await repo.git('switch', '-q', 'main')
    await repo.git('branch', 'other')
    repo.write('m.json', '{"acc": 0.6}')
    const rows = await history(repo)
    expect(rows.map((row) => row.names)).toEqual([['workspace'], ['main', 'other'], ['exp/fast', 'v1']])
    expect(rows.map((row) => row.metrics.get('m.json')?.get('acc'))).toEqual([0.6, 0.5, 0.7])
    expect(rows.map((row) => row.params.get('params.yaml')?.get('lr'))).toEqual([0.1, 0.1, 0.9])
    expect(rows[1]).toMatchObject({
      isHead: true,
      commit: { subject: 'lock only', author: { name: 'Ada Test', email: 'ada@example.org' } },
    })
  })

  it('of all commits: those that changed params, metrics or the lock, and tips', async () => {
    expect(await subjects(repo, { allCommits: true })).toEqual(['lock only', 'first run'])
    repo.write('code.py', '2')
    await repo.commit('code again')
    expect(await subjects(repo, { allCommits: true })).toEqual(['code again', 'lock only', 'first run'])
    expect(await subjects(repo, { limit: 2 })).toEqual(['code again', 'lock only'])
    expect(await subjects(repo, {})).toEqual(['code again'])
  })

  it('compares a merge with its first parent', async () => {
    await repo.git('switch', '-q', '-c', 'side')
    repo.write('params.yaml', 'lr: 0.2\n')
    await repo.commit('side params')
    await repo.git('switch', '-q', 'main')
    repo.write('m.json', '{"acc": 0.8}')
    await repo.commit('main metrics')
    await repo.git('merge', '-q', '--no-ff', '-m', 'merge side', 'side')
    const rows = await history(repo, { allCommits: true, withoutWorkspace: true })
    const merge = rows.find((row) => row.commit!.subject === 'merge side')!
    expect([merge.params.get('params.yaml')?.get('lr'), merge.metrics.get('m.json')?.get('acc')]).toEqual([0.2, 0.8])
    const side = rows.find((row) => row.commit!.subject === 'side params')!
    expect([side.params.get('params.yaml')?.get('lr'), side.metrics.get('m.json')?.get('acc')]).toEqual([0.2, 0.5])
    expect(rows).toHaveLength(5)
  })

  it('reads the files that each commit names for itself', async () => {
    repo.write('mlv.yaml', PIPELINE.replace('m.json', 'new/m.yaml'))
    repo.write('new/m.yaml', 'acc: 0.9\n')
    await repo.commit('moved metrics')
    repo.write('m.json', '{"acc": 0}')
    await repo.commit('a file no longer named')
    const rows = await history(repo, { allCommits: true, withoutWorkspace: true })
    expect(rows.map((row) => [...row.metrics.keys()])).toEqual([['new/m.yaml'], ['new/m.yaml'], ['m.json'], ['m.json']])
    expect(rows.map((row) => row.commit!.subject)).toEqual(['a file no longer named', 'moved metrics', 'lock only', 'first run'])
    await repo.commit('tip')
    expect(await subjects(repo, { allCommits: true })).not.toContain('a file no longer named')
  })

  it('keeps a table whole when an old file is broken', async () => {
    repo.write('m.json', '{"acc": ')
    await repo.commit('broken metrics')
    repo.write('mlv.yaml', 'stages: [')
    repo.write('m.json', '{"acc": 1}')
    await repo.commit('broken pipeline')
    repo.write('mlv.yaml', PIPELINE)
    repo.write('m.json', '{"acc": 2}')
    await repo.commit('mended')
    const rows = await history(repo, { allCommits: true })
    expect(rows.map((row) => row.problems.map(({ file, message }) => `${file} ${message}`))).toEqual([
      [],
      [],
      [expect.stringMatching(/^mlv\.yaml mlv\.yaml:1:\d+: /)],
      ['m.json m.json:1:9: the file ends where a value is due'],
      [],
      [],
    ])
  })

  it('finds files of templated paths at every commit', async () => {
    repo.write('mlv.yaml', `stages:\n  each:\n    foreach: [a, b]\n    do:\n      cmd: x\n      metrics: ["out/${ITEM}.json"]\n`)
    repo.write('out/a.json', '{"acc": 1}')
    await repo.commit('a')
    repo.write('out/b.json', '{"acc": 2}')
    await repo.commit('b')
    const expected = [['out/a.json', 'out/b.json'], ['out/a.json']]
    const walked = await history(repo, { allCommits: true, withoutWorkspace: true })
    expect(walked.slice(0, 2).map((row) => [...row.metrics.keys()])).toEqual(expected)
    expect([...(await history(repo))[1]!.metrics.keys()]).toEqual(expected[0])
  })

  it('of a project in a sub-directory sees that directory alone', async () => {
    repo.write('sub/dir/params.yaml', 'lr: 5\n')
    repo.write('sub/dir/mlv.yaml', PIPELINE)
    repo.write('sub/dir/m.json', '{"acc": 5}')
    await repo.commit('sub project')
    repo.write('params.yaml', 'lr: 9\n')
    await repo.commit('not ours')
    const rows = await history(repo, { allCommits: true }, 'sub/dir')
    expect(
      rows.map((row) => [row.commit?.subject, row.params.get('params.yaml')?.get('lr'), row.metrics.get('m.json')?.get('acc')]),
    ).toEqual([
      [undefined, 5, 5],
      ['not ours', 5, 5],
      ['sub project', 5, 5],
    ])
    expect((await history(repo, {}, 'sub/dir'))[1]!.metrics.get('m.json')?.get('acc')).toBe(5)
  })

  it('of given commits reads exactly these, with labels', async () => {
    const id = await repo.git('rev-parse', 'HEAD~2')
    const rows = await history(repo, { commits: [id] })
    expect(rows).toMatchObject([{ commit: { id, subject: 'first run' }, names: [] }])
  })

  it('in a clone lists experiments of the remote, and shallow history as far as it goes', async () => {
    await repo.git('branch', 'exp/far')
    await repo.git('switch', '-q', '-c', 'exp/near')
    repo.write('params.yaml', 'lr: 3\n')
    await repo.commit('near')
    await repo.git('switch', '-q', 'main')
    const clone = await repo.clone()
    expect((await history(clone)).map((row) => row.names)).toEqual([
      ['workspace'],
      ['main', 'origin/exp/far'],
      ['origin/exp/near'],
    ])
    const shallow = await repo.clone('--depth', '1')
    const rows = await history(shallow, { allCommits: true, withoutWorkspace: true })
    expect(rows.map((row) => row.metrics.get('m.json')?.get('acc'))).toEqual([0.5])
  })

  it('without any commit is the workspace alone', async () => {
    const fresh = await makeRepo({ 'params.yaml': 'lr: 1\n' })
    const rows = await history(fresh, { allCommits: true })
    expect(rows).toMatchObject([{ commit: undefined, names: ['workspace'] }])
    expect(await history(fresh)).toHaveLength(1)
  })

  it('walking and reading one by one agree at every commit, with git and without', async () => {
    await repo.git('switch', '-q', '-c', 'side', 'HEAD~2')
    repo.write('m.json', '{"acc": 0.25}')
    await repo.commit('side')
    await repo.git('rm', '-q', 'params.yaml')
    await repo.commit('params gone')
    await repo.git('switch', '-q', 'main')
    await repo.git('merge', '-q', '-m', 'merge', 'side')
    const place = findGit(repo.dir)!
    const head = await repo.git('rev-parse', 'HEAD')
    for (const git of [await openGit(place, repo.env), await openIsomorphicGit(place)]) {
      const walked = await walkCommits({ git, prefix: '' }, [head])
      const read = await readCommits(
        { git, prefix: '' },
        walked.map((item) => item.commit.id),
      )
      expect(walked.length).toBe(7)
      const filesOf = (item: (typeof read)[number]) => ['params.yaml', 'm.json'].map((path) => item.files.get(path))
      expect(walked.map(filesOf)).toEqual(read.map(filesOf))
      expect(walked.map((item) => item.pipeline.id)).toEqual(read.map((item) => item.pipeline.id))
      git.close()
    }
  })
})
