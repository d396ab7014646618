import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

/** A project with two versions, pushed, whose remote anyone who clones it can read. */
async function dataRepo(): Promise<Repo> {
  const repo = await makeRepo(
    { 'data/a.txt': 'old', 'data/sub/b': 'bee', 'data/run': '#!', 'models/net/weights': 'w1', 'code.py': 'pass' },
    { init: true },
  )
  chmodSync(repo.path('data/run'), 0o755)
  await repo.mlv('remote', 'add', 'store', 'remote-folder')
  repo.write('.git/info/exclude', 'remote-folder\n')
  await repo.mlv('add', 'data', 'models/net/weights')
  await repo.commit('First')
  await repo.git('tag', 'v1')
  repo.write('data/a.txt', 'newer')
  await repo.mlv('add', 'data')
  await repo.commit('Second')
  await repo.mlv('push', '--all-commits')
  return repo
}

/** A clone with a remote and no data at all. */
async function emptyClone(repo: Repo): Promise<Repo> {
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'far', repo.path('remote-folder'), '--local', '--default')
  return clone
}

const rows = async (repo: Repo, ...args: string[]) => JSON.parse((await repo.mlv(...args, '--json')).stdout)

describe('mlv ls', () => {
  it('lists what is tracked, level by level, fetching nothing', async () => {
    const repo = await emptyClone(await dataRepo())
    expect((await repo.mlv('ls')).stdout).toBe('data/\nmodels/\n')
    expect((await repo.mlv('ls', 'models')).stdout).toBe('net/\n')
    expect((await repo.mlv('ls', 'data')).stdout).toBe('a.txt\nrun\nsub/\n')
    expect((await repo.mlv('ls', 'data/a.txt')).stdout).toBe('data/a.txt\n')
    expect((await repo.mlv('ls', '-R')).stdout).toBe('data/a.txt\ndata/run\ndata/sub/b\nmodels/net/weights\n')
    expect((await repo.mlvWith({ cwd: 'models' }, 'ls')).stdout).toBe('net/\n')
    expect((await repo.mlv('ls', '-l', 'data', '--rev', 'v1')).stdout).toMatch(
      /^file +3 B +[0-9a-f]{12} {2}a\.txt\nexec +2 B +[0-9a-f]{12} {2}run\ntree +3 B +1 file +[0-9a-f]{12} {2}sub\/\n$/,
    )
    expect(await rows(repo, 'ls')).toMatchObject([
      { path: 'data', kind: 'tree', size: 10, files: 3, tracked: true },
      { path: 'models', kind: 'folder', size: 2, files: 1 },
    ])
    expect(existsSync(repo.path('.git/mlv/store/packs'))).toBe(false)
  })

  it('takes names for paths that no repository could have', async () => {
    const repo = await makeRepo({ '-dash/file': '1', 'two\nlines': '2' }, { init: true })
    expect(await repo.mlv('add', '--', '-dash', 'two\nlines')).toMatchObject({ exitCode: 0 })
    expect(await repo.mlv('ls', '--', '-dash')).toMatchObject({ exitCode: 0, stdout: 'file\n' })
    expect(await repo.mlv('get', '-o', 'copy', '--', 'two\nlines')).toMatchObject({ exitCode: 0 })
    expect(repo.read('copy')).toBe('2')
    await repo.git('init', '-q', '--', '-other')
    expectFailure(await repo.mlv('ls', '--', '-other'), 2, 'could be read as an option')
  })

  it('names what is not there', async () => {
    const repo = await dataRepo()
    expect(expectFailure(await repo.mlv('ls', 'nothing'), 2, 'mlv tracks nothing at nothing')).toContain('See what it tracks')
    expectFailure(await repo.mlv('ls', 'nothing', '--rev', 'v1'), 2, 'nothing at nothing of v1')
    expectFailure(await repo.mlv('ls', 'data/none'), 2, 'no data/none')
    expectFailure(await repo.mlv('ls', '--rev', 'v9'), 2, 'v9')
    expectFailure(await repo.mlv('ls', 'data', 'models'), 2, '"data" is not another git repository')
    expectFailure(await repo.mlv('ls', '..'), 2, 'outside the project')
    const empty = await makeRepo({}, { init: true })
    expect(await empty.mlv('ls')).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
  })
})

