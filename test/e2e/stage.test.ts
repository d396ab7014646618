import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { makeRepo } from '../helpers/repo.ts'

it('writes a first stage that runs', async () => {
  const repo = await makeRepo({ 'params.yaml': 'train: {lr: 1}\n', 'train.py': '' }, { init: true })
  const added = await repo.mlv(
    ...[
      'stage',
      'add',
      'train',
      '-d',
      'train.py',
      '-p',
      'train.lr',
      '-p',
      'eval.toml:a,b',
      '-o',
      'model.bin',
      '-m',
      'm.json',
      '--plots',
      'p.jsonl',
    ],
    ...['--', 'sh', '-c', 'echo "it\'s $1" > model.bin; touch m.json p.jsonl', 'sh', 'two words'],
  )
  expect(added).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('git add mlv.yaml') })
  repo.write('eval.toml', 'a = 1\nb = 2\n')
  expect(JSON.parse((await repo.mlv('stage', 'list', '--json')).stdout)).toMatchObject([
    {
      stage: 'train',
      deps: ['train.py'],
      params: [
        { file: 'params.yaml', key: 'train.lr' },
        { file: 'eval.toml', key: 'a' },
        { file: 'eval.toml', key: 'b' },
      ],
      outs: [
        { path: 'model.bin', role: 'out', git: false },
        { path: 'm.json', role: 'metric', git: true },
        { path: 'p.jsonl', role: 'plot', git: true },
      ],
    },
  ])
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0 })
  expect(repo.read('model.bin')).toBe("it's two words\n")
})

it('keeps comments and every other line, and takes one word as a line of shell', async () => {
  const before = `# our pipeline
stages:
    # first
    prepare:   {cmd: 'true'} # quick

metrics:
    m.json: {acc: {goal: max}}
`
  const repo = await makeRepo({ 'mlv.yaml': before }, { init: true })
  expect(await repo.mlv('stage', 'add', 'train', '-o', 'out', '-w', 'src', '--', 'echo a | tee out')).toMatchObject({
    exitCode: 0,
  })
  const after = `# our pipeline
stages:
    # first
    prepare:   {cmd: 'true'} # quick
    train:
      cmd: echo a | tee out
      wdir: src
      outs:
        - out

metrics:
    m.json: {acc: {goal: max}}
`
  expect(repo.read('mlv.yaml')).toBe(after)
})

it('replaces a stage only with --force', async () => {
  const repo = await makeRepo({ 'mlv.yaml': 'stages:\n  a: {cmd: x} # old\n  b: {cmd: y} # kept\n' }, { init: true })
  expect(await repo.mlv('stage', 'add', 'a', '--', 'z')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('mlv.yaml:2:3'),
  })
  expect(await repo.mlv('stage', 'add', 'a', '--force', '--', 'z')).toMatchObject({ exitCode: 0 })
  expect(repo.read('mlv.yaml')).toContain('b: {cmd: y} # kept')
  expect((await repo.mlv('stage', 'list')).stdout).toBe('a  z\nb  y\n')
})

it.each([
  ['a name that is no name', ['a/b', '--', 'x'], 'a stage may not be called "a/b"'],
  ['no command', ['a'], 'has no command'],
  ['an out of another stage', ['a', '-o', 'made', '--', 'x'], 'is an out of stage "a" and of stage "first"'],
  ['a cycle', ['a', '-d', 'made', '-o', 'in', '--', 'x'], 'wait for each other: first → a → first'],
  ['a path out of the project', ['a', '-o', '../x', '--', 'x'], 'leads out of the project'],
  ['tracked data as out', ['a', '-o', 'data.csv', '--', 'x'], 'tracked by a pointer'],
])('refuses %s and writes nothing', async (_name, args, message) => {
  const text = 'stages:\n  first: {cmd: x, deps: [in], outs: [made]}\n'
  const repo = await makeRepo({ 'mlv.yaml': text, 'data.csv': '1' }, { init: true })
  await repo.mlv('add', 'data.csv')
  const result = await repo.mlv('stage', 'add', ...args)
  expect(result.stderr).toContain(message)
  expect(result.exitCode).toBeGreaterThan(1)
  expect(repo.read('mlv.yaml')).toBe(text)
})

it('says what to do without mlv.yaml', async () => {
  const repo = await makeRepo({}, { init: true })
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('mlv stage add') })
})

it('does not rewrite a file that is not UTF-8', async () => {
  const text = Buffer.from('# caf\u00e9\nstages:\n  first: {cmd: x}\n', 'latin1')
  const repo = await makeRepo({ 'mlv.yaml': text }, { init: true })
  const result = await repo.mlv('stage', 'add', 'second', '--', 'x')
  expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('is no UTF-8 text') })
  expect(readFileSync(repo.path('mlv.yaml'))).toEqual(text)
})

it.each([[[]], [['--infer']], [['-o', 'model.bin']]])(
  'takes no command for a name: stage add %j -- python train.py',
  async (options) => {
    const repo = await makeRepo({ 'train.py': '' }, { init: true })
    const { exitCode, stderr } = await repo.mlv('stage', 'add', ...options, '--', 'python', 'src/train.py')
    expect(exitCode).toBe(2)
    expect(stderr).toContain('The stage has no name')
    const infer = options[0] === '--infer' ? '--infer ' : ''
    expect(stderr).toContain(`mlv stage add ${infer}train -- python src/train.py`)
    expect((await repo.mlv('stage', 'add', '--', 'true')).stderr).toContain('mlv stage add NAME -- true')
    expect(existsSync(repo.path('mlv.yaml'))).toBe(false)
  },
)

it.each(['repro', 'accept', 'logs', 'freeze', 'unfreeze', 'dag', 'datum list', 'stage task', 'stage task --out-dir jobs'])(
  'says in the same words that there is no such stage: mlv %s',
  async (words) => {
    const repo = await makeRepo({ 'mlv.yaml': 'stages: {a: {cmd: x}}\n' }, { init: true })
    const { exitCode, stderr } = await repo.mlv(...words.split(' '), 'nix')
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: 'error: mlv.yaml has no stage "nix"\n  It has a.\n' })
  },
)

it.each(['logs', 'datum list', 'stage task'])('wants one of those that a foreach made: mlv %s', async (words) => {
  const repo = await makeRepo({ 'mlv.yaml': 'stages: {a: {foreach: [x, y], do: {cmd: "echo ${item}"}}}\n' }, { init: true })
  const { exitCode, stderr } = await repo.mlv(...words.split(' '), 'a')
  expect({ exitCode, stderr }).toEqual({
    exitCode: 2,
    stderr: 'error: "a" stands for 2 stages, and one is wanted\n  Name one of them: a@x, a@y.\n',
  })
})
