import { renameSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { listing } from '../helpers/listing.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { type S3Server, startS3 } from '../helpers/s3-server.ts'

async function sourceRepo(): Promise<Repo> {
  const source = await makeRepo({ 'data/a': 'one', 'data/sub/b': 'bee', model: 'm1' }, { init: true })
  await source.mlv('add', 'data', 'model')
  await source.commit('First')
  await source.git('tag', 'v1')
  return source
}

async function change(source: Repo): Promise<string> {
  source.write('data/a', 'two')
  source.write('data/new', 'n')
  await source.mlv('add', 'data')
  return source.commit('Second')
}

describe('mlv import', () => {
  it('takes data of another project, pinned, with its source in the pointer, and push and clones treat it as any other', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({}, { init: true })
    const commit = await source.git('rev-parse', 'HEAD')
    const done = await here.mlv(
      'import',
      `../../${source.dir.split('/').slice(-2).join('/')}`,
      'data',
      '--rev',
      'main',
      '-o',
      'raw',
    )
    expect(done).toMatchObject({ exitCode: 0, stderr: '' })
    expect(done.stdout).toMatch(
      /^imported {2}raw {2}\(2 files, 6 B\) {2}from \S+ data at main, [0-9a-f]{8}\nto commit: git add raw\.mlv \.gitignore\n$/,
    )
    expect(listing(here.path('raw'))).toEqual({ a: 'one', 'sub/b': 'bee' })
    expect(here.read('raw.mlv')).toMatch(
      new RegExp(
        `\\nfiles: 2\\nsource:\\n {2}repo: \\.\\./\\.\\./\\S+\\n {2}path: data\\n {2}rev: main\\n {2}commit: ${commit}\\n$`,
      ),
    )
    expect((await here.mlv('status')).stdout).toBe('up to date\n')
    expect(await here.git('status', '--porcelain', '--', 'raw')).toBe('')

    await here.mlv('remote', 'add', 'store', here.path('../store'), '--local')
    await here.commit('Import')
    await here.mlv('push')
    const clone = await here.clone()
    await clone.mlv('remote', 'add', 'store', here.path('../store'), '--local')
    // The source may be gone by now: what was taken is ours.
    rmSync(source.dir, { recursive: true })
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(clone.path('raw'))).toEqual({ a: 'one', 'sub/b': 'bee' })
    expectFailure(await clone.mlv('update'), 2, 'The source of raw: There is no git repository')
  })

  it('takes one file, follows HEAD without --rev, and updates when asked', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({}, { init: true })
    await here.mlv('import', source.dir, 'data/a')
    await here.mlv('import', source.dir, 'data', '--rev', 'v1', '-o', 'pinned')
    expect([here.read('a'), here.read('pinned/a')]).toEqual(['one', 'one'])
    expect(here.read('a.mlv')).not.toContain('rev:')
    expect((await here.mlv('update')).stdout).toBe('unchanged  a\nunchanged  pinned\n')
    const commit = await change(source)
    const updated = await here.mlv('update')
    expect(updated.stdout).toMatch(
      /^updated {2}a {2}\(3 B, was 3 B\) {2}from .* at [0-9a-f]{8}\nunchanged {2}pinned\nto commit: git add a\.mlv\n$/,
    )
    expect(here.read('a')).toBe('two')
    expect(here.read('a.mlv')).toContain(`commit: ${commit}\n`)
    expect((await here.mlv('update', 'pinned', '--rev', 'main')).exitCode).toBe(0)
    expect(listing(here.path('pinned'))).toEqual({ a: 'two', new: 'n', 'sub/b': 'bee' })
    expect(here.read('pinned.mlv')).toContain('rev: main\n')
    expect((await here.mlv('status')).stdout).toBe('up to date\n')
    expect(JSON.parse((await here.mlv('update', 'a', '--json')).stdout)).toMatchObject([
      { path: 'a', changed: false, source: { commit } },
    ])
  })

  it('fetches from the remote that the source names', async () => {
    const source = await sourceRepo()
    await source.mlv('remote', 'add', 'store', source.path('../store'), '--user')
    await source.mlv('push')
    const bare = await source.clone('--bare')
    const here = await makeRepo({}, { init: true, env: { XDG_CONFIG_HOME: source.path('../home/.config') } })
    const env = source.env
    for (const repo of [`file://${source.dir}`, bare.dir]) {
      const done = await here.mlvWith(
        { env: { HOME: env.HOME, XDG_CONFIG_HOME: env.XDG_CONFIG_HOME } },
        'import',
        repo,
        'data',
        '--force',
      )
      expect(done).toMatchObject({ exitCode: 0, stderr: '' })
      expect(listing(here.path('data'))).toEqual({ a: 'one', 'sub/b': 'bee' })
    }
  })

  it('refuses what was purged at its source or here, also when it is asked for again', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({}, { init: true })
    await here.mlv('import', source.dir, 'data')
    await source.mlv('purge', 'data/sub/b', '--all-commits', '--yes')
    expectFailure(await here.mlv('import', source.dir, 'data', '-o', 'again'), 5, 'what was purged from')
    expectFailure(await here.mlv('update'), 5, 'The source of data: The data holds what was purged')
    expect([here.exists('again.mlv'), here.exists('again'), here.read('data/sub/b')]).toEqual([false, false, 'bee'])
    const fresh = await sourceRepo()
    await here.mlv('purge', 'data/sub/b', '--all-commits', '--yes')
    expectFailure(await here.mlv('import', fresh.dir, 'data', '-o', 'again'), 5, 'what was purged from this cache')
  })

  it('loses no work', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({ mine: 'mine', 'kept/x': 'x' }, { init: true })
    await here.mlv('add', 'kept/x')
    expectFailure(await here.mlv('import', source.dir, 'model', '-o', 'mine'), 4, 'is there already')
    expectFailure(await here.mlv('import', source.dir, 'data', '-o', 'kept'), 4, 'holds kept/x')
    expectFailure(await here.mlv('import', source.dir, 'model', '-o', 'kept/x'), 4, 'tracked already')
    await here.mlv('import', source.dir, 'data')
    // The same again finishes what was interrupted; what is new comes by an update.
    rmSync(here.path('data/sub'), { recursive: true })
    expect(await here.mlv('import', source.dir, 'data')).toMatchObject({ exitCode: 0, stdout: 'unchanged  data\n' })
    expect(listing(here.path('data'))).toEqual({ a: 'one', 'sub/b': 'bee' })
    expectFailure(await here.mlv('import', source.dir, 'data', '--rev', 'v1'), 4, 'tracked already')
    expectFailure(await here.mlv('import', source.dir, 'model', '-o', 'data/model'), 4, 'lies in data')
    here.write('data/a', 'my own')
    expectFailure(await here.mlv('import', source.dir, 'data'), 4, 'data/a has changes')
    await change(source)
    expect(expectFailure(await here.mlv('import', source.dir, 'data'), 4, 'tracked already')).toContain('mlv update data')
    const before = here.read('data.mlv')
    expectFailure(await here.mlv('update'), 4, 'data/a has changes')
    expect([here.read('data/a'), here.read('data.mlv')]).toEqual(['my own', before])
    expect((await here.mlv('update', '--force')).exitCode).toBe(0)
    expect(listing(here.path('data'))).toEqual({ a: 'two', new: 'n', 'sub/b': 'bee' })
    expect(here.read('mine')).toBe('mine')
  })

  it('says what is wrong with a source, and leaves nothing behind', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({}, { init: true })
    const plain = await makeRepo({ a: 'a' }, { commit: true })
    expectFailure(await here.mlv('import', plain.dir, 'a'), 3, 'no mlv project')
    expect(expectFailure(await here.mlv('import', source.dir, 'none'), 2, 'tracks nothing at none of HEAD')).toContain(
      'mlv ls REPO',
    )
    expectFailure(await here.mlv('import', source.dir, 'data/none'), 2, 'no data/none')
    expectFailure(await here.mlv('import', source.dir, '../data'), 2, '".."')
    expectFailure(await here.mlv('import', source.dir, '/'), 2, 'No path')
    expectFailure(await here.mlv('import', source.dir, 'data', '--rev', 'v9'), 2, 'v9')
    expectFailure(await here.mlv('import', 'ext::touch owned', 'data'), 2, 'remote helpers')
    expectFailure(await here.mlv('import', 'https://ada:hunter2@127.0.0.1:9/x.git', 'data'), 2, /^(?!.*hunter2)/)
    rmSync(source.path('.git/mlv/store/packs'), { recursive: true })
    expectFailure(await here.mlv('import', source.dir, 'data'), 3, 'no remote is configured there')
    expectFailure(await here.mlv('update', 'data'), 2, 'not tracked')
    expect((await here.mlv('update')).stdout).toMatch(/^nothing was imported/)
    expect(await here.git('status', '--porcelain')).toBe('?? .mlv/\n?? .mlvignore')
  })

  it('an update goes on behind a source that cannot be reached, and fails at its end', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({}, { init: true })
    const gone = await sourceRepo()
    await here.mlv('import', gone.dir, 'data', '-o', 'a')
    await here.mlv('import', source.dir, 'data', '-o', 'b')
    await change(source)
    rmSync(gone.dir, { recursive: true })
    const done = await here.mlv('update')
    expectFailure(done, 2, 'The source of a: There is no git repository')
    expect(done.stdout).toMatch(/^updated {2}b .*\nto commit: git add b\.mlv\n$/)
    expect(here.read('b/a')).toBe('two')
    rmSync(source.dir, { recursive: true })
    const none = await here.mlv('update')
    expect([none.exitCode, none.stdout]).toEqual([2, ''])
    expect(none.stderr).toMatch(/source of a: .*\n.*\n.*source of b: .*\n.*\nerror: 2 imports failed: a, b\n/)
  })

  it('takes a source that moved or lost its revision for an error, and one that a pointer makes up for an attack', async () => {
    const source = await sourceRepo()
    const here = await makeRepo({}, { init: true })
    await source.git('branch', 'exp')
    await here.mlv('import', source.dir, 'data', '--rev', 'exp')
    await source.git('branch', '-D', 'exp')
    expectFailure(await here.mlv('update'), 2, /The source of data: .* has no commit "exp"/)
    renameSync(source.dir, source.path('../moved'))
    expectFailure(await here.mlv('update'), 2, 'The source of data: There is no git repository')
    const pointer = here.read('data.mlv')
    for (const repo of ['ext::touch owned', '--upload-pack=touch', 'fd::3'])
      for (const text of [pointer.replace(/repo: .*/, `repo: "${repo}"`)]) {
        here.write('data.mlv', text)
        expectFailure(await here.mlv('update'), 2, 'The source of data:')
      }
    here.write('data.mlv', pointer.replace(/repo: .*/, 'repo: [1]'))
    expectFailure(await here.mlv('update'), 2, 'data.mlv: source.repo is not a text')
    here.write('data.mlv', pointer.replace(/ {2}repo: .*\n/, ''))
    expectFailure(await here.mlv('update'), 2, 'either a repo or a url')
    here.write('data.mlv', pointer.replace(/ {2}repo: .*\n/, '  url: /etc/passwd\n'))
    expectFailure(await here.mlv('update'), 2, 'folder or file of this machine')
    expect(here.exists('owned')).toBe(false)
    expect(listing(here.path('data'))).toEqual({ a: 'one', 'sub/b': 'bee' })
  })
})

