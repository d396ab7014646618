import { describe, expect, it, test } from 'vitest'
import { parsePipeline } from '../../src/pipeline/schema.ts'
import { floatText } from '../../src/pipeline/written-number.ts'

/** `$` of templates; in these tests' own template texts it would be filled in by JavaScript. */
const reader = (files: Record<string, string>) => async (path: string) => (path in files ? Buffer.from(files[path]!) : undefined)

async function stagesOf(yaml: string, files: Record<string, string> = {}) {
  const { stages } = await parsePipeline(yaml, reader(files))
  return stages
}

async function commandsOf(yaml: string, files: Record<string, string> = {}): Promise<Record<string, string>> {
  return Object.fromEntries((await stagesOf(yaml, files)).map(({ name, cmd }) => [name, cmd.join('; ')]))
}

const one = (cmd: string, vars = '') => `${vars}stages:\n  a:\n    cmd: ${cmd}\n`

describe('values', () => {
  const params =
    'lr: 0.1\none: 1.0\ntiny: 1e-5\nbig: 12345678901234567890\non: true\nnone:\ntext: two words\nlist: [a, 5, 2.0]\nnest: {deep: {x: 7}}\n'

  test.each([
    ['a number', '${lr}', '0.1'],
    ['a float keeps its dot', 'x ${one}', 'x 1.0'],
    ['a small float as Python prints it', 'x ${tiny}', 'x 1e-05'],
    ['a long integer whole', 'x ${big}', 'x 12345678901234567890'],
    ['a flag in lower case', '--on=${on}', '--on=true'],
    ['nothing', 'x ${none}', 'x None'],
    ['text as it is', 'echo ${text}', 'echo two words'],
    ['dots', '${nest.deep.x}', '7'],
    ['brackets', 'x ${list[0]} ${nest[deep].x}', 'x a 7'],
    ['numbers of lists', 'x ${list.1} ${list[-1]}', 'x 5 2.0'],
    ['spaces around', 'x ${ lr }', 'x 0.1'],
    ['what the shell is to see', 'x \\${HOME} ${lr} $HOME $(ls) {}', 'x ${HOME} 0.1 $HOME $(ls) {}'],
    ['one that is not closed', 'x ${lr', 'x ${lr'],
  ])('%s', async (_name, cmd, expected) => {
    expect((await commandsOf(one(cmd), { 'params.yaml': params })).a).toBe(expected)
  })

  it('turns a map in a command into options', async () => {
    const yaml = one(
      'train ${opt}',
      'vars:\n  - opt: {lr: 1.0, name: it is, deep: {x: 2}, on: true, off: false, list: [1, b c], empty: []}\n',
    )
    expect((await commandsOf(yaml)).a).toBe("train --lr 1.0 --name 'it is' --deep.x 2 --on --list 1 'b c'")
  })

  test.each([
    [1, '1.0'],
    [0.0001, '0.0001'],
    [1e-5, '1e-05'],
    [1.5e16, '1.5e+16'],
    [123456789012345, '123456789012345.0'],
    [0.1, '0.1'],
    [-0, '-0.0'],
    [1e300, '1e+300'],
    [Number.NaN, 'nan'],
    [-1 / 0, '-inf'],
  ])('prints the float %s as Python does', (number, text) => expect(floatText(number)).toBe(text))
})

describe('everywhere in a stage', () => {
  it('fills paths, keys, flags and numbers', async () => {
    const yaml = `vars:
  - dir: src
    file: conf.yaml
    keep: true
    again: 3
    year: 2024
stages:
  a:
    cmd: ["run \${dir}", "\${dir}/end"]
    wdir: \${dir}
    deps: ["\${year}", "in/\${dir}.txt"]
    params:
      - "\${file}": ["\${dir}.lr"]
    outs:
      - \${dir}.out: {persist: "\${keep}"}
    metrics: ["m-\${year}.json"]
    frozen: \${keep}
    retry: \${again}
    resources: {gpus: "\${again}", more: ["\${dir}"]}
    desc: of \${dir}
`
    expect((await stagesOf(yaml))[0]).toMatchObject({
      cmd: ['run src', 'src/end'],
      wdir: 'src',
      deps: [{ path: 'src/2024' }, { path: 'src/in/src.txt' }],
      params: [{ file: 'src/conf.yaml', key: 'src.lr' }],
      outs: [
        { path: 'src/src.out', persist: true },
        { path: 'src/m-2024.json', role: 'metric' },
      ],
      frozen: true,
      retry: 3,
      resources: { gpus: 3, more: ['src'] },
      desc: 'of src',
    })
  })

  it('merges vars of files, of some of their keys, and of the stage', async () => {
    const yaml = `vars:
  - a.json
  - b.toml:x,y
  - train: {epochs: 5}
stages:
  s:
    wdir: sub
    vars: [own.yaml, {z: 9}]
    cmd: \${train.lr} \${train.epochs} \${x} \${y} \${z} \${own}
  t:
    cmd: \${train.lr}
`
    const files = {
      'params.yaml': 'train: {lr: 0.5}\n',
      'a.json': '{"j": 1.0}',
      'b.toml': 'x = 1\ny = "why"\nq = 3\n',
      'sub/own.yaml': 'own: yes!\n',
    }
    expect(await commandsOf(yaml, files)).toEqual({ s: '0.5 5 1 why 9 yes!', t: '0.5' })
  })

  it('reads no file while there is no template', async () => {
    const { stages } = await parsePipeline('stages: {a: {cmd: echo $HOME}}\n', () => Promise.reject(new Error('read')))
    expect(stages[0]!.cmd).toEqual(['echo $HOME'])
  })
})

