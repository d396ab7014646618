import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MlvError } from '../../src/base/errors.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { compareUtf8, type RepoPath } from '../../src/base/paths.ts'
import { runKey } from '../../src/pipeline/run-key.ts'
import type { Out } from '../../src/pipeline/stage.ts'
import type { Task, TaskHome } from '../../src/pipeline/task.ts'
import { formatTask, parseTask } from '../../src/pipeline/task-text.ts'
import type { Entry } from '../../src/workspace/entry.ts'

const OID = oidOfBytes('x')

const oid = fc.stringMatching(/^[0-9a-f]{64}$/) as fc.Arbitrary<Oid>
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const amount = fc.oneof(fc.nat(), fc.constantFrom(0.5, 1e21 / 1e6))
const text = fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0'))
const name = fc.oneof(fc.stringMatching(/^[a-z]{1,6}$/), fc.constantFrom('ä', '𝒳', 'ﬁ', 'with "quotes"', 'a\nb', '__proto__'))
const place = fc.constantFrom('', '3:5', '1200:17')
const path = fc.array(name, { minLength: 1, maxLength: 2 }).map((parts) => parts.join('/'))
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ kind: fc.constantFrom('file' as const, 'exec' as const, 'link' as const), oid, size: count }),
  fc.record({ kind: fc.constant('tree' as const), oid, size: count, files: count }),
)
const byPath = <T extends { path: string }>(items: T[]) => items.sort((a, b) => compareUtf8(a.path, b.path))
const uniqueSorted = <T>(item: fc.Arbitrary<T>, key: (one: T) => string) =>
  fc.uniqueArray(item, { selector: key, maxLength: 3 }).map((list) => list.sort((a, b) => compareUtf8(key(a), key(b))))
const home: fc.Arbitrary<TaskHome> = fc.record(
  {
    url: fc.constantFrom('s3://bucket/prefix', '/shared/store', 'https://example.org/store'),
    endpoint: fc.constant('http://127.0.0.1:9000'),
    region: fc.stringMatching(/^[a-z0-9-]{1,12}$/),
    path_style: fc.boolean(),
    checksum: fc.constantFrom('sha256' as const, 'md5' as const),
    scope: fc.constantFrom('main', 'me'),
  },
  { requiredKeys: ['url'], noNullPrototype: true },
)

// Below folders of their own, so that nothing that is written lies in what is read.
const task: fc.Arbitrary<Task> = fc
  .record({
    name: fc.constantFrom('train', 'train@us-1', 'größe', 'a.b=c'),
    at: place,
    cmd: fc.array(text, { minLength: 1, maxLength: 3 }),
    cmdAt: place,
    wdir: fc.oneof(fc.constant(''), path),
    shell: fc.oneof(fc.constant(''), text),
    deps: uniqueSorted(fc.record({ path: path.map((one) => `in/${one}` as RepoPath), entry }), (dep) => dep.path),
    params: uniqueSorted(
      fc.record({ file: path.map((one) => `params/${one}` as RepoPath), key: fc.string(), value: fc.jsonValue() }),
      (param) => `${param.file}\0${param.key}`,
    ),
    env: uniqueSorted(
      fc.record({ name: fc.stringMatching(/^[A-Z_]{1,5}$/), value: fc.option(text) }),
      (variable) => variable.name,
    ),
    outs: uniqueSorted(
      fc.record({
        path: fc.stringMatching(/^out[a-z]{1,5}$/) as fc.Arbitrary<string> as fc.Arbitrary<RepoPath>,
        role: fc.constantFrom('out' as const, 'metric' as const, 'plot' as const),
        git: fc.boolean(),
        persist: fc.boolean(),
        at: place,
      }),
      (out) => out.path,
    ),
    file: entry,
    resources: fc.record({ cpus: amount, memory: amount, gpus: amount }),
    retry: fc.nat({ max: 100 }),
    timeout: fc.option(fc.constantFrom(1, 0.5, 7200), { nil: undefined }),
    home: fc.option(home, { nil: undefined }),
  })
  .map(({ file, timeout, home, ...one }) => {
    const files = [...new Set(one.params.map((param) => param.file))].map((param) => ({ path: param, entry: file }))
    const known = { ...one, wdir: one.wdir as RepoPath, inputs: byPath([...one.deps, ...files]) }
    const rest = { ...(timeout === undefined ? {} : { timeout }), ...(home === undefined ? {} : { home }) }
    return { ...known, ...rest, key: runKey(known) }
  })

function sample(edit: Partial<Task> = {}): Task {
  const path = 'data.txt' as RepoPath
  const out: Out = { path: 'model' as RepoPath, role: 'out', git: false, persist: false, at: '' }
  const entry: Entry = { kind: 'file', oid: OID, size: 1 }
  const known = {
    ...{ name: 'train', at: '2:3', cmd: ['cp data.txt model'], cmdAt: '3:10', wdir: '' as RepoPath, shell: '' },
    ...{ deps: [{ path, entry }], params: [], env: [], inputs: [{ path, entry }], outs: [out] },
    ...{ resources: { cpus: 0, memory: 0, gpus: 0 }, retry: 0 },
    ...edit,
  }
  return { ...known, key: edit.key ?? runKey(known) }
}