describe('mlv du', () => {
  it('adds up tracked paths and folders', async () => {
    const repo = await emptyClone(await dataRepo())
    expect((await repo.mlv('du')).stdout).toBe(
      '10 B  3 files  data\n 2 B   1 file  models/net/weights\n 2 B   1 file  models/net\n 2 B   1 file  models\n12 B  4 files  .\n',
    )
    expect((await repo.mlv('du', '-d', '0', '--rev', 'v1')).stdout).toBe('10 B  4 files  .\n')
    expect((await repo.mlv('du', 'data', '-d', '2')).stdout).toBe(' 3 B   1 file  data/sub\n10 B  3 files  data\n')
    expect(await rows(repo, 'du', 'data/a.txt')).toEqual([{ path: 'data/a.txt', size: 5, files: 1, isFolder: false }])
    expectFailure(await repo.mlv('du', '-d', 'x'), 2, '--max-depth')
  })
})

describe('mlv cat', () => {
  it('prints bytes of a revision, from the cache or the remote, and keeps nothing', async () => {
    const origin = await dataRepo()
    const clone = await emptyClone(origin)
    for (const repo of [origin, clone]) {
      expect(await repo.mlv('cat', 'v1:data/a.txt')).toMatchObject({ exitCode: 0, stdout: 'old', stderr: '' })
      expect((await repo.mlv('cat', 'data/a.txt')).stdout).toBe('newer')
      expect((await repo.mlv('cat', 'HEAD~1:models/net/weights')).stdout).toBe('w1')
    }
    mkdirSync(clone.path('models/net'), { recursive: true })
    expect((await clone.mlvWith({ cwd: 'models' }, 'cat', 'HEAD:./net/weights')).stdout).toBe('w1')
    expect((await clone.mlvWith({ cwd: 'models' }, 'cat', 'net/weights')).stdout).toBe('w1')
    expect(existsSync(clone.path('.git/mlv/store/packs'))).toBe(false)
  })

  it('prints a large file into a pipe as fast as its reader takes it, and says nothing else', async () => {
    // Many times what a pipe holds.
    const content = 'sixteen bytes !\n'.repeat(1 << 20)
    const repo = await makeRepo({ big: content }, { init: true })
    await repo.mlv('add', 'big')
    const { stdout, ...rest } = await repo.mlv('cat', 'big')
    expect(rest).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout === content).toBe(true)
  })

  it('says why it cannot', async () => {
    const repo = await dataRepo()
    expect(expectFailure(await repo.mlv('cat', 'HEAD:data'), 2, 'data is a folder')).toContain('mlv ls data --rev HEAD')
    expectFailure(await repo.mlv('cat', 'HEAD:code.py'), 2, 'tracks nothing at code.py of HEAD')
    expectFailure(await repo.mlv('cat', 'nope:data/a.txt'), 2, 'nope')
    expectFailure(await repo.mlv('cat', 'HEAD:../x'), 2, 'outside')
    expectFailure(await repo.mlv('cat', 'HEAD:.git/config'), 2, 'protected')
  })
})

