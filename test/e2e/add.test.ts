import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

const start = (files: Record<string, string> = {}) => makeRepo(files, { init: true })

async function files(repo: Repo, path: string): Promise<Record<string, string | null>> {
  const out = join(makeFolder().dir, 'out')
  const result = await repo.mlv('get', path, '-o', out)
  expect(result).toMatchObject({ exitCode: 0, stderr: '' })
  return listing(out)
}

describe('mlv add', () => {
  it('writes a pointer, ignores the data in git, and ends with the line that commits it', async () => {
    const repo = await start({ 'model.bin': 'weights' })
    const { exitCode, stdout } = await repo.mlv('add', 'model.bin')
    expect({ exitCode, stdout }).toEqual({
      exitCode: 0,
      stdout: 'added  model.bin  (7 B)\nto commit: git add model.bin.mlv .gitignore\n',
    })
    expect(repo.read('model.bin.mlv')).toMatch(/^mlv: 1\nkind: file\noid: [0-9a-f]{64}\nsize: 7\n$/)
    expect(repo.read('.gitignore')).toBe('/model.bin\n')
    expect((await repo.mlv('add', 'model.bin')).stdout).toBe('nothing changed\n')
    expect(await repo.git('status', '--porcelain', '-uall')).not.toContain('?? model.bin\n')
  })

  it('keeps folders as they are: empty ones, links in and out, executables, odd names', async () => {
    const long = 'n'.repeat(251)
    const repo = await start({
      'data/a.txt': 'a',
      'data/empty': '',
      'data/sub/deep/b.txt': 'b',
      "data/it's a 'file' \"x\".txt": 'quotes',
      'data/line\nbreak\ttab\\back.txt': 'newline',
      'data/🎉 emoji é.txt': 'emoji',
      'data/Case.txt': 'upper',
      'data/case.txt': 'lower',
      'data/\u00e9': 'composed',
      'data/e\u0301': 'decomposed',
      'data/\ue000': 'private',
      [`data/${long}.txt`]: '255 bytes',
      'data/inside.mlv': 'plain data',
    })
    mkdirSync(repo.path('data/hollow/within'), { recursive: true })
    symlinkSync('a.txt', repo.path('data/link'))
    symlinkSync('/etc/hostname', repo.path('data/out'))
    symlinkSync('sub', repo.path('data/folder'))
    symlinkSync('nowhere', repo.path('data/dangling'))
    writeFileSync(repo.path('data/run.sh'), '#!/bin/sh\n')
    chmodSync(repo.path('data/run.sh'), 0o755)
    const before = listing(repo.path('data'))
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    rmSync(repo.path('data'), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('data'))).toEqual(before)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect(await files(repo, 'data')).toEqual(before)
  })

  it('adds one new file of a folder whose other files are not here, with pages from the remote', async () => {
    const remote = makeFolder().dir
    const repo = await start({ 'data/a/1': 'one', 'data/a/2': 'two', 'data/b/3': 'three' })
    await repo.mlv('remote', 'add', 'origin', remote)
    await repo.mlv('add', 'data')
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
    await repo.commit('Data')
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    clone.write('data/a/new', 'new')
    expect(await clone.mlv('add', 'data/a/new')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(clone.read('data.mlv')).toContain('files: 4\n')
    expect((await clone.mlv('status')).stdout).toMatch(/^absent +data {2}\(\+0 −0 ~0 \?3/)
    expect(await clone.mlv('push')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(clone.path('data'))).toEqual({ 'a/1': 'one', 'a/2': 'two', 'a/new': 'new', 'b/3': 'three' })
  })

  it('keeps what is absent, drops what was deleted', async () => {
    const remote = makeFolder().dir
    const repo = await start({ 'data/a/1': 'one', 'data/a/2': 'two', 'data/b/3': 'three', 'data/b/4': 'four' })
    await repo.mlv('remote', 'add', 'origin', remote)
    await repo.mlv('add', 'data')
    await repo.mlv('push')
    await repo.commit('Data')
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    expect(await clone.mlv('pull', 'data/a')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(clone.path('data'))).toEqual({ 'a/1': 'one', 'a/2': 'two' })
    expect((await clone.mlv('status')).stdout).toMatch(/^absent +data/)
    rmSync(clone.path('data/a/1'))
    clone.write('data/a/5', 'five')
    expect(await clone.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(clone.path('data'))).toEqual({ 'a/2': 'two', 'a/5': 'five', 'b/3': 'three', 'b/4': 'four' })
  })

  it('-u adds all that changed, and nothing else', async () => {
    const repo = await start({ a: '1', b: '1', 'c/x': '1' })
    await repo.mlv('add', 'a', 'b', 'c')
    repo.write('a', '22')
    repo.write('c/y', '1')
    const { stdout, exitCode } = await repo.mlv('add', '-u')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^updated {2}a .*\nupdated {2}c .*\nto commit: git add a.mlv c.mlv\n$/)
    expect((await repo.mlv('add', '-u')).stdout).toBe('nothing changed\n')
  })

  it('keeps a description, labels and keys it does not know', async () => {
    const repo = await start({ a: '1' })
    await repo.mlv('add', 'a', '--desc', 'first: try', '--label', 'x', '--label', 'y')
    writeFileSync(repo.path('a.mlv'), `${repo.read('a.mlv')}owner: ada\n`)
    repo.write('a', '22')
    await repo.mlv('add', 'a', '--label', 'z')
    const text = repo.read('a.mlv')
    expect(text).toContain('size: 2\n')
    expect(text).toMatch(/desc: .*first: try/)
    expect(text).toContain('owner: ada')
    for (const label of ['x', 'y', 'z']) expect(text).toMatch(new RegExp(`\\b${label}\\b`))
  })

  it('--glob takes patterns and passes over pointers', async () => {
    const repo = await start({ 'd/a.csv': '1', 'd/b.csv': '2', 'd/c.txt': '3' })
    await repo.mlv('add', 'd/a.csv')
    const { stdout, exitCode } = await repo.mlv('add', '--glob', 'd/*.csv*')
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^added {2}d\/b.csv/) })
    expectFailure(await repo.mlv('add', '--glob', 'zz*'), 2, 'Nothing matches')
  })

  it('takes what git tracks out of the index, and says so', async () => {
    const repo = await start({ 'data/a': '1', 'data/b': '2' })
    await repo.commit()
    const { stdout } = await repo.mlv('add', 'data')
    expect(stdout).toContain('git no longer tracks 2 files')
    expect(await repo.git('ls-files', 'data')).toBe('')
    expect(repo.read('data/a')).toBe('1')
  })

  it('stages with core.autostage', async () => {
    const repo = await start({ a: '1' })
    await repo.mlv('config', 'set', 'core.autostage', 'true', '--local')
    expect((await repo.mlv('add', 'a')).stdout).toContain('staged a.mlv .gitignore\n')
    expect(await repo.git('diff', '--cached', '--name-only')).toBe('.gitignore\na.mlv')
  })

  it('works from a sub-folder, with -C, and in a second project of the same repository', async () => {
    const repo = await start({ 'sub/a': '1', 'sub/b': '2', 'second/data/x': '3' })
    expect((await repo.mlvWith({ cwd: 'sub' }, 'add', 'a')).stdout).toContain('to commit: git add a.mlv .gitignore\n')
    expect((await repo.mlv('-C', 'sub', 'add', 'b')).exitCode).toBe(0)
    expect(repo.exists('sub/b.mlv')).toBe(true)
    expect((await repo.mlvWith({ cwd: 'second' }, 'init', '--subdir')).exitCode).toBe(0)
    expect(await repo.mlvWith({ cwd: 'second' }, 'add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await repo.mlvWith({ cwd: 'second' }, 'status', '--json')).stdout).toContain('"path": "data"')
    const main = JSON.parse((await repo.mlv('status', '--json')).stdout)
    expect(main.paths.map((item: { path: string }) => item.path)).toEqual(['sub/a', 'sub/b'])
  })

  it('shares the cache between worktrees', async () => {
    const repo = await start({ 'data/a': '1' })
    await repo.mlv('add', 'data')
    await repo.commit()
    const tree = join(makeFolder().dir, 'tree')
    await repo.git('worktree', 'add', '-q', tree)
    expect((await repo.mlv('-C', tree, 'status')).stdout).toMatch(/^absent +data/)
    expect((await repo.mlv('-C', tree, 'checkout')).exitCode).toBe(0)
    expect(listing(join(tree, 'data'))).toEqual({ a: '1' })
    writeFileSync(join(tree, 'data/b'), '2')
    expect((await repo.mlv('-C', tree, 'add', 'data')).exitCode).toBe(0)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('loses none of two files added at once to one folder', async () => {
    const repo = await start({ 'data/a': '1' })
    await repo.mlv('add', 'data')
    const names = ['n1', 'n2', 'n3', 'n4']
    for (const name of names) repo.write(`data/${name}`, name)
    const results = await Promise.all(names.map((name) => repo.mlv('add', `data/${name}`)))
    for (const result of results) expect(result).toMatchObject({ exitCode: 0, stderr: expect.not.stringContaining('error') })
    expect(Object.keys(await files(repo, 'data')).sort()).toEqual(['a', ...names])
    rmSync(repo.path('data/n1'))
    expect((await repo.mlv('status', '--json')).stdout).toContain('"deleted"')
  })

  it('handles a folder that turns into a file, and back', async () => {
    const repo = await start({ 'x/a': '1' })
    await repo.mlv('add', 'x')
    rmSync(repo.path('x'), { recursive: true })
    repo.write('x', 'file')
    expect((await repo.mlv('status')).stdout).toMatch(/^modified +x/)
    expect(await repo.mlv('add', 'x')).toMatchObject({ exitCode: 0 })
    expect(repo.read('x.mlv')).toContain('kind: file')
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    rmSync(repo.path('x'))
    repo.write('x/b', '2')
    expect(await repo.mlv('add', 'x')).toMatchObject({ exitCode: 0 })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    expect(await files(repo, 'x')).toEqual({ b: '2' })
  })

  it('records nothing it was told to ignore, and no leftover of its own', async () => {
    const repo = await start({ 'data/a': '1', 'data/__pycache__/x': 'c', 'data/.mlv-tmp-0123456789ab-a': 'half' })
    await repo.mlv('add', 'data')
    expect(await files(repo, 'data')).toEqual({ a: '1' })
  })

  it('refuses a file that no store can hold before it reads it', async ({ skip }) => {
    const repo = await start({ huge: '', 'data/huge': '' })
    try {
      for (const path of ['huge', 'data/huge']) truncateSync(repo.path(path), 6 * 2 ** 40)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EFBIG') throw error
      skip('this disk holds no file of 6 TiB, not even an empty one')
    }
    for (const path of ['huge', 'data'])
      expectFailure(await repo.mlv('add', path), 2, /huge has 6\.0 TiB, and mlv keeps files of at most 5 TiB/)
  })

  it('answers --json', async () => {
    const repo = await start({ a: '1' })
    const answer = JSON.parse((await repo.mlv('add', 'a', '--json')).stdout)
    expect(answer).toMatchObject({ added: [{ path: 'a', changed: true, entry: { kind: 'file', size: 1 } }] })
    expect(existsSync(repo.path('a.mlv'))).toBe(true)
  })
})