describe('mlv import-url from a web server', () => {
  const files = new Map<string, { body: Buffer; etag?: string }>()
  /** breaks off each answer after so many bytes */
  let breakAfter: number | undefined
  let ranges = true
  let server: Server
  let base = ''

  beforeAll(async () => {
    server = createServer((request, response) => {
      const file = files.get(request.url ?? '')
      if (!file) {
        response.writeHead(404).end()
        return
      }
      const from = ranges ? Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0
      const body = file.body.subarray(from)
      response.writeHead(from > 0 ? 206 : 200, {
        'content-length': body.length,
        ...(from > 0 ? { 'content-range': `bytes ${from}-${file.body.length - 1}/${file.body.length}` } : {}),
        ...(file.etag ? { etag: file.etag } : {}),
      })
      if (request.method === 'HEAD') response.end()
      else if (breakAfter !== undefined && body.length > breakAfter)
        response.write(body.subarray(0, breakAfter), () => response.destroy())
      else response.end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  it('takes a file, pinned by its ETag, and updates it when that changes', async () => {
    const here = await makeRepo({}, { init: true })
    files.set('/sets/iris%20x.csv', { body: Buffer.from('a,b\n'), etag: '"1"' })
    expect((await here.mlv('import-url', `${base}/sets/iris%20x.csv?raw=1`)).exitCode).toBe(2)
    files.set('/sets/iris%20x.csv?raw=1', { body: Buffer.from('a,b\n'), etag: '"1"' })
    expect(await here.mlv('import-url', `${base}/sets/iris%20x.csv?raw=1`)).toMatchObject({ exitCode: 0, stderr: '' })
    expect(here.read('iris x.csv')).toBe('a,b\n')
    expect(here.read('iris x.csv.mlv')).toContain(`source:\n  url: ${base}/sets/iris%20x.csv?raw=1\n  etag: '"1"'\n`)
    expect((await here.mlv('update')).stdout).toBe('unchanged  iris x.csv\n')
    files.set('/sets/iris%20x.csv?raw=1', { body: Buffer.from('a,b\n1,2\n'), etag: '"2"' })
    expect((await here.mlv('update')).stdout).toContain('updated  iris x.csv  (8 B, was 4 B)')
    expect(here.read('iris x.csv')).toBe('a,b\n1,2\n')
  })

  it.each([true, false])(
    'goes on where an answer breaks off (ranges: %s), and tells when it is another file by then',
    async (withRanges) => {
      const here = await makeRepo({}, { init: true })
      const body = Buffer.alloc(3 << 20, 'abcdefg')
      files.set('/big', { body, etag: '"big"' })
      ranges = withRanges
      breakAfter = withRanges ? 1 << 20 : undefined
      expect(await here.mlv('import-url', `${base}/big`)).toMatchObject({ exitCode: 0, stderr: '' })
      expect(here.read('big')).toBe(body.toString())
      // Without an ETag nothing says that the rest belongs to the beginning.
      files.set('/nameless', { body })
      breakAfter = 1 << 20
      expectFailure(await here.mlv('import-url', `${base}/nameless`), 4, 'changed while it was read')
      breakAfter = undefined
      ranges = true
      expect(here.exists('nameless.mlv')).toBe(false)
    },
  )

  it('writes no password into a pointer, and says what is not there', async () => {
    const here = await makeRepo({}, { init: true })
    for (const url of ['http://ada:hunter2@127.0.0.1:9/x', 'https://h/x?X-Amz-Signature=hunter2', 'https://h/x?token=hunter2'])
      expectFailure(await here.mlv('import-url', url), 2, /^(?!.*hunter2).*credentials/)
    expectFailure(await here.mlv('import-url', `${base}/none`), 2, 'nothing at')
    expectFailure(await here.mlv('import-url', 'http://127.0.0.1:9/x'), 7, 'cannot be reached')
    expectFailure(await here.mlv('import-url', base), 2, 'no name')
    expectFailure(await here.mlv('import-url', here.path('x')), 2, 'of this machine')
    expectFailure(await here.mlv('import-url', 'gs://b/x'), 2, 'S3 interface')
    expectFailure(await here.mlv('import-url', `${base}/..`), 2, /\.\.|no name|outside/)
    expect(await here.git('status', '--porcelain')).toBe('?? .mlv/\n?? .mlvignore')
  })
})

describe('mlv import-url from a bucket', async () => {
  const server = await startS3({ keepsVersions: true })
  afterAll(() => server?.stop())
  const real = it.skipIf(!server)

  async function world(bucket: string) {
    const s3 = server as S3Server
    const name = await s3.bucket(bucket)
    const env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey, AWS_REGION: s3.region }
    const { createS3Blobs } = await import('../../src/transport/s3-blobs.ts')
    const blobs = await createS3Blobs({ bucket: name, prefix: '', endpoint: s3.endpoint, region: s3.region, env })
    const here = await makeRepo({}, { init: true, env })
    const put = (key: string, text: string) => blobs.put(key, Buffer.from(text))
    return { here, name, put, blobs, at: ['--endpoint', s3.endpoint] }
  }

  real('takes a prefix or one object, pinned, and updates what changed', async () => {
    const { here, name, put, at } = await world('source')
    await put('raw/a.csv', 'a')
    await put('raw/sub/b.csv', 'bee')
    await put('other', 'o')
    expect(await here.mlv('import-url', `s3://${name}/raw/`, ...at)).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(here.path('raw'))).toEqual({ 'a.csv': 'a', 'sub/b.csv': 'bee' })
    expect(here.read('raw.mlv')).toMatch(
      /source:\n {2}url: s3:\/\/.*\/raw\/\n {2}listing: [0-9a-f]{64}\n {2}files: [0-9a-f]{64}\n {2}endpoint: http/,
    )
    await here.mlv('import-url', `s3://${name}/raw/sub/b.csv`, ...at, '-o', 'one.csv')
    expect(here.read('one.csv')).toBe('bee')
    expect(here.read('one.csv.mlv')).toMatch(/etag: /)
    expect((await here.mlv('update')).stdout).toBe('unchanged  one.csv\nunchanged  raw\n')
    await put('raw/sub/b.csv', 'buzz')
    await put('raw/c', 'c')
    expect((await here.mlv('update')).stdout).toMatch(/updated {2}one\.csv .*\nupdated {2}raw .*\n/)
    expect(listing(here.path('raw'))).toEqual({ 'a.csv': 'a', c: 'c', 'sub/b.csv': 'buzz' })
  })

  real('an update reads only the keys that changed, also in a clone that got the rest from the remote', async () => {
    const s3 = server as S3Server
    const { here, name, put, blobs } = await world('incremental')
    const proxy = await startFaultyProxy(s3.endpoint)
    onTestFinished(() => proxy.stop())
    for (let i = 0; i < 20; i++) await put(`raw/f${i}`, `file ${i}`)
    await here.mlv('import-url', `s3://${name}/raw/`, '--endpoint', proxy.endpoint)
    await here.mlv('remote', 'add', 'store', here.path('../store'), '--local')
    await here.commit('Import')
    await here.mlv('push')
    const clone = await here.clone()
    await clone.mlv('remote', 'add', 'store', here.path('../store'), '--local')
    await clone.mlv('pull')
    expect((await here.mlv('gc', '--grace', '0s', '--yes')).exitCode).toBe(0)
    await put('raw/f3', 'another')
    await put('raw/new', 'new')
    await blobs.delete('raw/f4')
    for (const repo of [here, clone]) {
      proxy.requests.length = 0
      expect(await repo.mlv('update')).toMatchObject({ exitCode: 0, stderr: '' })
      const [first, ...rest] = proxy.requests.map((request) => request.replace(/\?.*/, '')).sort()
      expect(first).toMatch(/^GET \/[^/]+\/?$/)
      expect(rest).toEqual([expect.stringMatching(/raw\/f3$/), expect.stringMatching(/raw\/new$/)])
      expect([repo.read('raw/f3'), repo.read('raw/new'), repo.exists('raw/f4'), repo.read('raw/f5')]).toEqual([
        ...['another', 'new', false, 'file 5'],
      ])
    }
    expect(here.read('raw.mlv')).toBe(clone.read('raw.mlv'))
    // What was changed by hand and recorded is no reason to take it for the source's.
    here.write('raw/f5', 'mine')
    await here.mlv('add', 'raw')
    await put('raw/f6', 'moved on')
    expect(await here.mlv('update')).toMatchObject({ exitCode: 0, stderr: '' })
    expect([here.read('raw/f5'), here.read('raw/f6')]).toEqual(['file 5', 'moved on'])
  })

  real('--to-remote sends it straight there, and a pull gets it', async () => {
    const { here, name, put, blobs, at } = await world('to-remote')
    const large = Buffer.alloc(20 << 20)
    for (let i = 0; i < large.length; i += 4) large.writeUInt32LE((i * 2654435761) >>> 0, i)
    await blobs.put('set/large', large)
    await put('set/small', 's')
    expectFailure(await here.mlv('import-url', `s3://${name}/set/`, ...at, '--to-remote'), 3, 'No remote')
    await here.mlv('remote', 'add', 'store', here.path('../store'), '--local')
    expect(await here.mlv('import-url', `s3://${name}/set/`, ...at, '--to-remote')).toMatchObject({ exitCode: 0, stderr: '' })
    expect([here.exists('set'), here.exists('.git/mlv/store/objects')]).toEqual([false, false])
    expect((await here.mlv('ls', 'set')).stdout).toBe('large\nsmall\n')
    expect(await here.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(here.read('set/small')).toBe('s')
    expect((await here.mlv('status', '--exit-code')).exitCode).toBe(0)
  })

  real('--in-place copies nothing: the stores say where the bytes lie, and a clone gets them from there', async () => {
    const { here, name, put, blobs, at } = await world('in-place')
    await put('lake/a b.csv', 'a')
    await put('lake/sub/c', 'see')
    const large = Buffer.alloc(17 << 20, 'large')
    await blobs.put('lake/large', large)
    const remote = here.path('../store')
    const done = await here.mlv('import-url', `s3://${name}/lake/`, ...at, '--in-place')
    expect(done).toMatchObject({ exitCode: 0, stderr: '' })
    expect(here.read('lake.mlv')).toMatch(/\n {2}in_place: true\n$/)
    expect([here.exists('lake'), here.exists('.git/mlv/store/objects')]).toEqual([false, false])
    expect(JSON.parse(here.read('.git/mlv/store/mlv.json')).read_requires).toEqual(['foreign'])
    expect((await here.mlv('ls', '-R')).stdout).toBe('lake/a b.csv\nlake/large\nlake/sub/c\n')
    expect((await here.mlv('status')).stdout).toMatch(/^absent +lake/)
    expect((await here.mlv('cat', 'lake/sub/c')).stdout).toBe('see')
    expect((await here.mlv('update')).stdout).toBe('unchanged  lake\n')
    expectFailure(await here.mlv('checkout', 'lake'), 5, 'not in the cache')

    await here.mlv('remote', 'add', 'disk', remote, '--local')
    expect(await here.mlv('push')).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await here.mlv('push')).stdout).toBe('everything is on disk already\n')
    expect(listing(remote)['mlv.json']).toContain('"foreign"')
    // Packs hold the list of files and where they lie, and no data.
    expect(Object.values(listing(remote)).join('').length).toBeLessThan(20_000)
    await here.commit('In place')

    const clone = await here.clone()
    await clone.mlv('remote', 'add', 'disk', remote, '--local')
    expect((await clone.mlv('cat', 'HEAD:lake/sub/c')).stdout).toBe('see')
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect([clone.read('lake/a b.csv'), clone.read('lake/sub/c')]).toEqual(['a', 'see'])
    expect(clone.read('lake/large') === large.toString()).toBe(true)
    expect((await clone.mlv('status')).stdout).toBe('up to date\n')
    expect((await clone.mlv('fsck')).exitCode).toBe(0)
    // Here the cache itself knows where.
    await here.mlv('remote', 'remove', 'disk')
    expect(await here.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(here.read('lake/sub/c')).toBe('see')
  })

  real('in place, what has changed or gone since is told, never taken for what it was', async () => {
    const { here, name, put, blobs, at } = await world('in-place-changed')
    await put('lake/a', 'first')
    await put('lake/b', 'bee')
    await here.mlv('import-url', `s3://${name}/lake/`, ...at, '--in-place')
    await put('lake/a', 'other')
    expect(expectFailure(await here.mlv('pull'), 6, /lake\/a has changed since it was imported in place/)).toContain('mlv update')
    expect((await here.mlv('update')).stdout).toMatch(/^updated {2}lake/)
    expect(await here.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(here.path('lake'))).toEqual({ a: 'other', b: 'bee' })
    await put('more/x', 'x')
    await here.mlv('import-url', `s3://${name}/more/`, ...at, '--in-place')
    await blobs.delete('more/x')
    expectFailure(await here.mlv('pull', 'more'), 5, /more\/x is gone/)
    expectFailure(await here.mlv('import-url', `s3://${name}/lake/`, ...at, '--in-place', '--to-remote', '-o', 'y'), 2, 'exclude')
    expectFailure(await here.mlv('import-url', 'https://127.0.0.1:9/x', '--in-place'), 2, 'in place')
  })

  real(
    'in place, in a bucket that keeps versions, what was imported stays readable; a version that is gone is told',
    async () => {
      const { here, name, put, blobs, at } = await world('in-place-versions')
      const { DeleteObjectCommand, ListObjectVersionsCommand, PutBucketVersioningCommand, S3Client } = await import(
        '@aws-sdk/client-s3'
      )
      const { accessKeyId, secretAccessKey, endpoint, region } = server as S3Server
      const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
      await client.send(new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration: { Status: 'Enabled' } }))
      await put('lake/a', 'first')
      await put('lake/b', 'bee')
      await here.mlv('import-url', `s3://${name}/lake/`, ...at, '--in-place')
      await here.mlv('import-url', `s3://${name}/lake/a`, ...at, '--in-place', '-o', 'one')
      expect(here.read('one.mlv')).toMatch(/\n {2}version: \S+\n/)
      const { Versions } = await client.send(new ListObjectVersionsCommand({ Bucket: name, Prefix: 'lake/a' }))
      expect(Versions!.length).toBe(1)
      // Overwritten and deleted since, and yet what was imported.
      await put('lake/a', 'other')
      await blobs.delete('lake/b')
      expect(await here.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
      expect(listing(here.path('lake'))).toEqual({ a: 'first', b: 'bee' })
      expect(here.read('one')).toBe('first')
      expect((await here.mlv('update')).stdout).toMatch(/^updated {2}lake .*\nupdated {2}one /)
      expect(await here.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
      expect([listing(here.path('lake')), here.read('one')]).toEqual([{ a: 'other' }, 'other'])

      await put('gone/x', 'x')
      await here.mlv('import-url', `s3://${name}/gone/x`, ...at, '--in-place', '-o', 'x')
      const { Versions: ofX } = await client.send(new ListObjectVersionsCommand({ Bucket: name, Prefix: 'gone/x' }))
      await put('gone/x', 'newer')
      await client.send(new DeleteObjectCommand({ Bucket: name, Key: 'gone/x', VersionId: ofX![0]!.VersionId }))
      expect(expectFailure(await here.mlv('pull', 'x'), 5, /gone\/x \(version \S+\) is gone/)).toContain('mlv update')
      client.destroy()
    },
  )

  real('refuses keys that are no paths here, before anything is written', async () => {
    const { here, name, put, at } = await world('hostile')
    await put('up/x/.git/hooks', 'x')
    expectFailure(await here.mlv('import-url', `s3://${name}/up/`, ...at), 2, 'protected name ".git"')
    expectFailure(await here.mlv('import-url', `s3://${name}/none`, ...at), 2, 'nothing at')
    expectFailure(await here.mlv('import-url', 's3://', ...at), 2, 'no')
    expect(await here.git('status', '--porcelain')).toBe('?? .mlv/\n?? .mlvignore')
  })
})
