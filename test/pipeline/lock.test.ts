import fc from 'fast-check'
import { expect, it, test } from 'vitest'
import type { Oid } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import { compareUtf8 } from '../../src/base/paths.ts'
import { emptyLock, formatLock, type Lock, type LockedStage, parseLock } from '../../src/pipeline/lock.ts'
import { runKey } from '../../src/pipeline/run-key.ts'
import type { Entry } from '../../src/workspace/entry.ts'

const OID = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08' as Oid

const oid = fc.stringMatching(/^[0-9a-f]{64}$/) as fc.Arbitrary<Oid>
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const name = fc.oneof(
  fc.stringMatching(/^[a-z]{1,8}$/),
  fc.constantFrom('ä', '𝒳', '\ufb01', 'with "quotes"', 'a\nb', '__proto__', 'constructor'),
)
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/') as RepoPath)
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ kind: fc.constantFrom('file' as const, 'exec' as const, 'link' as const), oid, size: count }),
  fc.record({ kind: fc.constant('tree' as const), oid, size: count, files: count }),
)
const uniqueSorted = <T>(item: fc.Arbitrary<T>, key: (one: T) => string) =>
  fc.uniqueArray(item, { selector: key, maxLength: 4 }).map((list) => list.sort((a, b) => compareUtf8(key(a), key(b))))
const extra = fc.dictionary(fc.stringMatching(/^x[a-z]{1,5}$/), fc.jsonValue({ maxDepth: 2 }), {
  maxKeys: 2,
  noNullPrototype: true,
})
const stage: fc.Arbitrary<LockedStage> = fc.record({
  cmd: fc.array(fc.string({ unit: 'binary' }), { maxLength: 3 }),
  wdir: fc.oneof(fc.constant('' as RepoPath), path),
  shell: fc.oneof(fc.constant(''), fc.string()),
  deps: uniqueSorted(fc.record({ path, entry }), (dep) => dep.path),
  params: uniqueSorted(
    fc.record({ file: path, key: fc.string(), value: fc.jsonValue() }),
    (param) => `${param.file}\0${param.key}`,
  ),
  env: uniqueSorted(fc.record({ name, value: fc.option(fc.string()) }), (variable) => variable.name),
  outs: uniqueSorted(fc.record({ path, entry, git: fc.boolean(), persist: fc.boolean() }), (out) => out.path),
  runKey: oid,
  unsure: fc.boolean(),
  extra,
})
const lock: fc.Arbitrary<Lock> = fc.record({
  stages: fc.array(fc.tuple(name, stage), { maxLength: 3 }).map((list) => new Map(list)),
  extra,
})

it('reads back what it writes, and writes one text for equal content', async () => {
  await fc.assert(
    fc.asyncProperty(lock, async (value) => {
      const text = formatLock(value)
      const again = await parseLock(text)
      expect(formatLock(again)).toBe(text)
      expect([...again.stages.keys()].sort()).toEqual([...value.stages.keys()].sort())
      // Without its checks it reads the same.
      expect(await parseLock(text, true)).toEqual(again)
      for (const [key, one] of value.stages) expect(JSON.stringify(again.stages.get(key)!.outs)).toBe(JSON.stringify(one.outs))
      JSON.parse(text)
    }),
    { numRuns: 200 },
  )
})

