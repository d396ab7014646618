import { chmodSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { makeRepo, type Repo, run } from '../helpers/repo.ts'

const WORKFLOW = fileURLToPath(new URL('../../examples/ci-github.yml', import.meta.url))
const BIN = fileURLToPath(new URL('../../bin/mlv.js', import.meta.url))

const PIPELINE = `stages:
  train:
    cmd: node train.js
    metrics: [metrics/train.json, {big.json: {git: false}}]
metrics:
  metrics/train.json:
    accuracy: {goal: max, tolerance: 0.002, min: 0.9}
    loss: {goal: min}
`

const BEFORE = '{"accuracy": 0.95, "loss": 0.123456789, "n": 1200, "name": "a|b", "same": 1}'
const AFTER = '{"accuracy": 0.88, "loss": 0.113456789, "n": 1201, "name": "c", "same": 1, "new": NaN}'

function lines(...text: string[]): string {
  return `${text.join('\n')}\n`
}

describe('mlv metrics', () => {
  let repo: Repo
  beforeEach(async () => {
    repo = await makeRepo(
      { 'mlv.yaml': PIPELINE, 'metrics/train.json': BEFORE, '.gitignore': 'big.json\n' },
      { init: true, commit: true },
    )
  })

  it('diff compares HEAD with the workspace and judges by the goals', async () => {
    repo.write('metrics/train.json', AFTER)
    expect(await repo.mlv('metrics', 'diff')).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: lines(
        'File                Key          HEAD  workspace  Change   Percent',
        'metrics/train.json  accuracy     0.95       0.88   -0.07    -7.37%  ▼ worse below 0.9',
        'metrics/train.json  loss      0.12346    0.11346   -0.01     -8.1%  ▼ better',
        'metrics/train.json  n            1200       1201      +1  +0.0833%  ▲',
        'metrics/train.json  name          a|b          c',
        'metrics/train.json  new             -        NaN',
      ),
    })
  })

  it('diff main...HEAD --md shows what a branch changed since it left main', async () => {
    await repo.git('switch', '-q', '-c', 'exp/try')
    repo.write('metrics/train.json', AFTER)
    await repo.commit('try')
    await repo.git('switch', '-q', 'main')
    repo.write('metrics/train.json', '{"accuracy": 0.1}')
    await repo.commit('main goes on')
    await repo.git('switch', '-q', 'exp/try')
    const { stdout } = await repo.mlv('metrics', 'diff', '--md', 'main...HEAD')
    expect(stdout).toBe(
      lines(
        '| File | Key | main (base) | HEAD | Change | Percent |  |',
        '| --- | --- | ---: | ---: | ---: | ---: | --- |',
        '| `metrics/train.json` | `accuracy` | 0.95 | 0.88 | -0.07 | -7.37% | ▼ **worse** **below 0.9** |',
        '| `metrics/train.json` | `loss` | 0.12346 | 0.11346 | -0.01 | -8.1% | ▼ **better** |',
        '| `metrics/train.json` | `n` | 1200 | 1201 | +1 | +0.0833% | ▲ |',
        '| `metrics/train.json` | `name` | a\\|b | c |  |  |  |',
        '| `metrics/train.json` | `new` |  | NaN |  |  |  |',
      ),
    )
    expect((await repo.mlv('metrics', 'diff', '--csv', 'main', 'HEAD')).stdout).toContain(
      'metrics/train.json,accuracy,0.1,0.88,0.78,780,better below 0.9\n',
    )
    expect((await repo.mlv('metrics', 'diff', 'main..HEAD', '--', 'metrics')).stdout).toContain('accuracy   0.1')
  })

  it('the example workflow puts the tables into the job summary', async () => {
    await repo.git('switch', '-q', '-c', 'exp/try')
    repo.write('metrics/train.json', AFTER)
    await repo.commit('try')
    const clone = await repo.clone('--branch', 'exp/try')
    const workflow = parse(readFileSync(WORKFLOW, 'utf8'))
    const [checkout, , , compare] = workflow.jobs.metrics.steps
    expect(checkout.with['fetch-depth']).toBe(0)
    clone.write('.bin/mlv', `#!/bin/sh\nexec "${process.execPath}" "${BIN}" "$@"\n`)
    chmodSync(clone.path('.bin/mlv'), 0o755)
    const env = {
      ...clone.env,
      PATH: `${clone.path('.bin')}:${clone.env.PATH}`,
      BASE: 'origin/main',
      GITHUB_STEP_SUMMARY: clone.path('summary.md'),
    }
    const result = await run('bash', ['-e', '-c', compare.run], { cwd: clone.dir, env })
    expect(result).toEqual({ exitCode: 0, stdout: '', stderr: '' })
    expect(clone.read('summary.md')).toMatch(
      /^### Metrics\n\| File .*\n\| --- .*\n\| `metrics\/train.json` \| `accuracy` \| 0\.95 \| 0\.88 /,
    )
    expect(clone.read('summary.md')).toMatch(/\n### Params\nNo params changed between origin\/main \(base\) and HEAD\.\n$/)
  })

  it('diff --json gives all digits and both commits', async () => {
    repo.write('metrics/train.json', AFTER)
    const { stdout } = await repo.mlv('metrics', 'diff', '--json')
    const answer = JSON.parse(stdout)
    expect(answer).toMatchObject({
      before: { name: 'HEAD', commit: await repo.git('rev-parse', 'HEAD') },
      after: { name: 'workspace' },
      problems: [],
    })
    expect(answer.rows[0]).toEqual({
      ...{ file: 'metrics/train.json', key: 'accuracy', before: 0.95, after: 0.88 },
      ...{
        change: -0.07,
        percent: expect.closeTo(-7.368421052631579, 10),
        verdict: 'worse',
        bound: { kind: 'below', limit: 0.9 },
      },
    })
    expect(answer.rows.at(-1)).toMatchObject({ key: 'new', after: 'NaN' })
  })

  it('--all shows unchanged values, --precision more digits, --exit-code whether anything differs', async () => {
    expect(await repo.mlv('metrics', 'diff', '--exit-code')).toMatchObject({
      exitCode: 0,
      stdout: 'No metrics changed between HEAD and workspace.\n',
    })
    const all = await repo.mlv('metrics', 'diff', '--all', '--precision', '8')
    expect(all.stdout).toContain('same')
    expect(all.stdout).toContain('0.12345679')
    repo.write('metrics/train.json', AFTER)
    expect((await repo.mlv('metrics', 'diff', '--exit-code')).exitCode).toBe(1)
    expect((await repo.mlv('metrics', 'diff', '--precision', '0')).exitCode).toBe(2)
  })

  it('paths behind -- narrow it down, and may name files that mlv.yaml does not', async () => {
    repo.write('other/m.csv', 'epoch,loss\n1,0.5\n2,0.4\n')
    repo.write('metrics/train.json', AFTER)
    expect((await repo.mlvWith({ cwd: 'other' }, 'metrics', 'show', '--csv', '--', 'm.csv')).stdout).toBe(
      lines('file,key,value', 'other/m.csv,epoch,2', 'other/m.csv,loss,0.4'),
    )
    expect((await repo.mlv('metrics', 'diff', '--csv', '--targets', 'other')).exitCode).toBe(2)
    expect((await repo.mlv('metrics', 'diff', '--', 'nope.json')).stderr).toContain('There are no values at nope.json')
    expect((await repo.mlv('metrics', 'diff', 'metrics/train.json')).stderr).toContain(
      'Put paths behind "--": -- metrics/train.json',
    )
    expect((await repo.mlv('metrics', 'diff', '--', '../out.json')).stderr).toContain('outside the project')
  })

  it('one broken file costs its own rows, a warning and the exit status, not the rest', async () => {
    repo.write('mlv.yaml', PIPELINE.replace('metrics: [', 'metrics: [bad.json, bytes.csv, '))
    repo.write('bad.json', '{"acc": 1,\n}')
    repo.write('bytes.csv', Buffer.from([97, 10, 0xff, 10]))
    const shown = await repo.mlv('metrics', 'show')
    expect(shown).toMatchObject({ exitCode: 2, stdout: expect.stringContaining('accuracy') })
    expect(shown.stderr).toBe(lines('warning: bad.json:2:1: a string is due, not "}"', 'warning: bytes.csv:2: not UTF-8 text'))
    const md = await repo.mlv('metrics', 'diff', '--md')
    expect(md).toMatchObject({ exitCode: 2, stdout: expect.stringContaining('**Not read:** bad.json:2:1') })
    const json = JSON.parse((await repo.mlv('metrics', 'show', '--json')).stdout)
    expect(json.problems).toMatchObject([
      { file: 'bad.json', code: 'METRICS_INVALID' },
      { file: 'bytes.csv', code: 'METRICS_INVALID' },
    ])
    await repo.commit('broken')
    repo.write('bad.json', '{}')
    expect((await repo.mlv('metrics', 'diff')).stderr).toContain('HEAD:bad.json:2:1')
  })

  it('a file kept out of git is shown in the workspace and never called new', async () => {
    repo.write('big.json', '{"huge": 1}')
    expect((await repo.mlv('metrics', 'show')).stdout).toContain('huge')
    expect((await repo.mlv('metrics', 'diff')).stdout).toBe('No metrics changed between HEAD and workspace.\n')
  })

  it('a shallow clone is told what CI must set', async () => {
    await repo.git('switch', '-q', '-c', 'side')
    repo.write('metrics/train.json', AFTER)
    await repo.commit('side')
    await repo.git('switch', '-q', 'main')
    repo.write('a', '1')
    await repo.commit('on')
    const clone = await repo.clone('--depth', '1', '--no-single-branch')
    const result = await clone.mlv('metrics', 'diff', 'origin/side...HEAD')
    expect(result).toMatchObject({ exitCode: 3, stdout: '' })
    expect(result.stderr).toContain('fetch-depth: 0')
  })

  it('works from the commit alone, in a clone without data', async () => {
    const clone = await repo.clone()
    expect((await clone.mlv('metrics', 'show', 'origin/main')).stdout).toContain('accuracy')
  })

  it('before the first commit everything is new', async () => {
    const fresh = await makeRepo({ 'mlv.yaml': PIPELINE, 'metrics/train.json': '{"loss": 1}' }, { init: true })
    expect(await fresh.mlv('metrics', 'diff')).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: expect.stringMatching(
        /^File .*\nmetrics\/train.json {2}loss {5}- {10}1\nThere is no commit yet: every value is new\.\n$/,
      ),
    })
    expect((await fresh.mlv('metrics', 'diff', 'HEAD')).stderr).toContain('this branch has none yet')
  })

  it('says what is missing where there is nothing to show', async () => {
    const empty = await makeRepo({}, { init: true, commit: true })
    expect(await empty.mlv('metrics', 'show')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('name them under "metrics" in mlv.yaml'),
    })
    expect(await empty.mlv('metrics')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('mlv metrics show') })
    expect(await empty.mlv('metrics', 'show', 'main', 'HEAD')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('metrics diff main HEAD'),
    })
    expect(await empty.mlv('metrics', 'diff', 'nope')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('git knows no commit "nope"'),
    })
    expect((await empty.mlv('metrics', 'diff', '--help')).stdout).toContain('mlv metrics diff --md main...HEAD')
  })

  it('a file name cannot drive the terminal', async () => {
    repo.write('mlv.yaml', 'metrics:\n  "m\\e[31m.json": \n')
    repo.write('m\u001b[31m.json', '{"a": "\\u001b[2J"}')
    const { stdout } = await repo.mlv('metrics', 'show')
    expect(stdout).toContain('\\x1b[31m.json')
    expect(stdout).toContain('\\x1b[2J')
    expect(stdout).not.toContain('\u001b')
  })
})