const parse = (text: string) => parseTask(Buffer.from(text), 'task.json')

it('reads back what it writes', () => {
  fc.assert(
    fc.property(task, (value) => {
      const text = formatTask(value)
      // JSON knows no -0, and a key called __proto__ is one like others.
      expect(parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
      expect(formatTask(parse(text))).toBe(text)
    }),
    { numRuns: 200 },
  )
})

it('writes one line of canonical JSON', () => {
  expect(formatTask(sample())).toBe(
    `{"at": "2:3", "cmd": ["cp data.txt model"], "cmd_at": "3:10", "deps": [{"kind": "file", "oid": "${OID}", "path": "data.txt", "size": 1}], ` +
      `"env": [], "inputs": [{"kind": "file", "oid": "${OID}", "path": "data.txt", "size": 1}], "key": "${sample().key}", "mlv_task": 1, ` +
      `"outs": [{"path": "model", "role": "out"}], "params": [], "resources": {"cpus": 0, "gpus": 0, "memory": 0}, "retry": 0, "shell": "", "stage": "train", "wdir": ""}\n`,
  )
})

it('refuses any other text, and never falls over one', () => {
  const bytes = Buffer.from(formatTask(sample()))
  const wrong = (edited: Uint8Array) => {
    if (Buffer.compare(bytes, edited) === 0) return
    try {
      parseTask(edited, 'task.json')
    } catch (error) {
      expect(error).toBeInstanceOf(MlvError)
      expect((error as MlvError).code).toBe('TASK_INVALID')
      return
    }
    // What no key covers, a place or an amount, may be another one.
    expect(formatTask(parseTask(edited, 'task.json'))).toBe(Buffer.from(edited).toString())
  }
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.uint8Array({ maxLength: 4 }), fc.nat({ max: 4 }), (at, put, cut) => {
      wrong(Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]))
    }),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(fc.jsonValue(), (value) => wrong(Buffer.from(`${JSON.stringify(value)}\n`))),
    { numRuns: 200 },
  )
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(JSON.parse(bytes.toString()))), fc.jsonValue()), (edit) => {
      wrong(Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), ...edit })))
    }),
  )
  wrong(Buffer.from('['.repeat(100_000)))
})

describe('a task that', () => {
  const at = (path: string) => path as RepoPath
  const entry: Entry = { kind: 'file', oid: OID, size: 1 }
  const out = (path: string): Out => ({ path: at(path), role: 'out', git: false, persist: false, at: '' })
  const reads = (path: string) => ({ deps: [{ path: at(path), entry }], inputs: [{ path: at(path), entry }] })
  it.each<[string, Partial<Task>, string]>([
    ['reads outside of the folder', reads('../secret'), 'the name ".."'],
    ['reads an absolute path', reads('/etc/passwd'), 'has the path "/etc/passwd"'],
    ['reads in .git', reads('.git/config'), 'protected name'],
    ['writes into .git in another spelling', { outs: [out('GIT~1/hooks')] }, 'protected name'],
    ['writes into .mlv', { outs: [out('.mlv/config')] }, 'protected name'],
    ['runs outside', { wdir: at('../..') }, 'the name ".."'],
    ['writes one out into another', { outs: [out('a'), out('a/b')] }, 'lies in it'],
    ['writes one out twice', { outs: [out('a'), out('a')] }, 'twice'],
    ['writes what it reads', { outs: [out('data.txt')] }, 'the task reads data.txt'],
    ['writes around what it reads', { ...reads('data/x'), outs: [out('data')] }, 'the task reads data/x'],
    ['has a dep that is no input', { inputs: [] }, 'is not what the input data.txt is'],
    [
      'has an input that no key covers',
      {
        inputs: [
          { path: at('data.txt'), entry },
          { path: at('more'), entry },
        ],
      },
      'neither a dep nor a file of params',
    ],
    ['has params of no file', { params: [{ file: at('params.yaml'), key: 'a', value: 1 }] }, 'params.yaml, which is no input'],
    ['has the key of another', { key: OID }, 'is not the key of what it says'],
    ['is called as no stage may be', { name: '../x' }, 'is no name of a stage'],
    ['sets what is no variable', { env: [{ name: 'A=B', value: '1' }] }, 'is no name of a variable'],
    ['has no command', { cmd: [] }, 'is no list of commands'],
    ['holds a secret', { home: { url: 's3://key:secret@bucket/prefix' } }, 'holds credentials'],
    ['lives in a folder that is each reader’s own', { home: { url: '../store' } }, 'is no absolute folder'],
  ])('%s is refused', (_what, edit, message) => {
    expect(() => parse(formatTask(sample(edit)))).toThrow(message)
  })

  it('is of a newer format is refused by its number', () => {
    expect(() => parse(formatTask(sample()).replace('"mlv_task": 1', '"mlv_task": 2'))).toThrow('The task has format 2')
  })

  it('reads a notebook has its sources in the key and its bytes as input', () => {
    const path = at('fit.ipynb')
    const other: Entry = { kind: 'file', oid: oidOfBytes('bytes'), size: 5 }
    const value = sample({ deps: [{ path, entry }], inputs: [{ path, entry: other }] })
    expect(parse(formatTask(value))).toEqual(value)
  })
})