it('keeps one line per dep, param and out', () => {
  const value = emptyLock()
  const path = 'model.bin' as RepoPath
  const one: LockedStage = {
    cmd: ['python train.py'],
    wdir: '' as RepoPath,
    shell: '',
    deps: [{ path: 'data' as RepoPath, entry: { kind: 'tree', oid: OID, size: 5, files: 2 } }],
    params: [{ file: 'params.yaml' as RepoPath, key: 'train', value: { lr: 0.1, epochs: 3 } }],
    env: [{ name: 'SEED', value: null }],
    outs: [{ path, entry: { kind: 'file', oid: OID, size: 7 }, git: false, persist: true }],
    runKey: OID,
    unsure: false,
    extra: {},
  }
  value.stages.set('train', one)
  expect(formatLock(value)).toBe(`{
  "mlv": 1,
  "stages": {
    "train": {
      "cmd": ["python train.py"],
      "deps": [
        {"path": "data", "kind": "tree", "oid": "${OID}", "size": 5, "files": 2}
      ],
      "params": [
        {"file": "params.yaml", "key": "train", "value": {"epochs": 3, "lr": 0.1}}
      ],
      "env": [
        {"name": "SEED", "value": null}
      ],
      "outs": [
        {"path": "model.bin", "kind": "file", "oid": "${OID}", "size": 7, "persist": true}
      ],
      "run_key": "${OID}"
    }
  }
}
`)
  // Made by Python's json.dumps(…, sort_keys=True, ensure_ascii=False) and hashlib.
  expect(runKey(one)).toBe('474767f65814ff171d8fa19d98645cc59590111faa6f67a2032fa9a622080e51')
  const bigger = { ...one, outs: [{ ...one.outs[0]!, entry: { kind: 'file' as const, oid: OID, size: 8 } }] }
  expect(runKey(bigger)).toBe(runKey(one))
  expect(runKey({ ...one, env: [{ name: 'SEED', value: '' }] })).not.toBe(runKey(one))
})

const withStage = (body: string) => `{"mlv": 1, "stages": {"a": {"cmd": ["x"], "run_key": "${OID}"${body}}}}`

test.each([
  ['an empty file', '', 'mlv.lock:1:1: no valid JSON'],
  ['a comma too many', '{\n  "mlv": 1,\n  "stages": {},\n}\n', 'mlv.lock:4:1: no valid JSON'],
  ['half a file', '{\n  "mlv": 1,\n  "stages": {"a": {"cmd', 'mlv.lock:3:20: no valid JSON'],
  ['words', '{"mlv": one}', 'mlv.lock:1:9: no valid JSON'],
  ['merge markers', '{\n<<<<<<< ours\n=======\n>>>>>>> b\n}', 'mlv.lock:2:1: merge markers'],
  ['a newer format', '{"mlv": 2, "stages": {}}', 'mlv.lock has format 2; this mlv reads format 1'],
  ['no format', '{"stages": {}}', 'mlv.lock has format none'],
  ['a list', '[]', 'mlv.lock:1:1: the file is no object'],
  [
    'a bad oid',
    withStage(',\n"outs": [{"path": "m", "kind": "file", "oid": "1E3", "size": 1}]'),
    'mlv.lock:2:10: a outs 0 has no oid',
  ],
  [
    'a bad size',
    withStage(`, "outs": [{"path": "m", "kind": "file", "oid": "${OID}", "size": -1}]`),
    'a outs 0 has no whole number of bytes',
  ],
  [
    'a stage twice',
    `{"mlv": 1,\n "stages": {"a": {"cmd": ["x"], "run_key": "${OID}"},\n "a": {"cmd": ["y"], "run_key": "${OID}"}}}`,
    'mlv.lock:3:2: ',
  ],
  [
    'a path twice',
    withStage(
      `, "deps": [{"path": "m", "kind": "file", "oid": "${OID}", "size": 1}, {"path": "m", "kind": "file", "oid": "${OID}", "size": 1}]`,
    ),
    'names a path twice',
  ],
  ['a tower of lists', `{"mlv": 1, "stages": {}, "x": ${'['.repeat(5000)}${']'.repeat(5000)}}`, 'mlv.lock'],
])('refuses %s', async (_name, text, message) => {
  await expect(parseLock(text)).rejects.toMatchObject({
    code: 'LOCK_INVALID',
    message: expect.stringContaining(message),
    hint: expect.any(String),
  })
})

it('refuses a path that leaves the project', async () => {
  const text = withStage(`, "outs": [{"path": "../m", "kind": "file", "oid": "${OID}", "size": 1}]`)
  await expect(parseLock(text)).rejects.toMatchObject({
    code: 'LOCK_INVALID',
    message: expect.stringMatching(/^mlv\.lock:\d+:\d+: /),
  })
})
