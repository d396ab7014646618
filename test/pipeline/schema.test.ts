import { expect, it, test } from 'vitest'
import { parsePipeline } from '../../src/pipeline/schema.ts'

const stage = (body: string) => `stages:\n  train:\n${body.replace(/^/gm, '    ')}\n`

it('reads every field of a stage, paths relative to its folder', async () => {
  const text = `stages:
  train:
    cmd: [python train.py, "echo done"]
    wdir: src
    deps: [train.py, ../data/features/]
    params: [train, {eval.yaml: [threshold]}, {all.toml: }]
    env: [CUDA_VISIBLE_DEVICES]
    outs: [../models/model.bin, {ckpt/: {persist: true}}, {report.md: {git: true}}]
    metrics: [metrics/train.json, {big.json: {git: false}}]
    plots: [{plots/loss.jsonl: {x: step}}]
    resources: {cpus: 2, memory: 4GiB}
    timeout: 1h30m
    retry: 2
    desc: fits
`
  const { stages, warnings } = await parsePipeline(text)
  expect(warnings).toEqual([])
  expect(stages[0]).toMatchObject({
    name: 'train',
    at: '2:3',
    cmd: ['python train.py', 'echo done'],
    cmdAt: '3:10',
    wdir: 'src',
    deps: [{ path: 'src/train.py' }, { path: 'data/features' }],
    params: [
      { file: 'src/params.yaml', key: 'train' },
      { file: 'src/eval.yaml', key: 'threshold' },
      { file: 'src/all.toml', key: '' },
    ],
    env: ['CUDA_VISIBLE_DEVICES'],
    timeout: 5400,
    retry: 2,
    resources: { cpus: 2, memory: '4GiB' },
  })
  expect(stages[0]!.outs).toMatchObject([
    { path: 'models/model.bin', role: 'out', git: false, persist: false },
    { path: 'src/ckpt', role: 'out', persist: true },
    { path: 'src/report.md', git: true },
    { path: 'src/metrics/train.json', role: 'metric', git: true },
    { path: 'src/big.json', role: 'metric', git: false },
    { path: 'src/plots/loss.jsonl', role: 'plot', git: true },
  ])
})

it('leaves variables to the shell and takes the word true as a command', async () => {
  const { stages } = await parsePipeline('stages:\n  a: {cmd: "echo $HOME"}\n  b: {cmd: true}\n  c: {cmd: [false, 7]}\n')
  expect(stages.map((one) => one.cmd)).toEqual([['echo $HOME'], ['true'], ['false', '7']])
})

it.each([
  ['{cpus: many}', 'mlv.yaml:4:23: stage "train": resources cpus is "many"'],
  ['{cpus: 1, gpus: -1}', 'mlv.yaml:4:32: stage "train": resources gpus is -1'],
  ['{memory: 4XiB}', 'mlv.yaml:4:25: stage "train": resources memory is "4XiB"'],
])('refuses resources %s where they stand', async (resources, message) => {
  await expect(parsePipeline(stage(`cmd: x\nresources: ${resources}`))).rejects.toMatchObject({
    code: 'PIPELINE_INVALID',
    message,
  })
})

it('says that a template within brackets wants quotes, where that is what YAML stumbled over', async () => {
  const hint = async (text: string) => parsePipeline(text).catch(({ message, hint }) => [message, hint])
  expect(await hint('stages:\n  a:\n    matrix: {x: ${regions}}\n    cmd: x\n')).toEqual([
    expect.stringMatching(/^mlv.yaml:3:\d+: /),
    expect.stringContaining('in quotes'),
  ])
  expect(await hint('stages:\n  a:\n    cmd: echo "x: ${y}" > z\n')).toEqual([
    expect.stringMatching(/^mlv.yaml:3:10: /),
    expect.stringContaining('put the whole value in quotes'),
  ])
  expect(await hint('stages: {a: [\n')).toEqual([expect.stringMatching(/^mlv.yaml:\d+:\d+: /), 'Correct the YAML at that place.'])
})

it('takes resources beyond those of any machine', async () => {
  const { stages } = await parsePipeline(stage('cmd: x\nresources: {cpus: 5000, memory: 900TiB, gpus: 64, queue: long}'))
  expect(stages[0]!.resources).toEqual({ cpus: 5000, memory: '900TiB', gpus: 64, queue: 'long' })
})

it('warns of unknown keys and repeated deps', async () => {
  const { warnings } = await parsePipeline(
    `colour: red\n${stage('cmd: x\nspeed: 3\ndeps: [a, a]\nouts: [{b: {push: false}}]\nresources: {cpu: 2}')}`,
  )
  expect(warnings).toEqual([
    'mlv.yaml:1:1: the file: unknown key "colour", left as it is',
    'mlv.yaml:5:5: stage "train": unknown key "speed", left as it is',
    'mlv.yaml:6:15: stage "train": deps item 2 names "a" again',
    'mlv.yaml:7:17: stage "train": outs item 1: b: unknown key "push", left as it is',
    'mlv.yaml:8:17: stage "train": resources: unknown key "cpu", left as it is',
  ])
})

