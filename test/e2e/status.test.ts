import { mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

interface PathAnswer {
  path: string
  state: string
  uncached: boolean
  changes?: { kind: string; path: string; from?: string }[]
}

async function status(repo: Repo, ...args: string[]): Promise<PathAnswer[]> {
  const result = await repo.mlv('status', '--json', ...args)
  expect(result).toMatchObject({ exitCode: 0, stderr: '' })
  return JSON.parse(result.stdout).paths
}

async function states(repo: Repo): Promise<Record<string, string>> {
  return Object.fromEntries((await status(repo)).map((item) => [item.path, item.state]))
}

/** Two versions of data and model on two branches; `main` is checked out, with its data. */
async function twoBranches(): Promise<Repo> {
  const repo = await makeRepo({ 'data/a': 'one', 'data/b': 'two', model: 'v1' }, { init: true })
  await repo.mlv('add', 'data', 'model')
  await repo.commit('First')
  await repo.git('switch', '-q', '-c', 'next')
  repo.write('data/c', 'three')
  repo.write('model', 'v2 longer')
  await repo.mlv('add', '-u')
  await repo.commit('Second')
  await repo.git('switch', '-q', 'main')
  expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
  return repo
}

describe('mlv status', () => {
  it('tells where nothing is tracked, and where all is well', async () => {
    const repo = await makeRepo({ a: '1' }, { init: true })
    expect((await repo.mlv('status')).stdout).toBe('nothing is tracked yet; start with "mlv add PATH"\n')
    await repo.mlv('add', 'a')
    expect(await repo.mlv('status', '--exit-code')).toMatchObject({ exitCode: 0, stdout: 'up to date\n' })
  })

  it('lists what was added, modified, deleted and renamed', async () => {
    const repo = await makeRepo({ 'data/a': 'aa', 'data/b': 'bb', 'data/c': 'cc', 'data/d': 'dd' }, { init: true })
    await repo.mlv('add', 'data')
    repo.write('data/a', 'changed')
    rmSync(repo.path('data/b'))
    renameSync(repo.path('data/c'), repo.path('data/z'))
    repo.write('data/new', 'new')
    const [data] = await status(repo)
    expect(data).toMatchObject({ state: 'modified', uncached: false })
    expect(data?.changes?.map(({ kind, path, from }) => `${kind} ${from ?? ''} ${path}`)).toEqual([
      'modified  data/a',
      'deleted  data/b',
      'added  data/new',
      'renamed data/c data/z',
    ])
    const { stdout, exitCode } = await repo.mlv('status', '--exit-code')
    expect(exitCode).toBe(1)
    expect(stdout).toContain('modified   data  (+1 −1 ~1 →1)\n')
    expect(stdout).toContain('  → renamed   data/c → data/z')
    expect(stdout).toContain('mlv add -u')
  })

  it('sees what comes to a folder that was added empty, or emptied and added', async () => {
    const repo = await makeRepo({ 'emptied/old': 'old' }, { init: true })
    for (const folder of ['file', 'folder']) mkdirSync(repo.path(folder))
    const folders = ['file', 'folder', 'emptied']
    await repo.mlv('add', ...folders)
    rmSync(repo.path('emptied/old'))
    await repo.mlv('add', 'emptied')
    repo.write('file/new', 'new')
    mkdirSync(repo.path('folder/new'))
    repo.write('emptied/new', 'new')
    expect(await states(repo)).toEqual({ file: 'modified', folder: 'modified', emptied: 'modified' })
    await repo.mlv('add', ...folders)
    expect((await repo.mlv('ls', '-R')).stdout).toBe('emptied/new\nfile/new\n')
    rmSync(repo.path('folder/new'), { recursive: true })
    expect((await repo.mlv('checkout')).exitCode).toBe(0)
    expect(repo.exists('folder/new')).toBe(true)
  })

  it('sees that a file is gone where an empty folder has come, in its place or elsewhere', async () => {
    const repo = await makeRepo({ 'here/a': 'a', 'here/b': 'b', 'there/a': 'a', 'there/b': 'b' }, { init: true })
    mkdirSync(repo.path('renamed/old'), { recursive: true })
    await repo.mlv('add', 'here', 'there', 'renamed')
    await repo.commit()
    const recorded = await status(repo)
    rmSync(repo.path('here/a'))
    mkdirSync(repo.path('here/a'))
    rmSync(repo.path('there/a'))
    mkdirSync(repo.path('there/new'))
    renameSync(repo.path('renamed/old'), repo.path('renamed/new'))
    expect(await states(repo)).toEqual({ here: 'modified', there: 'modified', renamed: 'modified' })
    await repo.mlv('add', '-u')
    expect(await states(repo)).toEqual({ here: 'unchanged', there: 'unchanged', renamed: 'unchanged' })
    expect((await repo.mlv('ls', '-R')).stdout).toBe('here/b\nthere/b\n')
    await repo.git('checkout', '-q', '--', '.')
    await repo.mlv('checkout')
    expect(await status(repo)).toEqual(recorded)
    expect([repo.read('here/a'), repo.read('there/a')]).toEqual(['a', 'a'])
    expect([repo.exists('renamed/old'), repo.exists('there/new')]).toEqual([true, false])
  })

  it('tells deleted from absent', async () => {
    const repo = await twoBranches()
    rmSync(repo.path('data'), { recursive: true })
    rmSync(repo.path('model'))
    expect(await states(repo)).toEqual({ data: 'deleted', model: 'deleted' })
    const clone = await repo.clone()
    expect(await states(clone)).toEqual({ data: 'absent', model: 'absent' })
    expect((await status(clone)).every((item) => item.uncached)).toBe(true)
    expect((await clone.mlv('status')).stdout).toMatch(/^absent +data +\(.*missing from cache\)/)
  })

  it('calls data outdated after a git switch without the hook, and add refuses to record it', async () => {
    const repo = await twoBranches()
    await repo.git('switch', '-q', 'next')
    expect(await states(repo)).toEqual({ data: 'outdated', model: 'outdated' })
    const before = await repo.git('status', '--porcelain')
    for (const path of ['data', 'model'])
      expect(expectFailure(await repo.mlv('add', path), 4, 'is outdated')).toContain('mlv checkout')
    expect(await repo.mlv('add', '-u')).toMatchObject({ exitCode: 0 })
    expect(await repo.git('status', '--porcelain')).toBe(before)
    // Changed here and there: neither is thrown away unasked.
    repo.write('data/mine', 'mine')
    repo.write('model', 'mine')
    expect(await states(repo)).toEqual({ data: 'diverged', model: 'diverged' })
    for (const path of ['data', 'model']) expectFailure(await repo.mlv('add', path), 4, 'was changed here')
    expectFailure(await repo.mlv('add', '-u'), 4, 'was changed here')
    expectFailure(await repo.mlv('checkout', 'model'), 4, 'would be lost')
    expect(repo.read('model')).toBe('mine')
    expect(await repo.mlv('add', '--force', 'model')).toMatchObject({ exitCode: 0 })
    expect(await repo.mlv('checkout', 'data')).toMatchObject({ exitCode: 0 })
    expect(repo.read('data/mine')).toBe('mine')
    expect(repo.read('data/c')).toBe('three')
  })

  it('keeps outdated parts outdated when another part was checked out', async () => {
    const repo = await makeRepo({ 'data/a/1': 'one', 'data/b/1': 'one' }, { init: true })
    await repo.mlv('add', 'data')
    await repo.commit('First')
    await repo.git('switch', '-q', '-c', 'next')
    repo.write('data/a/1', 'second')
    repo.write('data/b/1', 'second')
    await repo.mlv('add', 'data')
    await repo.commit('Second')
    await repo.git('switch', '-q', 'main')
    await repo.mlv('checkout')
    await repo.git('switch', '-q', 'next')
    expect(await repo.mlv('checkout', 'data/a')).toMatchObject({ exitCode: 0 })
    expect([repo.read('data/a/1'), repo.read('data/b/1')]).toEqual(['second', 'one'])
    expect(await states(repo)).toEqual({ data: 'outdated' })
    expectFailure(await repo.mlv('add', 'data'), 4, 'outdated')
    await repo.mlv('checkout')
    expect(await states(repo)).toEqual({ data: 'unchanged' })
  })

  it('agrees with pull on an older version that only the workspace has, since the cache was lost', async () => {
    const repo = await makeRepo({ 'data/a': 'old', file: 'old' }, { init: true })
    await repo.mlv('remote', 'add', 'origin', '../remote', '--local')
    for (const content of ['old', 'new']) {
      repo.write('data/a', content)
      repo.write('file', content)
      await repo.mlv('add', 'data', 'file')
      await repo.commit(content)
      expect((await repo.mlv('push')).exitCode).toBe(0)
    }
    await repo.git('switch', '-q', '--detach', 'HEAD~1')
    await repo.mlv('checkout')
    rmSync(repo.path('.git/mlv/store'), { recursive: true })
    await repo.git('switch', '-q', 'main')
    for (const lost of ['nothing else', '.git/mlv/state']) {
      rmSync(repo.path(lost), { recursive: true, force: true })
      expect(await states(repo)).toEqual({ data: 'outdated', file: 'outdated' })
      expect((await repo.mlv('status')).stdout).toContain('outdated: get the new version with "mlv pull"')
      for (const path of ['data', 'file']) {
        const refused = await repo.mlv('pull', path)
        expect(expectFailure(refused, 4, 'is an older version that the cache has lost')).toContain(
          `"mlv fetch --all-commits ${path}"`,
        )
      }
      rmSync(repo.path('.git/mlv/store'), { recursive: true })
    }
    expect(repo.read('data/a')).toBe('old')
    expect((await repo.mlv('fetch', '--all-commits', 'data')).exitCode).toBe(0)
    expect((await repo.mlv('pull', 'data')).exitCode).toBe(0)
    expect(repo.read('data/a')).toBe('new')
    repo.write('file', 'mine')
    expectFailure(await repo.mlv('pull', 'file'), 4, 'file has changes that are in no cache')
    expect((await repo.mlv('pull', '--force', 'file')).exitCode).toBe(0)
    expect(await states(repo)).toEqual({ data: 'unchanged', file: 'unchanged' })
  })

  it('calls absent what a checkout in a fresh clone could not place', async () => {
    const repo = await makeRepo({ 'data/a': 'a', model: 'm' }, { init: true })
    await repo.mlv('add', 'data', 'model')
    await repo.commit('First')
    const clone = await repo.clone()
    expect(await states(clone)).toEqual({ data: 'absent', model: 'absent' })
    expect((await clone.mlv('checkout', '--allow-missing')).stdout).toContain('not in the cache')
    expect(await states(clone)).toEqual({ data: 'absent', model: 'absent' })
  })

  it('survives the loss of its state: nothing is lost, old versions are still outdated', async () => {
    const repo = await twoBranches()
    rmSync(repo.path('.git/mlv/state'), { recursive: true })
    expect(await states(repo)).toEqual({ data: 'unchanged', model: 'unchanged' })
    rmSync(repo.path('.git/mlv/state'), { recursive: true })
    await repo.git('switch', '-q', 'next')
    expect(await states(repo)).toEqual({ data: 'outdated', model: 'outdated' })
    expectFailure(await repo.mlv('add', 'data'), 4, 'outdated')
    rmSync(repo.path('data/a'))
    expect((await status(repo, 'data'))[0]?.changes?.find((change) => change.path === 'data/a')?.kind).toBe('absent')
  })

  it('makes its tables anew where folders lie in their place, and says in a line where a file lies in that of their folder', async () => {
    const repo = await makeRepo({ 'data/a': 'a', b: 'b' }, { init: true })
    await repo.mlv('add', 'data', 'b')
    const stat = repo.path('.git/mlv/state/main/stat')
    for (const name of readdirSync(stat)) {
      rmSync(join(stat, name))
      for (const each of [name, `${name}.changes`]) mkdirSync(join(stat, each, 'x'), { recursive: true })
    }
    expect(await repo.mlv('status')).toMatchObject({ exitCode: 0, stdout: 'up to date\n', stderr: '' })
    rmSync(stat, { recursive: true })
    writeFileSync(stat, '')
    expectFailure(await repo.mlv('status'), 9, 'A file stands where a folder should be')
  })

  it('sees an edit of the same size in the same second, and no difference in a touch', async () => {
    const repo = await makeRepo({ 'data/a': 'aaaa', b: 'bbbb' }, { init: true })
    await repo.mlv('add', 'data', 'b')
    for (const path of ['data/a', 'b']) {
      const { atime, mtime } = statSync(repo.path(path))
      writeFileSync(repo.path(path), 'xxxx')
      utimesSync(repo.path(path), atime, mtime)
    }
    expect(await states(repo)).toEqual({ data: 'modified', b: 'modified' })
    repo.write('data/a', 'aaaa')
    repo.write('b', 'bbbb')
    expect(await states(repo)).toEqual({ data: 'unchanged', b: 'unchanged' })
    for (const path of ['data/a', 'b']) utimesSync(repo.path(path), 1, 1)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('sees an edit of the same size whose time was set back to what it was long ago, unless told not to', async () => {
    const files = { 'data/a': 'aaaa', b: 'bbbb', 'data/large': 'large '.repeat(200_000) }
    const repo = await makeRepo(files, { init: true })
    for (const path of Object.keys(files)) utimesSync(repo.path(path), 1_600_000_000, 1_600_000_000)
    await repo.mlv('add', 'data', 'b')
    // Rows as young as a change of their files are read once more anyway.
    await repo.mlv('status')
    for (const [path, text] of Object.entries(files)) {
      writeFileSync(repo.path(path), text.replace(/^./, 'X'))
      utimesSync(repo.path(path), 1_600_000_000, 1_600_000_000)
    }
    const env = { MLV_TRUST_CTIME: 'false' }
    expect((await repo.mlvWith({ env }, 'status')).stdout).toBe('up to date\n')
    expect(await states(repo)).toEqual({ data: 'modified', b: 'modified' })
    expect((await status(repo, 'data'))[0]?.changes?.map(({ path }) => path)).toEqual(['data/a', 'data/large'])
    for (const [path, text] of Object.entries(files)) repo.write(path, text)
    expect(await states(repo)).toEqual({ data: 'unchanged', b: 'unchanged' })
  })

  it('sees a file that became executable, a link, or a folder', async () => {
    const repo = await makeRepo({ 'data/a': '1', 'data/b': '1', 'data/c': '1' }, { init: true })
    await repo.mlv('add', 'data')
    rmSync(repo.path('data/b'))
    symlinkSync('a', repo.path('data/b'))
    rmSync(repo.path('data/c'))
    mkdirSync(repo.path('data/c'))
    writeFileSync(repo.path('data/a'), '1', { mode: 0o755 })
    rmSync(repo.path('data/a'))
    writeFileSync(repo.path('data/a'), '1', { mode: 0o755 })
    const [data] = await status(repo)
    expect(data?.changes?.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      'modified data/a',
      'modified data/b',
      'deleted data/c',
      'added data/c',
    ])
  })

  it('lists what lies in a folder where a file was tracked, each time, and add records the whole alone', async () => {
    const repo = await makeRepo({ model: 'a file' }, { init: true })
    await repo.mlv('add', 'model')
    rmSync(repo.path('model'))
    repo.write('model/weights', '12')
    const changes = [
      { kind: 'deleted', path: 'model', before: 6 },
      { kind: 'added', path: 'model/weights', after: 2 },
    ]
    for (let i = 0; i < 2; i++) expect(await status(repo)).toMatchObject([{ path: 'model', state: 'modified', changes }])
    expect(expectFailure(await repo.mlv('add', 'model/weights'), 4, 'model is tracked as a file')).toContain('"mlv add model"')
    expect(await repo.mlv('add', 'model')).toMatchObject({ exitCode: 0 })
    expect(await states(repo)).toEqual({ model: 'unchanged' })
  })

  it('looks at named paths only, and refuses what is not tracked', async () => {
    const repo = await makeRepo({ a: '1', b: '1', c: '1' }, { init: true })
    await repo.mlv('add', 'a', 'b')
    repo.write('a', '22')
    repo.write('b', '22')
    expect((await status(repo, 'a')).map((item) => item.path)).toEqual(['a'])
    expectFailure(await repo.mlv('status', 'c'), 2, 'c is not tracked')
  })

  it('--remote says what is not pushed', async () => {
    const repo = await makeRepo({ 'data/a': '1', 'data/b': '2' }, { init: true })
    await repo.mlv('add', 'data')
    expectFailure(await repo.mlv('status', '--remote'), 3, 'remote')
    await repo.mlv('remote', 'add', 'origin', makeFolder().dir)
    expect((await repo.mlv('status', '--remote')).stdout).toMatch(/^not pushed to origin: 3 objects; run "mlv push"\n$/)
    expect((await repo.mlv('status', '--remote', '--exit-code')).exitCode).toBe(1)
    await repo.mlv('push')
    expect((await repo.mlv('status', '--remote', '--exit-code')).stdout).toBe('up to date\n')
  })

  it('keeps what an add recorded while it was looking', async () => {
    const repo = await makeRepo({ 'data/a': '1' }, { init: true })
    await repo.mlv('add', 'data')
    for (let i = 0; i < 3; i++) {
      repo.write(`data/n${i}`, String(i))
      await Promise.all([repo.mlv('add', 'data'), repo.mlv('status'), repo.mlv('status')])
      repo.write('data/a', `changed ${i}`)
      expect(await states(repo)).toEqual({ data: 'modified' })
      expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0 })
    }
  })

  it('shows names as they are without letting them drive the terminal', async () => {
    const repo = await makeRepo({ 'data/x': '1' }, { init: true })
    await repo.mlv('add', 'data')
    writeFileSync(join(repo.dir, 'data', 'a\u001b[31m\nred'), 'x')
    const { stdout } = await repo.mlv('status')
    expect(stdout).not.toContain('\u001b')
    expect(stdout).toMatch(/added .*a.*red/)
  })
})