describe('foreach and matrix', () => {
  it('makes a stage for each item of a list', async () => {
    const yaml =
      'stages:\n  a:\n    foreach: [us, 0.10, true, 1.0, data/x y.csv]\n    do:\n      cmd: run ${item}\n      outs: ["out/${item}"]\n'
    expect(await commandsOf(yaml)).toEqual({
      'a@us': 'run us',
      'a@0.1': 'run 0.1',
      'a@true': 'run true',
      'a@1.0': 'run 1.0',
      'a@data_x_y.csv': 'run data/x y.csv',
    })
  })

  it('numbers items that are lists or maps, and takes the keys of a map', async () => {
    expect(await commandsOf('stages:\n  a: {foreach: [{x: 1}, {x: 2}], do: {cmd: "run ${item.x}"}}\n')).toEqual({
      'a@0': 'run 1',
      'a@1': 'run 2',
    })
    const map = 'stages:\n  a:\n    foreach: ${models}\n    do: {cmd: "run ${key} ${item.lr}", wdir: "${key}"}\n'
    const { 0: first, length } = await stagesOf(map, { 'params.yaml': 'models: {cnn: {lr: 1}, xgb: {lr: 2}}\n' })
    expect({ first, length }).toMatchObject({ first: { name: 'a@cnn', cmd: ['run cnn 1'], wdir: 'cnn' }, length: 2 })
  })

  it('combines the lists of a matrix', async () => {
    const yaml = `stages:
  a:
    matrix:
      model: \${models}
      data: [{n: x}, {n: y}]
    cmd: \${item.model} \${item.data.n} \${key}
`
    expect(await commandsOf(yaml, { 'params.yaml': 'models: [cnn, 1.0]\n' })).toEqual({
      'a@cnn-data0': 'cnn x cnn-data0',
      'a@cnn-data1': 'cnn y cnn-data1',
      'a@1.0-data0': '1.0 x 1.0-data0',
      'a@1.0-data1': '1.0 y 1.0-data1',
    })
  })

  it('takes vars of the template, in the folder of each', async () => {
    const yaml = 'stages:\n  a:\n    foreach: [x, y]\n    do: {wdir: "${item}", vars: [own.yaml], cmd: "${own}"}\n'
    expect(await commandsOf(yaml, { 'x/own.yaml': 'own: 1\n', 'y/own.yaml': 'own: 2\n' })).toEqual({ 'a@x': '1', 'a@y': '2' })
  })

  it('makes nothing of nothing, warns once of what stands in a template, and passes over an item that stands twice', async () => {
    expect(await stagesOf('stages: {a: {foreach: [], do: {cmd: x}}, b: {matrix: {x: []}, cmd: x}}\n')).toEqual([])
    const { stages, warnings } = await parsePipeline('stages: {a: {foreach: [x, y, x], do: {cmd: x, speed: 1}}}\n')
    expect(stages.map(({ name }) => name)).toEqual(['a@x', 'a@y'])
    expect(warnings).toEqual([
      'mlv.yaml:1:47: stage "a": do: unknown key "speed", left as it is',
      'mlv.yaml:1:23: stage "a": foreach names "x" again',
    ])
  })
})

const NAMES = Array.from({ length: 320 }, (_, i) => i).join(', ')

