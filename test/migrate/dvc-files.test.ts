import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import type { RepoPath } from '../../src/base/paths.ts'
import { readDvcConfig } from '../../src/migrate/dvc-config.ts'
import { checkEntries, parseDvcFile, parseDvcLock } from '../../src/migrate/dvc-files.ts'
import { makeFolder } from '../helpers/repo.ts'

const MD5 = '0123456789abcdef0123456789abcdef'
const parse = (text: string, path = 'sub/data.dvc') => parseDvcFile(text, path as RepoPath)

describe('a .dvc file', () => {
  it('says what lies where', () => {
    const text = `outs:\n- md5: ${MD5}.dir\n  size: 31\n  nfiles: 5\n  hash: md5\n  path: data\n  desc: ours\n  labels: [a]\nmeta: {by: me}\n`
    expect(parse(text)).toEqual({
      tracked: [
        {
          ...{ path: 'sub/data', md5: MD5, hash: 'md5', folder: true, size: 31, exec: false, at: 'sub/data.dvc:2:3' },
          ...{ desc: 'ours', labels: ['a'], meta: { by: 'me' } },
        },
      ],
      leftovers: [],
    })
  })

  it('of DVC 2 has another hash; hex that looks like a number stays what it is', () => {
    const digits = '12345678901234567890123456789012'
    expect(parse(`wdir: ..\nouts:\n- {md5: ${digits}, path: x, isexec: true}\n`).tracked).toMatchObject([
      { path: 'x', md5: digits, hash: 'md5-dos2unix', folder: false, exec: true },
    ])
  })

  it('names what has no counterpart', () => {
    const text = `deps:
- {path: data.xml, repo: {url: https://example.org/repo, rev_lock: abc}}
outs:
- {md5: ${MD5}, path: data.xml, push: false, remote: other}
- {etag: '"x"', path: s3://bucket/x}
- {md5: ${MD5}, path: ../../up}
- {md5: ${MD5}, path: kept, cache: false}
- {path: none}
`
    const { tracked, leftovers } = parse(text)
    expect(tracked.map(({ path }) => path)).toEqual(['sub/data.xml'])
    expect(leftovers.map(({ at, what }) => `${at} ${what}`)).toEqual([
      expect.stringContaining('sub/data.dvc:2:3 imported from https://example.org/repo;'),
      'sub/data.dvc:4:80 "remote: other" of sub/data.xml has no counterpart',
      'sub/data.dvc:4:65 "push: false" of sub/data.xml has no counterpart',
      'sub/data.dvc:5:3 "s3://bucket/x" lies outside the project and stays with DVC',
      'sub/data.dvc:6:3 "../../up" lies outside the project and stays with DVC',
      'sub/data.dvc:7:3 "sub/kept" is kept by git alone (cache: false); nothing to do',
      'sub/data.dvc:8:3 "sub/none" has no MD5 and stays with DVC',
    ])
  })

  test.each([
    ['an unknown key', 'cheese: 1\n', 'sub/data.dvc:1:1: DVC knows no key "cheese" here'],
    ['outs as a map', 'outs: {a: 1}\n', 'sub/data.dvc:1:7: a list belongs here'],
    ['an out without a path', `outs:\n- md5: ${MD5}\n`, 'sub/data.dvc:2:3: no path'],
    ['a short MD5', 'outs:\n- {md5: abc, path: x}\n', 'sub/data.dvc:2:9: no MD5: "abc"'],
    ['a list', '- a\n', 'sub/data.dvc:1:1: a map belongs here'],
  ])('with %s is refused', (_name, text, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'DVC_INVALID', message }))
  })
})

describe('the list of a folder', () => {
  const entry = (relpath: string) => ({ relpath, md5: MD5 })
  test.each([
    ['leads out', [entry('../x')], 'the path "../x" has the name ".."'],
    ['leads into git', [entry('a/.GIT/config')], 'has the protected name ".GIT"'],
    ['is absolute', [entry('/etc/passwd')], 'has an empty name'],
    ['names a file twice', [entry('a'), entry('a')], '"a" stands there twice'],
    ['has a file for a folder', [entry('a/b/c'), entry('a')], '"a" is a file and a folder'],
    ['has no MD5', [{ relpath: 'a' }], 'an entry has no path and MD5'],
    ['is of numbers', [1], 'an entry has no path and MD5'],
  ])('is refused when it %s', (_name, list, message) => {
    expect(() => checkEntries(list, 'x.dir')).toThrow(message)
  })
})

describe('dvc.lock', () => {
  it('is read in both of its forms, relative to the stages', () => {
    const stage = `cmd: run\n    deps:\n    - {path: ../in, md5: ${MD5}, size: 3}\n    params:\n      params.yaml: {a.b: 1, seed: 12345678901234567}\n    outs:\n    - {path: out, md5: ${MD5}.dir, hash: md5}\n`
    for (const text of [`schema: '2.0'\nstages:\n  s@x:\n    ${stage}`, `s@x:\n    ${stage}`]) {
      const stages = parseDvcLock(text, 'dvc.lock' as RepoPath, () => 'sub')
      expect(stages.get('s@x')).toMatchObject({
        cmd: ['run'],
        deps: [{ path: 'in', md5: MD5, folder: false, hash: 'md5-dos2unix' }],
        outs: [{ path: 'sub/out', md5: MD5, folder: true, hash: 'md5' }],
        params: new Map([['params.yaml', { 'a.b': 1, seed: '12345678901234567' }]]),
      })
    }
    expect(parseDvcLock('', 'dvc.lock' as RepoPath, () => '').size).toBe(0)
    expect(() => parseDvcLock("schema: '3.0'\n", 'dvc.lock' as RepoPath, () => '')).toThrow('dvc.lock:1:9: schema 3.0')
  })
})

it("reads DVC's settings, this clone's after those of the project", () => {
  const { dir } = makeFolder()
  mkdirSync(join(dir, '.dvc'))
  const project = `# ours\n[core]\n    remote = bucket\n['remote "disk"']\n    url = ../../disk\n['remote "bucket"']\n    url = s3://bucket/p\n    endpointurl = http://localhost:1\n['remote "ssh"']\n    url = ssh://host/x\n['remote "spaced"']\n    url = s3://b/p q\n[cache]\n    dir = ../shared\n`
  writeFileSync(join(dir, '.dvc/config'), project)
  writeFileSync(join(dir, '.dvc/config.local'), `['remote "bucket"']\n    access_key_id = "key"\n`)
  const config = readDvcConfig({ root: join(dir), env: {} })
  expect(config.cacheDir).toBe(join(dir, 'shared'))
  expect(config.remotes).toEqual([
    { name: 'bucket', settings: { url: 's3://bucket/p', endpoint: 'http://localhost:1', access_key_id: 'key' } },
    { name: 'disk', settings: { url: join(dir, '../disk') } },
  ])
  expect(config.leftovers).toMatchObject([{ at: 'remote "ssh"' }, { at: 'remote "spaced"' }])
  writeFileSync(join(dir, '.dvc/config'), 'remote\n')
  expect(() => readDvcConfig({ root: dir, env: {} })).toThrow('.dvc/config:1:1')
})