it('takes an empty file and one without stages', async () => {
  for (const text of ['', '# later\n', 'stages:\n', 'metrics: {m.json: {acc: {goal: max}}}\n'])
    expect((await parsePipeline(text)).stages).toEqual([])
})

test.each([
  ['a list at the top', '- a\n', 'PIPELINE_INVALID', 'mlv.yaml:1:1: the file is a list, not a mapping'],
  ['stages as text', 'stages: train\n', 'PIPELINE_INVALID', 'mlv.yaml:1:9: stages is text, not a mapping'],
  ['no cmd', stage('deps: [a]'), 'PIPELINE_INVALID', 'mlv.yaml:3:5: stage "train" has no cmd'],
  ['an empty cmd', stage('cmd: ""'), 'PIPELINE_INVALID', 'mlv.yaml:3:10: stage "train": cmd is empty'],
  ['deps as text', stage('cmd: x\ndeps: a'), 'PIPELINE_INVALID', 'mlv.yaml:4:11: stage "train": deps is text, not a list'],
  [
    'a number as dep',
    stage('cmd: x\ndeps: [2024]'),
    'PIPELINE_INVALID',
    'mlv.yaml:4:12: stage "train": deps item 1 is the number 2024, not text',
  ],
  [
    'an absolute path',
    stage('cmd: x\nouts: [/etc/passwd]'),
    'PATH_INVALID',
    'mlv.yaml:4:12: stage "train": outs item 1: the path "/etc/passwd" is absolute',
  ],
  [
    'a path out of the project',
    stage('cmd: x\nwdir: a\nouts: [../../b]'),
    'PATH_INVALID',
    'mlv.yaml:5:12: stage "train": outs item 1: the path "../../b" leads out of the project',
  ],
  [
    '.. inside',
    stage('cmd: x\ndeps: [a/../b]'),
    'PATH_INVALID',
    'mlv.yaml:4:12: stage "train": deps item 1: the path "a/../b" has ".." inside',
  ],
  [
    '.git as out',
    stage('cmd: x\nouts: [.git/hooks]'),
    'PATH_INVALID',
    'mlv.yaml:4:12: stage "train": outs item 1: the path ".git/hooks" has the protected name ".git"',
  ],
  ['.MLV as out', stage('cmd: x\nouts: [a/.MLV]'), 'PATH_INVALID', 'has the protected name ".MLV"'],
  ['the whole project', stage('cmd: x\ndeps: ["."]'), 'PATH_INVALID', 'is the whole project'],
  [
    'glob',
    stage('each: {input: a, glob: ../*}\ncmd: x'),
    'PIPELINE_INVALID',
    'mlv.yaml:3:28: stage "train": each: glob leads out of its input',
  ],
  ['each', stage('each: [1]\ncmd: x'), 'PIPELINE_INVALID', 'mlv.yaml:3:11: stage "train": each'],
  [
    'cache: false',
    stage('cmd: x\nouts: [{a: {cache: false}}]'),
    'PIPELINE_INVALID',
    'mlv.yaml:4:17: stage "train": outs item 1: a: there is no key "cache"',
  ],
  [
    'a word for a flag',
    stage('cmd: x\nouts: [{a: {persist: yes}}]'),
    'PIPELINE_INVALID',
    'stage "train": outs item 1: a: persist is text, not true or false',
  ],
  ['a bad time', stage('cmd: x\ntimeout: soon'), 'PIPELINE_INVALID', 'mlv.yaml:4:14: stage "train": timeout is no time'],
  ['a bad count', stage('cmd: x\nretry: -1'), 'PIPELINE_INVALID', 'stage "train": retry is no whole number from 0 to 100: -1'],
  [
    'a variable with its value',
    stage('cmd: x\nenv: [A=1]'),
    'PIPELINE_INVALID',
    'mlv.yaml:4:11: stage "train": env item 1 is no name of a variable: "A=1"',
  ],
  ['a name that is a path', 'stages: {a/b: {cmd: x}}\n', 'PIPELINE_INVALID', 'mlv.yaml:1:10: a stage may not be called "a/b"'],
  ['a key twice', 'stages:\n  a: {cmd: x}\n  a: {cmd: y}\n', 'YAML_INVALID', 'mlv.yaml:3:3: '],
  ['a tab', 'stages:\n\ta: 1\n', 'YAML_INVALID', 'mlv.yaml:2:1: '],
  [
    'an alias bomb',
    `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\n`,
    'YAML_INVALID',
    'mlv.yaml: ',
  ],
  ['50 MB', `a: "${'x'.repeat(51 << 20)}"`, 'YAML_INVALID', 'mlv.yaml is larger than 8 MiB'],
  ['a tower of lists', `stages: ${'['.repeat(20_000)}`, 'YAML_INVALID', 'mlv.yaml'],
])('refuses %s', async (_name, text, code, message) => {
  await expect(parsePipeline(text)).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message),
    hint: expect.any(String),
  })
})
