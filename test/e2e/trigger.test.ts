import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { type S3Server, startS3 } from '../helpers/s3-server.ts'

const PIPELINE = `stages:
  prepare:
    cmd: cat raw/a > prepared
    deps: [raw/a]
    outs: [prepared]
  train:
    cmd: cat prepared > model
    deps: [prepared]
    outs: [model]
  other:
    cmd: echo x > other
    deps: [mlv.yaml]
    outs: [other]
  frozen:
    cmd: cat raw/a > cold
    deps: [raw]
    outs: [cold]
    frozen: true
`

async function worlds(): Promise<{ source: Repo; here: Repo }> {
  const source = await makeRepo({ 'data/a': 'one', 'data/sub/b': 'bee' }, { init: true })
  await source.mlv('add', 'data')
  await source.commit('First')
  const here = await makeRepo({ 'mlv.yaml': PIPELINE }, { init: true })
  await here.mlv('import', source.dir, 'data', '--rev', 'main', '-o', 'raw')
  await here.commit('Import')
  return { source, here }
}

async function change(source: Repo, text = 'two', file = 'data/a'): Promise<string> {
  source.write(file, text)
  await source.mlv('add', 'data')
  return source.commit(text)
}

const answer = async (repo: Repo, ...args: string[]) => {
  const { exitCode, stdout, stderr } = await repo.mlv('trigger', '--json', ...args)
  return { exitCode, stderr, ...JSON.parse(stdout) }
}

describe('mlv trigger of a repository', () => {
  it('says by its exit status whether the branch has newer data, what changed, and what would run again', async () => {
    const { source, here } = await worlds()
    const before = await source.git('rev-parse', 'HEAD')
    expect(await answer(here)).toMatchObject({
      ...{ exitCode: 0, changed: false, stages: [] },
      imports: [{ path: 'raw', state: 'unchanged', stages: [] }],
    })
    const after = await change(source)
    const [status, refs] = [await here.git('status', '--porcelain'), await here.git('for-each-ref')]
    expect(await answer(here)).toMatchObject({
      ...{ exitCode: 1, changed: true, stages: ['prepare', 'train'] },
      imports: [
        {
          ...{ path: 'raw', state: 'changed', stages: ['prepare', 'train'] },
          source: { repo: source.dir, path: 'data', rev: 'main' },
          ...{ before: { commit: before }, after: { commit: after }, files: { added: 0, deleted: 0, modified: 1 } },
        },
      ],
    })
    expect((await here.mlv('trigger')).stdout).toMatch(
      /^changed {2}raw {2}from .* data at main {2}\+0 −0 ~1 {2}→ prepare, train\n$/,
    )
    expect([await here.git('status', '--porcelain'), await here.git('for-each-ref')]).toEqual([status, refs])
    expect(here.read('raw/a')).toBe('one')
    await here.mlv('update')
    expect((await here.mlv('trigger')).exitCode).toBe(0)
    // A file that no stage reads.
    await change(source, 'more', 'data/sub/b')
    expect(await answer(here)).toMatchObject({ exitCode: 1, stages: [], imports: [{ files: { modified: 1 } }] })
  })

  it('a commit pinned by its id asks nobody, and a source that is gone is an error beside the others', async () => {
    const { source, here } = await worlds()
    const commit = await source.git('rev-parse', 'HEAD')
    await here.mlv('import', source.dir, 'data', '--rev', commit, '-o', 'fixed')
    await change(source)
    const { here: other, source: gone } = await worlds()
    await here.mlv('import', gone.dir, 'data', '-o', 'gone')
    rmSync(gone.dir, { recursive: true })
    expect(other.exists('raw')).toBe(true)
    const found = await answer(here)
    expect(found).toMatchObject({
      ...{ exitCode: 2, changed: true },
      imports: [
        { path: 'fixed', state: 'unchanged' },
        { path: 'gone', state: 'failed', error: { code: 'PATH_MISSING' } },
        { path: 'raw', state: 'changed' },
      ],
    })
    expect(found.stderr).toContain('no git repository')
    rmSync(source.dir, { recursive: true })
    expect((await here.mlv('trigger', 'fixed')).exitCode).toBe(0)
    expectFailure(await here.mlv('trigger', 'nothing'), 2, 'not tracked')
    expectFailure(await here.mlv('trigger', '--push'), 2, '--push goes with --commit')
    expect((await (await makeRepo({}, { init: true })).mlv('trigger')).stdout).toMatch(/^nothing was imported/)
  })
})