test.each([
  ['a key that is nowhere', one('x ${train.lr}'), 'mlv.yaml:3:10: stage "a": cmd needs "train.lr", which no variable has'],
  ['a key below a value', one('x ${lr.x}'), 'needs "lr.x"'],
  ['a key beyond a list', one('x ${list[3]}'), 'needs "list[3]"'],
  ['a name of all objects', one('x ${constructor} ${lr.toString}'), 'needs "constructor"'],
  ['an empty template', one('x ${}'), 'mlv.yaml:3:10: stage "a": cmd has "${}", which is no name of a value'],
  ['a bracket left open', one('x ${list[0}'), 'has "${list[0}"'],
  ['a list in a command', one('x ${list}'), 'mlv.yaml:3:10: stage "a": cmd cannot hold ${list}, which is a list'],
  [
    'a map for a path',
    `${one('x')}    deps: ["\${map}"]\n`,
    'mlv.yaml:4:12: stage "a": deps item 1 cannot hold ${map}, which is a map',
  ],
  ['a path out of the project', `${one('x')}    outs: ["\${up}/x"]\n`, 'leads out of the project'],
  [
    'a missing file of vars',
    one('x', 'vars: [gone.yaml]\n'),
    'mlv.yaml:1:8: vars item 1 names "gone.yaml", which does not exist',
  ],
  [
    'a missing key of such a file',
    one('x', 'vars: ["list.yaml:b"]\n'),
    'mlv.yaml:1:8: vars item 1 names "list.yaml", which holds no map',
  ],
  ['a file outside', one('x', 'vars: [../x.yaml]\n'), 'leads out of the project'],
  ['a value set twice', one('x ${lr}', 'vars: [{lr: 2}]\n'), 'mlv.yaml:1:8: vars item 1 sets "lr" again'],
  ['a template among vars', one('x', 'vars: [{a: "${lr}"}]\n'), 'mlv.yaml:1:8: vars item 1 holds a template'],
  ['vars as text', one('x', 'vars: a\n'), 'mlv.yaml:1:7: vars is text, not a list'],
  [
    'item among the vars of a foreach',
    'stages: {a: {foreach: [1], do: {cmd: x, vars: [{item: 2}]}}}\n',
    'sets "item", which each iteration sets',
  ],
  ['foreach without do', 'stages: {a: {foreach: [1]}}\n', 'mlv.yaml:1:14: stage "a": "foreach" without "do"'],
  ['do without foreach', 'stages: {a: {do: {cmd: x}}}\n', '"do" without "foreach"'],
  ['cmd beside foreach', 'stages: {a: {foreach: [1], do: {cmd: x}, cmd: y}}\n', '"cmd" beside "foreach"'],
  [
    'foreach over text',
    'stages: {a: {foreach: x, do: {cmd: x}}}\n',
    'mlv.yaml:1:23: stage "a": foreach is text, not a list or a map',
  ],
  ['a matrix of text', 'stages: {a: {matrix: {x: y}, cmd: x}}\n', 'stage "a": matrix: x is text, not a list'],
  ['a matrix that is a list', 'stages: {a: {matrix: [x], cmd: x}}\n', 'stage "a": matrix is no map of lists'],
  [
    'two items of one name',
    'stages: {a: {foreach: [x/y, "x y"], do: {cmd: x}}}\n',
    'makes one name, "a@x_y", of "x/y" and "x y"',
  ],
  ['an item without a name', 'stages: {a: {foreach: [""], do: {cmd: x}}}\n', 'has an item without a name'],
  ['a name too long', `stages: {a: {foreach: [${'n'.repeat(300)}], do: {cmd: x}}}\n`, 'makes a name of more than 200 bytes'],
  [
    'a matrix of 100,000',
    `stages: {a: {matrix: {x: [${NAMES}], y: [${NAMES}]}, cmd: x}}\n`,
    'stage "a": matrix makes 102400 stages; foreach and matrix may make 50000 in all',
  ],
  ['the stage by its full name', 'stages: {a: {foreach: [x], do: {cmd: "${no}"}}}\n', 'stage "a@x": cmd needs "no"'],
])('refuses %s', async (_name, yaml, message) => {
  const files = { 'params.yaml': 'lr: 1\nlist: [1]\nmap: {x: 1}\nup: ..\n', 'list.yaml': '[1]\n' }
  await expect(parsePipeline(yaml, reader(files))).rejects.toMatchObject({
    code: expect.stringMatching(/^P(IPELINE|ATH)_INVALID$/),
    message: expect.stringContaining(message),
    hint: expect.any(String),
  })
})
