import { beforeEach, describe, expect, it } from 'vitest'
import { makeRepo, type Repo } from '../helpers/repo.ts'

const PIPELINE = 'stages:\n  train:\n    cmd: x\n    params: [train]\n    metrics: [m.json]\n'

describe('mlv exp show', () => {
  let repo: Repo
  beforeEach(async () => {
    repo = await makeRepo(
      { 'mlv.yaml': PIPELINE, 'params.yaml': 'train:\n  lr: 0.1\nseed: 7\n', 'm.json': '{"acc": 0.5, "n": 3}' },
      { init: true, commit: true, env: { TZ: 'UTC', GIT_AUTHOR_DATE: '2024-05-01T10:00:00Z' } },
    )
    await repo.git('switch', '-q', '-c', 'exp/fast')
    repo.write('params.yaml', 'train:\n  lr: 0.9\nseed: 7\n')
    repo.write('m.json', '{"acc": 0.75, "n": 3}')
    await repo.commit('Learn faster')
    await repo.git('switch', '-q', 'main')
  })

  it('shows the workspace, HEAD and exp/ branches with what differs', async () => {
    const [main, fast] = [await repo.git('rev-parse', '--short=8', 'main'), await repo.git('rev-parse', '--short=8', 'exp/fast')]
    expect(await repo.mlv('exp', 'show')).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: [
        'Revision   Commit    Time               acc  train.lr  Subject',
        'workspace                               0.5       0.1',
        `main       ${main}  2024-05-01 10:00   0.5       0.1  Start`,
        `exp/fast   ${fast}  2024-05-01 10:00  0.75       0.9  Learn faster`,
        '',
      ].join('\n'),
    })
  })

  it('--sort, --keep, --drop and --all-columns shape it', async () => {
    const header = async (...args: string[]) =>
      (await repo.mlv('exp', 'show', '--csv', ...args)).stdout.split('\n')[0]!.split(',').slice(5)
    expect(await header()).toEqual(['acc', 'train.lr'])
    expect(await header('--all-columns')).toEqual(['acc', 'n', 'train.lr', 'seed'])
    expect(await header('--keep', 's*')).toEqual(['acc', 'train.lr', 'seed'])
    expect(await header('--drop', 'train.*')).toEqual(['acc'])
    const sorted = await repo.mlv('exp', 'show', '--csv', '--sort', 'acc-desc')
    expect(sorted.stdout.split('\n')[1]).toMatch(
      /^exp\/fast,[0-9a-f]{40},2024-05-01T10:00:00\.000Z,Ada Test,Learn faster,0\.75,0\.9$/,
    )
    expect(await repo.mlv('exp', 'show', '--sort', 'nope')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('There are: acc, n, train.lr, seed'),
    })
  })

  it('--md is a table for GitHub', async () => {
    const { stdout } = await repo.mlv('exp', 'show', '--md')
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      '| Revision | Commit | Time | acc | train.lr | Subject |',
      '| --- | --- | --- | ---: | ---: | --- |',
      '| workspace |  |  | 0.5 | 0.1 |  |',
    ])
  })

  it('--json has every value, and the reason where a file is broken', async () => {
    await repo.git('switch', '-q', '-c', 'exp/broken')
    repo.write('m.json', '{"acc": \n}')
    await repo.commit('Broken')
    await repo.git('switch', '-q', 'main')
    const text = await repo.mlv('exp', 'show')
    expect(text.stdout).toMatch(/exp\/broken .* ! +0\.1 +Broken/)
    expect(text).toMatchObject({ exitCode: 0, stderr: '' })
    const answer = JSON.parse((await repo.mlv('exp', 'show', '--json')).stdout)
    expect(answer.columns).toEqual([
      { kind: 'metric', file: 'm.json', key: 'acc', label: 'acc' },
      { kind: 'param', file: 'params.yaml', key: 'train.lr', label: 'train.lr' },
    ])
    const row = (name: string) => answer.rows.find((item: { revision: string }) => item.revision === name)
    expect(row('exp/fast')).toEqual({
      ...{ revision: 'exp/fast', names: ['exp/fast'], head: false, commit: await repo.git('rev-parse', 'exp/fast') },
      ...{ parents: [await repo.git('rev-parse', 'main')], time: '2024-05-01T10:00:00.000Z' },
      ...{ author: 'Ada Test', email: 'ada@example.org', subject: 'Learn faster' },
      ...{ params: { 'params.yaml': { 'train.lr': 0.9, seed: 7 } }, metrics: { 'm.json': { acc: 0.75, n: 3 } }, problems: [] },
    })
    expect(row('exp/broken')).toMatchObject({
      metrics: {},
      problems: [{ file: 'm.json', code: 'METRICS_INVALID', message: 'm.json:2:1: a value is due, not "}"' }],
    })
  })

  it('--all-commits, --all-branches and -n reach further', async () => {
    repo.write('m.json', '{"acc": 0.6, "n": 3}')
    await repo.commit('Better')
    await repo.git('branch', 'plain', 'HEAD~1')
    const subjects = async (...args: string[]) =>
      JSON.parse((await repo.mlv('exp', 'show', '--json', ...args)).stdout).rows.map(
        (row: { subject?: string }) => row.subject ?? 'workspace',
      )
    expect((await subjects()).sort()).toEqual(['Better', 'Learn faster', 'workspace'])
    expect((await subjects('--all-branches')).sort()).toEqual(['Better', 'Learn faster', 'Start', 'workspace'])
    expect((await subjects('--all-commits')).sort()).toEqual(['Better', 'Learn faster', 'Start', 'workspace'])
    expect(await subjects('-n', '1')).toHaveLength(2)
    expect(await repo.mlv('exp', 'show', '-n', '0')).toMatchObject({ exitCode: 2 })
  })

  it('without values says where they come from', async () => {
    const empty = await makeRepo({}, { init: true })
    expect(await empty.mlv('exp', 'show')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('No params and no metrics yet'),
    })
    expect(await empty.mlv('exp')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('mlv exp show') })
  })
})