describe('mlv trigger --commit', () => {
  it('commits the pointer onto a branch once per version, and leaves a dirty workspace, its index and its branch alone', async () => {
    const { source, here } = await worlds()
    await change(source)
    here.write('raw/a', 'my own work')
    here.write('staged', 's')
    await here.git('add', 'staged')
    here.write('raw.mlv', `${here.read('raw.mlv')}desc: not committed\n`)
    const state = async () => [
      await here.git('status', '--porcelain'),
      await here.git('rev-parse', 'HEAD'),
      here.read('raw/a'),
      here.read('raw.mlv'),
    ]
    const before = await state()
    const done = await answer(here, '--commit')
    expect(done).toMatchObject({ exitCode: 1, stages: ['prepare', 'train'], committed: { branch: 'mlv/update', paths: ['raw'] } })
    expect(await state()).toEqual(before)
    expect(await here.git('log', '--format=%s', 'main..mlv/update')).toBe('Update raw')
    expect(await here.git('diff', '--name-only', 'main', 'mlv/update')).toBe('raw.mlv')
    expect((await here.mlv('cat', 'mlv/update:raw/a')).stdout).toBe('two')
    // A cron job runs it again and again.
    for (let i = 0; i < 2; i++)
      expect(await answer(here, '--commit')).toMatchObject({
        ...{ exitCode: 0, changed: true },
        committed: { commit: done.committed.commit, paths: [] },
      })
    expect((await here.mlv('trigger', '--commit')).stdout).toMatch(/\nmlv\/update has all of it already\n$/)
    await change(source, 'three')
    expect(await answer(here, '--commit')).toMatchObject({ exitCode: 1 })
    expect(await here.git('log', '--format=%s', 'main..mlv/update')).toBe('Update raw\nUpdate raw')
    expect(await state()).toEqual(before)
    expect(await here.git('fsck', '--strict')).not.toMatch(/error|missing/)
  })

  it('keeps the commits of others on the branch, follows HEAD once it has moved on, and starts anew when it was merged', async () => {
    const { source, here } = await worlds()
    await change(source)
    await here.mlv('trigger', '--commit', '--branch', 'auto')
    // HEAD moves on beside it: the branch takes that in, so that it merges.
    await here.git('commit', '-q', '--allow-empty', '-m', 'Nothing')
    here.write('code.py', 'x')
    await here.commit('Code')
    await change(source, 'three')
    expect(await answer(here, '--commit', '--branch', 'auto')).toMatchObject({ exitCode: 1 })
    expect(await here.git('diff', '--name-only', 'main', 'auto')).toBe('raw.mlv')
    expect(await here.git('merge-base', 'main', 'auto')).toBe(await here.git('rev-parse', 'main'))
    // Somebody works on the branch.
    const worktree = here.path('../work')
    await here.git('worktree', 'add', '-q', worktree, 'auto')
    expectFailure(await here.mlv('trigger', '--commit', '--branch', 'auto'), 4, /auto is checked out in/)
    await here.git('-C', worktree, 'commit', '-q', '--allow-empty', '-m', 'By hand')
    await here.git('worktree', 'remove', '--force', worktree)
    await change(source, 'four')
    await here.mlv('trigger', '--commit', '--branch', 'auto')
    expect((await here.git('log', '--format=%s', '-2', 'auto')).split('\n')).toEqual(['Update raw', 'By hand'])
    await here.git('merge', '-q', '--squash', 'auto')
    await here.git('commit', '-q', '-m', 'Squashed')
    await change(source, 'five')
    await here.mlv('trigger', '--commit', '--branch', 'auto')
    // It merges, though git does not know that the branch was merged before.
    await here.git('merge', '-q', '--no-edit', 'auto')
    expect((await here.mlv('cat', 'main:raw/a')).stdout).toBe('five')
    expect(await answer(here, '--commit', '--branch', 'auto')).toMatchObject({ exitCode: 0, changed: false })
  })

  it('works from a detached HEAD in a fresh clone, and pushes data before the branch', async () => {
    const { source, here } = await worlds()
    const bare = await here.clone('--bare')
    await here.mlv('remote', 'add', 'store', here.path('../store'), '--user')
    await here.mlv('push')
    await change(source)
    const env = { HOME: here.env.HOME, XDG_CONFIG_HOME: here.env.XDG_CONFIG_HOME }
    const ci = async () => {
      const clone = await makeRepo({})
      await clone.git('remote', 'add', 'origin', bare.dir)
      await clone.git('fetch', '-q', 'origin', 'main')
      await clone.git('checkout', '-q', '--detach', 'FETCH_HEAD')
      return { clone, run: (...args: string[]) => clone.mlvWith({ env }, 'trigger', '--json', '--commit', ...args) }
    }
    const first = await ci()
    const done = await first.run('--push')
    expect(done).toMatchObject({ exitCode: 1, stderr: '' })
    expect(JSON.parse(done.stdout)).toMatchObject({ committed: { paths: ['raw'], pushed: true } })
    expect(first.clone.exists('raw')).toBe(false)
    const tip = await bare.git('rev-parse', 'mlv/update')
    const second = await ci()
    const again = await second.run('--push')
    expect([again.exitCode, JSON.parse(again.stdout).committed]).toEqual([
      0,
      { branch: 'mlv/update', commit: tip, paths: [], pushed: false },
    ])
    expect(await bare.git('rev-parse', 'mlv/update')).toBe(tip)
    // Whoever has neither the source nor that machine's cache gets the data.
    rmSync(source.dir, { recursive: true })
    const reader = await makeRepo({})
    await reader.git('pull', '-q', bare.dir, 'mlv/update')
    expect(await reader.mlvWith({ env }, 'pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(reader.read('raw/a')).toBe('two')
  })

  it('two at once make one commit, and what cannot be committed says so', async () => {
    const { source, here } = await worlds()
    await change(source)
    const both = await Promise.all([here.mlv('trigger', '--commit'), here.mlv('trigger', '--commit')])
    expect(both.map(({ exitCode }) => exitCode).sort()).toEqual([0, 1])
    expect(await here.git('rev-list', '--count', 'main..mlv/update')).toBe('1')
    expectFailure(await here.mlv('trigger', '--commit', '--branch', 'a..b'), 2, 'no name for a branch')
    expectFailure(await here.mlv('trigger', '--commit', '--branch', 'main'), 4, 'main is checked out')
    expectFailure(await here.mlv('trigger', '--commit', '--branch', 'main/x'), 4, 'no branch main/x beside')
    expectFailure(await here.mlv('trigger', '--commit', '--push'), 3, 'git knows no remote "origin"')
    // What a killed git leaves.
    here.write('.git/refs/heads/stale.lock', '')
    const told = expectFailure(await here.mlv('trigger', '--commit', '--branch', 'stale'), 3, 'stale.lock')
    expect(told).toContain('delete the .lock file that it names')
    const empty = await makeRepo({}, { init: true })
    expectFailure(await empty.mlv('trigger', '--commit'), 2, 'leads to no commit')
  })
})

describe('mlv trigger of a web server', () => {
  it('tells by ETag, date or size, and by the bytes where a server names no version', async () => {
    const file = { body: 'a,b\n', headers: {} as Record<string, string> }
    const requests: string[] = []
    const server = createServer((request, response) => {
      requests.push(request.method!)
      response.writeHead(200, { 'content-length': Buffer.byteLength(file.body), ...file.headers })
      response.end(request.method === 'HEAD' ? undefined : file.body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x.csv`
    const here = await makeRepo({}, { init: true })
    for (const name of ['etag', 'last-modified']) {
      file.headers = { [name]: name === 'etag' ? '"1"' : 'Mon, 01 Jan 2024 00:00:00 GMT' }
      await here.mlv('import-url', url, '-o', name)
      requests.length = 0
      expect((await here.mlv('trigger', name)).exitCode).toBe(0)
      file.headers = { [name]: name === 'etag' ? '"2"' : 'Tue, 02 Jan 2024 00:00:00 GMT' }
      expect(await answer(here, name)).toMatchObject({ exitCode: 1, imports: [{ state: 'changed', files: { modified: 1 } }] })
      expect(requests).toEqual(['HEAD', 'HEAD'])
    }
    file.headers = {}
    await here.mlv('import-url', url, '-o', 'bare')
    requests.length = 0
    expect(await answer(here, 'bare')).toMatchObject({ exitCode: 0, imports: [{ state: 'unknown' }] })
    file.body = 'c,d\n'
    expect(await here.mlv('trigger', 'bare')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('--read') })
    expect(requests).toEqual(['HEAD', 'HEAD'])
    expect((await here.mlv('trigger', 'bare', '--read')).exitCode).toBe(1)
    file.body = 'a,b\n'
    expect((await here.mlv('trigger', 'bare', '--read')).exitCode).toBe(0)
    file.body = 'longer\n'
    expect((await here.mlv('trigger', 'bare')).exitCode).toBe(1)
  })
})

describe('mlv trigger of a bucket', async () => {
  const server = await startS3()
  afterAll(() => server?.stop())

  it.skipIf(!server)('asks for one listing, and with --commit reads what changed alone', async () => {
    const s3 = server as S3Server
    const name = await s3.bucket('trigger')
    const env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey, AWS_REGION: s3.region }
    const { createS3Blobs } = await import('../../src/transport/s3-blobs.ts')
    const blobs = await createS3Blobs({ bucket: name, prefix: '', endpoint: s3.endpoint, region: s3.region, env })
    const put = (key: string, text: string) => blobs.put(key, Buffer.from(text))
    const proxy = await startFaultyProxy(s3.endpoint)
    onTestFinished(() => proxy.stop())
    const here = await makeRepo({ 'mlv.yaml': PIPELINE }, { init: true, env })
    for (let i = 0; i < 10; i++) await put(`raw/f${i}`, `file ${i}`)
    await put('raw/a', 'a')
    await here.mlv('import-url', `s3://${name}/raw/`, '--endpoint', proxy.endpoint)
    await here.commit('Import')
    proxy.requests.length = 0
    expect((await here.mlv('trigger')).exitCode).toBe(0)
    expect(proxy.requests).toHaveLength(1)
    await put('raw/f1', 'changed')
    await blobs.delete('raw/f2')
    await put('raw/new', 'n')
    proxy.requests.length = 0
    expect(await answer(here)).toMatchObject({
      exitCode: 1,
      stages: [],
      imports: [{ files: { added: 1, deleted: 1, modified: 1 } }],
    })
    expect(proxy.requests).toHaveLength(1)
    await put('raw/a', 'b')
    proxy.requests.length = 0
    expect(await answer(here, '--commit')).toMatchObject({ exitCode: 1, stages: ['prepare', 'train'] })
    expect(proxy.requests).toHaveLength(4)
    expect((await here.mlv('trigger', '--commit')).exitCode).toBe(0)
    expect((await here.mlv('ls', '--rev', 'mlv/update', 'raw')).stdout).toBe('a\nf0\nf1\nf3\nf4\nf5\nf6\nf7\nf8\nf9\nnew\n')
    expect((await here.mlv('cat', 'mlv/update:raw/f1')).stdout).toBe('changed')
    for (const key of ['a', 'f0', 'f1', 'f3', 'f4', 'f5', 'f6', 'f7', 'f8', 'f9', 'new']) await blobs.delete(`raw/${key}`)
    expectFailure(await here.mlv('trigger', '--quiet'), 2, 'nothing at')
  })
})
