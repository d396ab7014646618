import { expect, it, test } from 'vitest'
import type { RepoPath } from '../../src/base/paths.ts'
import { joinFiles, migrateFile } from '../../src/migrate/dvc-pipeline.ts'

async function migrate(files: Record<string, string>) {
  const read = async (path: string) => (path in files ? Buffer.from(files[path]!) : undefined)
  const taken = new Set<string>()
  const migrated = []
  for (const path of Object.keys(files).filter((one) => one.endsWith('dvc.yaml'))) {
    const file = await migrateFile(files[path]!, path as RepoPath, { read, taken })
    for (const name of file.names.values()) taken.add(name)
    migrated.push(file)
  }
  const joined = await joinFiles(migrated, read)
  return { ...joined, leftovers: migrated.flatMap((file) => file.leftovers.map(({ at, what }) => `${at}: ${what}`)) }
}

it('keeps comments and templates, and says the other way round what git keeps', async () => {
  const { text, stages, leftovers } = await migrate({
    'params.yaml': 'regions: [us]\n',
    'dvc.yaml': `# ours
stages:
  a: # first
    foreach: \${regions}
    do:
      cmd: run \${item} \\\${HOME}
      always_changed: true
      outs:
        - plain
        - kept: {cache: false, desc: a model}
        - cached: {cache: true}
        - both: {persist: true, push: false}
      metrics:
        - m.json
        - git.json: {cache: false}
        - none.json:
      plots:
        - p.csv: {x: a, cache: false}
        - several.csv: [{x: a}, {x: b}]
`,
  })
  expect(text).toBe(`# ours
stages:
  a:
    # first
    foreach: \${regions}
    do:
      cmd: run \${item} \\\${HOME}
      always: true
      outs:
        - plain
        - kept: {git: true, desc: a model}
        - cached
        - both: {persist: true}
      metrics:
        - {m.json: {git: false}}
        - git.json
        - none.json:
            git: false
      plots:
        - p.csv: {x: a}
        - several.csv: {x: a, git: false}
`)
  expect(stages[0]).toMatchObject({ name: 'a@us', cmd: ['run us ${HOME}'], always: true })
  expect(stages[0]!.outs.map(({ path, git, persist }) => `${path}${git ? ' git' : ''}${persist ? ' persist' : ''}`)).toEqual([
    'plain',
    'kept git',
    'cached',
    'both persist',
    'm.json',
    'git.json git',
    'none.json',
    'p.csv git',
    'several.csv',
  ])
  expect(leftovers).toEqual([
    'dvc.yaml:12:33: stage "a": both: "push" has no counterpart and is left out',
    'dvc.yaml:19:24: stage "a": several.csv: of several ways to draw it the first is kept',
  ])
})

it('leaves out what lies outside, makes deps of params that are code, writes anchors out', async () => {
  const { stages, leftovers } = await migrate({
    'dvc.yaml': `artifacts: {m: {path: x}}
stages:
  a: &a
    cmd: x
    deps: [in, s3://b/x, /etc/hosts]
    params: [lr, {config.py: [Train.lr]}]
  b: {<<: *a, cmd: y}
`,
  })
  expect(stages.map(({ name, cmd, deps, params }) => [name, cmd[0], deps.map(({ path }) => path), params.length])).toEqual([
    ['a', 'x', ['in', 'config.py'], 1],
    ['b', 'y', ['in', 'config.py'], 1],
  ])
  expect(leftovers.map((line) => line.replace(/^dvc.yaml[:0-9]*: /, ''))).toEqual([
    '"artifacts" has no counterpart (models are registered otherwise) and is left out',
    ...['a', 'b'].flatMap((name) => [
      `stage "${name}": the dep "s3://b/x" lies outside the project and is left out`,
      `stage "${name}": the dep "/etc/hosts" lies outside the project and is left out`,
      `stage "${name}": params of "config.py" are no values that mlv reads; the whole file becomes a dep, with which it runs next time`,
    ]),
  ])
})

