import { describe, expect, it } from 'vitest'
import { makeRepo } from '../helpers/repo.ts'

const PIPELINE = `stages:
  train:
    cmd: x
    params: [train, {eval.toml: [threshold]}, {conf.json: }]
`

describe('mlv params', () => {
  it('show lists the values of all params files, and only the named keys of others', async () => {
    const repo = await makeRepo(
      {
        'mlv.yaml': PIPELINE,
        'params.yaml': 'train:\n  lr: 0.001\n  layers: [64, 32]\nseed: 9223372036854775807\n',
        'eval.toml': 'threshold = 0.5\nother = 1\n',
        'conf.json': '{"a.b": null}',
      },
      { init: true, commit: true },
    )
    expect(await repo.mlv('params', 'show')).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: [
        'File         Key                         Value',
        'params.yaml  train.lr                    0.001',
        'params.yaml  train.layers             [64, 32]',
        'params.yaml  seed          9223372036854775807',
        'eval.toml    threshold                     0.5',
        'conf.json    "a.b"                        null',
        '',
      ].join('\n'),
    })
  })

  it('diff shows what changed between branches, as text, CSV and JSON', async () => {
    const repo = await makeRepo({ 'params.yaml': 'lr: 0.1\nopt: adam\nold: 1\n' }, { init: true, commit: true })
    await repo.git('switch', '-q', '-c', 'exp/fast')
    repo.write('params.yaml', 'lr: 0.2\nopt: sgd\nfresh: true\n')
    await repo.commit('fast')
    expect((await repo.mlv('params', 'diff', 'main')).stdout).toBe(
      [
        'File         Key    main  workspace  Change  Percent',
        'params.yaml  lr      0.1        0.2    +0.1    +100%  ▲',
        'params.yaml  opt    adam        sgd',
        'params.yaml  fresh     -       true',
        'params.yaml  old       1          -',
        '',
      ].join('\n'),
    )
    expect((await repo.mlv('params', 'diff', 'main', 'HEAD', '--csv')).stdout.split('\n')[1]).toBe(
      'params.yaml,lr,0.1,0.2,0.1,100,',
    )
    const { rows } = JSON.parse((await repo.mlv('params', 'diff', 'HEAD', 'main', '--json')).stdout)
    expect(rows[0]).toMatchObject({ key: 'lr', before: 0.2, after: 0.1, change: -0.1, percent: -50 })
  })

  it('names the place of broken YAML at a revision', async () => {
    const repo = await makeRepo({ 'params.yaml': 'a: 1\na: 2\n' }, { init: true, commit: true })
    const { exitCode, stderr } = await repo.mlv('params', 'show', 'main')
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('warning: main:params.yaml:2:1: ')])
    repo.write('mlv.yaml', 'stages: [\n')
    expect(await repo.mlv('params', 'diff')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('error: mlv.yaml:') })
  })

  it('outside a project says what to do', async () => {
    const bare = await makeRepo({ 'params.yaml': 'a: 1\n' })
    expect(await bare.mlv('params', 'show')).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('mlv init') })
  })
})