describe('another repository', () => {
  it('is looked at and copied from, as a folder and as a url, also outside any repository', async () => {
    const source = await dataRepo()
    const outside = makeFolder().dir
    const here = await makeRepo({}, { init: true })
    const at = (...args: string[]) => here.mlvWith({ cwd: outside }, ...args)
    expect((await at('ls', source.dir)).stdout).toBe('data/\nmodels/\n')
    expect((await at('du', source.dir, 'data', '-d0', '--rev', 'v1')).stdout).toBe('8 B  3 files  data\n')
    expect((await at('get', source.dir, 'data', '--rev', 'v1')).stdout).toBe('wrote data  (8 B)\n')
    expect(listing(`${outside}/data`)).toEqual({ 'a.txt': 'old', run: 'exec #!', 'sub/b': 'bee' })

    // Fetched by url it has the remotes of its committed settings and of the user's own, and it is fetched again each time.
    const url = `file://${source.dir}`
    const bare = await at('ls', url, 'data')
    expect(expectFailure(bare, 5, 'not in')).not.toContain('bug')
    await source.mlv('remote', 'remove', 'store')
    await source.commit('No committed remote')
    expect(expectFailure(await at('get', url, 'data'), 4, 'is there already')).toContain('--force')
    expectFailure(await at('get', url, 'data', '-o', 'x'), 3, 'names no remote that counts here')
    await here.mlv('remote', 'add', 'disk', source.path('remote-folder'), '--user')
    expect((await at('ls', url, 'data')).stdout).toBe('a.txt\nrun\nsub/\n')
    expect((await at('get', url, 'data/sub/b', '-o', 'bee')).stdout).toBe('wrote bee  (3 B)\n')
    const bareFolder = await source.clone('--bare')
    expect((await at('ls', bareFolder.dir, 'data')).stdout).toBe('a.txt\nrun\nsub/\n')
    expect(listing(bareFolder.dir)).not.toHaveProperty('mlv')
  })

  it('may hold its project in a folder', async () => {
    const source = await makeRepo({ 'ml/data/a': 'a', readme: 'r' })
    await source.mlvWith({ cwd: 'ml' }, 'init', '--subdir')
    await source.mlvWith({ cwd: 'ml' }, 'add', 'data')
    await source.commit()
    const here = await makeRepo({}, { init: true })
    expect(await here.mlv('ls', source.dir, 'ml/data')).toMatchObject({ stdout: 'a\n', stderr: '' })
    expect(await here.mlv('ls', source.path('ml'), 'data')).toMatchObject({ stdout: 'a\n', stderr: '' })
    expect((await here.mlv('ls', `file://${source.dir}`, 'ml')).stdout).toBe('data/\n')
    expectFailure(await here.mlv('ls', `file://${source.dir}`), 3, 'is no mlv project at HEAD')
    expectFailure(await here.mlv('ls', source.dir), 3, 'is no mlv project at HEAD')
  })

  it('is refused in one clear line where it is none, and never runs a command', async () => {
    const here = await makeRepo({}, { init: true })
    const plain = await makeRepo({ a: 'a' }, { commit: true })
    const fresh = await makeRepo({}, { init: true })
    expectFailure(await here.mlv('ls', plain.dir), 3, 'is no mlv project')
    expectFailure(await here.mlv('ls', fresh.dir), 2, 'no commit')
    expectFailure(await here.mlv('ls', `file://${fresh.dir}`), 2, 'has no commit "HEAD"')
    expectFailure(await here.mlv('ls', 'file:///nowhere/at/all'), 7, 'cannot be fetched')
    expectFailure(await here.mlv('ls', 'http://127.0.0.1:9/x.git'), 7, 'cannot be fetched')
    expectFailure(await here.mlv('ls', `file://${plain.dir}`, '--rev', 'v9'), 2, 'has no commit "v9"')
    expectFailure(await here.mlv('get', '../nowhere', 'data'), 2, 'is not another git repository')
    for (const hostile of ['ext::touch owned', 'ext::sh -c touch% owned', 'fd::7'])
      expectFailure(await here.mlv('ls', hostile), 2, 'remote helpers')
    expectFailure(await here.mlv('ls', '--', '--upload-pack=touch owned', 'x'), 2, 'is not another git repository')
    expectFailure(await here.mlv('import', '--', '--upload-pack=touch owned', 'x'), 2, 'option')
    expectFailure(await here.mlv('ls', 'ssh://-oProxyCommand=touch%20owned/x'), 2, 'no repository')
    expectFailure(await here.mlv('ls', 'https://ada:hunter2@127.0.0.1:9/x.git'), 2, /^(?!.*hunter2).*password/)
    expect(here.exists('owned')).toBe(false)
    // A folder in this clone that looks like a repository may come from whoever was cloned from.
    await here.git('clone', '-q', '--bare', plain.dir, 'vendor.git')
    await here.git('-C', 'vendor.git', 'config', 'core.fsmonitor', 'touch owned')
    expectFailure(await here.mlv('ls', 'vendor.git'), 2, 'bare repository inside this one')
    expectFailure(await here.mlv('ls', `file://${here.path('vendor.git')}`), 2, 'bare repository inside this one')
  })
})