it('joins the files of sub-folders, with names of their own, their templates written out', async () => {
  const { text, stages, nameOf } = await migrate({
    'dvc.yaml': 'stages:\n  a: {cmd: x, outs: [o]}\n',
    'one/dvc.yaml': 'stages:\n  a: {cmd: "y $HOME", wdir: src, deps: [../../o], params: [lr], outs: [p: {cache: false}]}\n',
    'two/params.yaml': 'lr: 1.0\nnames: [n, m]\n',
    'two/dvc.yaml':
      'stages:\n  t:\n    foreach: ${names}\n    do: {cmd: "z ${item} ${lr} \\\\${HOME}", outs: ["${item}"], metrics: ["${item}.json": {cache: false}]}\n',
  })
  expect(stages).toMatchObject([
    { name: 'a', wdir: '' },
    {
      name: 'a-2',
      wdir: 'one/src',
      deps: [{ path: 'o' }],
      params: [{ file: 'one/src/params.yaml' }],
      outs: [{ path: 'one/src/p', git: true }],
    },
    { name: 't-n', wdir: 'two', cmd: ['z n 1.0 ${HOME}'], outs: [{ path: 'two/n' }, { path: 'two/n.json', git: true }] },
    { name: 't-m', wdir: 'two' },
  ])
  expect(text).toContain('cmd: z n 1.0 \\${HOME}')
  expect([
    nameOf('one/dvc.yaml' as RepoPath, 'a'),
    nameOf('two/dvc.yaml' as RepoPath, 't@m'),
    nameOf('dvc.yaml' as RepoPath, 'gone'),
  ]).toEqual(['a-2', 't-m', undefined])
})

it('takes a folder of stages that leads out of that of their file, but not out of the project', async () => {
  const { stages } = await migrate({
    'one/dvc.yaml':
      'stages:\n  a: {cmd: x, wdir: .., deps: [one/in], outs: [o]}\n  b: {cmd: x, wdir: ../two/, outs: [p]}\n  c: {cmd: x, wdir: ./, outs: [q]}\n',
  })
  expect(
    stages.map(({ wdir, deps, outs }) => [wdir, ...deps, ...outs].map((one) => (typeof one === 'string' ? one : one.path))),
  ).toEqual([
    ['', 'one/in', 'o'],
    ['two', 'two/p'],
    ['one', 'one/q'],
  ])
  for (const wdir of ['../..', '/tmp'])
    await expect(migrate({ 'one/dvc.yaml': `stages:\n  a: {cmd: x, wdir: ${wdir}}\n` })).rejects.toMatchObject({
      code: 'DVC_INVALID',
    })
})

test.each([
  ['an unknown key of a stage', 'stages: {a: {cmd: x, colour: red}}\n', 'dvc.yaml:1:22: stage "a": DVC knows no key "colour"'],
  [
    'an unknown key of an out',
    'stages: {a: {cmd: x, outs: [{o: {git: true}}]}}\n',
    'dvc.yaml:1:34: stage "a": o: DVC knows no key "git"',
  ],
  ['an unknown key of the file', 'steps: {}\n', 'dvc.yaml:1:1: the file: DVC knows no key "steps"'],
  ['a stage without cmd', 'stages:\n  a: {deps: [x]}\n', 'dvc.yaml:2:6: stage "a" has no cmd'],
  [
    'cache: 1',
    'stages: {a: {cmd: x, outs: [{o: {cache: 1}}]}}\n',
    'dvc.yaml:1:41: stage "a": o: cache is neither true nor false',
  ],
  ['foreach without do', 'stages: {a: {foreach: [1]}}\n', 'dvc.yaml:1:13: stage "a": "foreach" and "do" belong together'],
  ['stages as a list', 'stages: [a]\n', 'dvc.yaml:1:9: stages is no map'],
  ['a list', '- a\n', 'dvc.yaml:1:1: the file is no map'],
  [
    'a template key that is nowhere',
    '# one\nstages:\n  a: {cmd: "x ${lr}"}\n',
    'dvc.yaml:3:12: stage "a": cmd needs "lr", which no variable has',
  ],
  [
    'two outs of one path',
    'stages:\n  a: {cmd: x, outs: [o]}\n  b: {cmd: x, outs: [o]}\n',
    'dvc.yaml:3:22: "o" is an out of stage "b" and of stage "a" (dvc.yaml:2:22)',
  ],
  [
    'a cycle',
    'stages:\n  a: {cmd: x, outs: [o], deps: [p]}\n  b: {cmd: x, outs: [p], deps: [o]}\n',
    'the stages wait for each other: a → b → a',
  ],
  ['frozen: often', 'stages: {a: {cmd: x, frozen: often}}\n', 'dvc.yaml:1:30: stage "a": frozen is text, not true or false'],
])('refuses %s, as DVC does, naming the line', async (_name, text, message) => {
  await expect(migrate({ 'dvc.yaml': text })).rejects.toMatchObject({
    code: 'DVC_INVALID',
    message: expect.stringContaining(message),
    hint: expect.any(String),
  })
})

it('takes an empty file, and one without stages', async () => {
  expect((await migrate({ 'dvc.yaml': '' })).stages).toEqual([])
  expect((await migrate({ 'dvc.yaml': 'plots: [a.csv]\n' })).text).toBe('plots: [a.csv]\n')
})
