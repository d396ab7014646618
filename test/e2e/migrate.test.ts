import { createHash } from 'node:crypto'
import { chmodSync, cpSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { addDvc, type DvcRepo, findDvc } from '../helpers/dvc.ts'
import { makeFolder, makeRepo, run } from '../helpers/repo.ts'
import { type S3Server, startS3 } from '../helpers/s3-server.ts'

const PIPELINE = `# ours
vars:
  - extra: {word: two words}
stages:
  prepare:
    cmd: mkdir -p prep/sub && cp data/one.txt prep/ && cp data/sub/crlf.txt prep/sub/ && cp code.sh prep/
    deps: [data, code.sh, src]
    outs: [prep]
  train:
    foreach: \${regions}
    do:
      cmd: >-
        echo "\${item} \${train.rate} \${train.tiny} \${extra.word} \\\${HOME}" > model-\${item}.bin &&
        echo '{"loss": 1.5}' > loss-\${item}.json && printf 'step,loss\\n1,2\\n' > loss-\${item}.csv
      deps: [prep]
      params: [train, {more.json: [a.b]}]
      outs: ["model-\${item}.bin"]
      metrics:
        - loss-\${item}.json: {cache: false}
      plots:
        - loss-\${item}.csv: {x: step, y: loss}
  pick:
    matrix: {of: [us, uk], n: [1]}
    cmd: cp model-\${item.of}.bin picked-\${key}.txt
    deps: ["model-\${item.of}.bin"]
    outs:
      - picked-\${key}.txt: {cache: false}
`

const FILES = {
  'data/one.txt': 'one\n',
  'data/two.txt': 'two\n',
  'data/sub/crlf.txt': 'a\r\nb\r\n',
  'data/sub/ü.txt': 'ü\n',
  'data/empty': '',
  'deep/single.bin': Buffer.alloc(200_000, 7),
  'code.sh': 'echo\n',
  'src/a.py': 'a\n',
  'src/lib/b.py': 'b\n',
  'params.yaml': 'train:\n  rate: 1.0\n  tiny: 1e-5\nregions: [us, uk]\n',
  'more.json': '{"a": {"b": [1, 2.5, null, "x"]}}\n',
  'dvc.yaml': PIPELINE,
  'side/dvc.yaml':
    'stages:\n  prepare:\n    wdir: work\n    cmd: cp ../../deep/single.bin copy.bin\n    deps: [../../deep/single.bin]\n    outs: [copy.bin]\n',
  'side/work/.keep': '',
}

const FOLDERS = ['data', 'prep']

/** Every file of some folders with its bytes and its mode. */
function contents(repo: DvcRepo): Record<string, string> {
  const found: Record<string, string> = {}
  for (const folder of FOLDERS)
    for (const name of readdirSync(repo.path(folder), { recursive: true, encoding: 'utf8' })) {
      const stats = lstatSync(repo.path(join(folder, name)))
      if (stats.isFile())
        found[join(folder, name)] = `${(stats.mode & 0o100) !== 0} ${readFileSync(repo.path(join(folder, name)), 'hex')}`
    }
  return found
}

describe.skipIf(!findDvc())('a repository of the real dvc', () => {
  /** Made once, by the slow original; each test has a copy. */
  let original: DvcRepo

  beforeAll(async () => {
    original = await addDvc(await makeRepo(FILES))
    chmodSync(original.path('data/one.txt'), 0o755)
    original.write('.dvcignore', '# ours\n*.tmp\n')
    original.write('src/scratch.tmp', 'x')
    original.write('.gitignore', '*.tmp\n')
    await original.dvc('add', '-q', 'data', 'deep/single.bin')
    await original.commit('Data')
    await original.dvc('repro', '-q', '-P')
    await original.dvc('remote', 'add', '-q', '-d', 'disk', original.path('../disk'))
    await original.commit('Run')
    await original.dvc('push', '-q')
    await original.dvc('exp', 'run', '-q', '-n', 'faster', '-S', 'train.rate=2.0')
    await original.git('checkout', '-q', '-f', 'main')
    await original.dvc('checkout', '-q')
  }, 300_000)
  afterAll(() => original?.cleanup())

  /** A copy of all that lies around the repository, which DVC's remote is a part of. */
  async function copy(): Promise<DvcRepo> {
    const { dir } = makeFolder()
    cpSync(original.path('..'), dir, { recursive: true, verbatimSymlinks: true })
    const from = await makeRepo({})
    const repo: DvcRepo = {
      ...original,
      dir: join(dir, 'repo'),
      path: (path) => join(dir, 'repo', path),
      exists: from.exists,
      read: (path) => readFileSync(join(dir, 'repo', path), 'utf8'),
      write: (path, content) => writeFileSync(join(dir, 'repo', path), content),
      mlv: (...args) => original.mlvWith({ cwd: join(dir, 'repo') }, ...args),
      mlvWith: (options, ...args) => original.mlvWith({ cwd: join(dir, 'repo'), ...options }, ...args),
    }
    const config = repo.read('.dvc/config').replace(/url = .*/, 'url = ../../disk')
    repo.write('.dvc/config', config)
    expect(await repo.mlv('init')).toMatchObject({ exitCode: 0 })
    return repo
  }

  it('is up to date afterwards: nothing runs, and all data comes from the cache', async () => {
    const repo = await copy()
    const before = contents(repo)
    const dry = await repo.mlv('migrate', 'dvc', '--dry-run')
    expect(dry).toMatchObject({ exitCode: 0, stderr: '' })
    expect(dry.stdout).toContain('mlv.yaml with 6 stages')
    expect(readdirSync(repo.dir)).not.toContain('mlv.yaml')

    const migrated = await repo.mlv('migrate', 'dvc', '--json')
    expect(migrated).toMatchObject({ exitCode: 0, stderr: '' })
    const result = JSON.parse(migrated.stdout)
    expect(result).toMatchObject({
      tracked: [
        { path: 'data', kind: 'tree', files: 5 },
        { path: 'deep/single.bin', kind: 'file', size: 200_000 },
      ],
      stages: 6,
      locked: 6,
    })
    expect(result.leftovers.map(({ what }: { what: string }) => what)).toEqual([
      'stage "prepare" is called "prepare-2"',
      expect.stringContaining('run cache'),
      expect.stringMatching(/^an experiment; .*"git branch exp\/faster [0-9a-f]{10}"/),
    ])
    expect(await repo.mlv('status')).toMatchObject({ exitCode: 0, stdout: 'up to date\n' })
    const repro = await repo.mlv('repro', '--dry-run', '--exit-code')
    expect(repro).toMatchObject({ exitCode: 0 })
    expect(repro.stdout.split('\n').filter((line) => line.startsWith('unchanged'))).toHaveLength(6)

    for (const path of [...FOLDERS, 'deep/single.bin', 'model-us.bin', '.dvc']) rmSync(repo.path(path), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect(contents(repo)).toEqual(before)
    expect(repo.read('model-us.bin')).toBe(`us 1.0 1e-05 two words ${original.env.HOME}\n`)
    expect(repo.read('.mlvignore')).toContain('*.tmp\n')
    expect(JSON.parse((await repo.mlv('metrics', 'show', '--json')).stdout).rows).toMatchObject([
      { file: 'loss-uk.json', value: 1.5 },
      { file: 'loss-us.json' },
    ])
  })

  it('--experiments makes a branch of each, once, and leaves other branches alone', async () => {
    const repo = await copy()
    const git = async (...args: string[]) => (await run('git', args, { cwd: repo.dir, env: repo.env })).stdout.trim()
    const dry = await repo.mlv('migrate', 'dvc', '--dry-run', '--experiments')
    expect(dry.stdout).toContain('branch exp/faster')
    expect(await git('branch', '--list', 'exp/*')).toBe('')
    const done = await repo.mlv('migrate', 'dvc', '--experiments')
    expect(done).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('branches of experiments: exp/faster\n') })
    expect(await git('show', 'exp/faster:params.yaml')).toContain('rate: 2.0')
    expect((await repo.mlv('migrate', 'dvc', '--experiments')).exitCode).toBe(0)
    await git('branch', '-f', 'exp/faster', 'main')
    const other = await repo.mlv('migrate', 'dvc', '--experiments', '--json')
    expect(JSON.parse(other.stdout)).toMatchObject({ branches: [] })
    expect(other.stdout).toContain('another branch exp/faster')
    expect(await git('rev-parse', 'exp/faster')).toBe(await git('rev-parse', 'main'))
  })

  it('changes nothing when it is done again', async () => {
    const repo = await copy()
    await repo.mlv('migrate', 'dvc')
    const texts = ['mlv.yaml', 'mlv.lock', 'data.mlv', '.mlvignore', '.gitignore'].map(repo.read)
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0 })
    expect(['mlv.yaml', 'mlv.lock', 'data.mlv', '.mlvignore', '.gitignore'].map(repo.read)).toEqual(texts)
    repo.write('mlv.yaml', 'stages: {own: {cmd: x}}\n')
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('--force') })
  })

  it('gives its data from the remote alone, and says what a damaged one lacks', async () => {
    const repo = await copy()
    for (const path of [...FOLDERS, 'deep/single.bin', '.dvc/cache']) rmSync(repo.path(path), { recursive: true, force: true })
    const md5 = createHash('md5').update('two\n').digest('hex')
    const object = repo.path(`../disk/files/md5/${md5.slice(0, 2)}/${md5.slice(2)}`)
    const bytes = readFileSync(object)
    rmSync(object)
    writeFileSync(object, 'owt\n')
    const damaged = await repo.mlv('migrate', 'dvc')
    expect(damaged).toMatchObject({
      exitCode: 5,
      stderr: expect.stringContaining(`data/two.txt (${md5}, damaged in remote "disk"); nothing was written`),
    })
    expect(readdirSync(repo.dir)).not.toContain('data.mlv')
    const partly = await repo.mlv('migrate', 'dvc', '--allow-missing')
    expect(partly.stdout).toContain('stays with DVC')
    // What is printed for removal holds nothing that alone names what stays.
    const removed = /^ {2}git rm (.*)$/m.exec(partly.stdout)![1]!.split(' ')
    expect(removed).toContain('deep/single.bin.dvc')
    expect(removed).not.toContain('data.dvc')
    expect(readdirSync(repo.dir)).not.toContain('data.mlv')
    expect(readdirSync(repo.path('deep'))).toContain('single.bin.mlv')

    writeFileSync(object, bytes)
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect(repo.read('data/two.txt')).toBe('two\n')
    expect(repo.read('data/sub/crlf.txt')).toBe('a\r\nb\r\n')
    expect(repo.read('prep/sub/crlf.txt')).toBe('a\r\nb\r\n')
  })

  it('keeps its empty folders, of which DVC knows nothing', async () => {
    const repo = await copy()
    const empty = ['data/void/deep', 'prep/void']
    for (const path of empty) mkdirSync(repo.path(path), { recursive: true })
    // This one is no empty folder: its files are deleted.
    rmSync(repo.path('data/sub'), { recursive: true })
    mkdirSync(repo.path('data/sub'))
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await repo.mlv('fsck')).toMatchObject({ exitCode: 0 })
    rmSync(repo.path('data'), { recursive: true })
    rmSync(repo.path('prep'), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect(await repo.mlv('status')).toMatchObject({ stdout: 'up to date\n' })
    for (const path of empty) expect(readdirSync(repo.path(path))).toEqual([])
    expect(readdirSync(repo.path('data/sub'))).toEqual(['crlf.txt', 'ü.txt'])
  })

  it('with data and code that have changed since keeps what DVC recorded', async () => {
    const repo = await copy()
    repo.write('data/two.txt', 'changed\n')
    repo.write('src/a.py', 'changed\n')
    const result = await repo.mlv('migrate', 'dvc')
    expect(result).toMatchObject({ exitCode: 0 })
    expect(result.stdout).toContain('stage "prepare" will run: src is no longer as it was')
    const status = await repo.mlv('status')
    expect(status.stdout).toMatch(/^modified +data /m)
    expect(status.stdout).toMatch(/^would run +prepare /m)
  })
})

describe.skipIf(!findDvc())('of the real dvc', () => {
  it('links into its cache become files', async () => {
    const repo = await addDvc(await makeRepo({ 'data/a': 'a\n', 'data/b': 'b\n', single: 's\n' }))
    await repo.dvc('config', 'cache.type', 'symlink')
    await repo.dvc('add', '-q', 'data', 'single')
    expect(lstatSync(repo.path('data/a')).isSymbolicLink()).toBe(true)
    await repo.mlv('init')
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(lstatSync(repo.path('data/a')).isFile()).toBe(true)
    expect(lstatSync(repo.path('single')).isFile()).toBe(true)
    rmSync(repo.path('.dvc'), { recursive: true })
    expect([repo.read('data/a'), repo.read('single')]).toEqual(['a\n', 's\n'])
    expect(await repo.mlv('status')).toMatchObject({ stdout: 'up to date\n' })
  })

  it('files that mlv would leave out of a folder stay in it', async () => {
    const repo = await addDvc(
      await makeRepo({ 'da ta/a': 'a\n', 'da ta/x/__pycache__/y/c': 'c\n', 'da ta/.DS_Store': 'd\n', '__pycache__/e': '' }),
    )
    await repo.dvc('add', '-q', 'da ta')
    await repo.mlv('init')
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('.mlvignore')).toContain('!/da\\ ta/**/__pycache__/\n')
    expect(await repo.mlv('status')).toMatchObject({ stdout: 'up to date\n' })
  })

  it('what it refuses, mlv refuses, with the line', async () => {
    const repo = await addDvc(await makeRepo({ 'dvc.yaml': 'stages:\n  a:\n    cmd: x\n    colour: red\n' }))
    await repo.mlv('init')
    expect((await repo.tryDvc('repro')).exitCode).not.toBe(0)
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringContaining('dvc.yaml:4:5: stage "a": DVC knows no key "colour"'),
    })
  })
})

describe.skipIf(!findDvc())('imports of the real dvc', () => {
  it('keep where they came from, pinned, so that update and trigger follow them', async () => {
    const files = new Map([['/x.csv', { body: 'a,b\n', etag: '"v1"' as string | undefined }]])
    const server = createServer((request, response) => {
      const file = files.get(request.url ?? '')
      const headers = { 'content-length': file?.body.length ?? 0, ...(file?.etag ? { etag: file.etag } : {}) }
      response.writeHead(file ? 200 : 404, headers).end(request.method === 'HEAD' ? undefined : file?.body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x.csv`
    const source = await addDvc(await makeRepo({ 'data/a': 'one', 'data/b': 'bee' }))
    await source.dvc('add', '-q', 'data')
    await source.commit('First')
    const commit = await source.git('rev-parse', 'HEAD')
    const here = await addDvc(await makeRepo({ 'sub/.keep': '' }))
    await here.dvc('import', '-q', source.dir, 'data', '--rev', 'main', '-o', 'raw')
    await here.dvc('import-url', '-q', url, 'x.csv')
    const relative = await here.tryDvc(
      'import',
      '-q',
      `../../${source.dir.split('/').slice(-2).join('/')}`,
      'data/a',
      '-o',
      'sub/one',
    )
    await here.commit('DVC')
    await here.mlv('init')
    const done = await here.mlv('migrate', 'dvc')
    expect(done).toMatchObject({ exitCode: 0, stderr: '' })
    expect(done.stdout).toContain('"mlv update" follows it once that repository is migrated, too')
    expect(here.read('raw.mlv')).toContain(`source:\n  repo: ${source.dir}\n  path: data\n  rev: main\n  commit: ${commit}\n`)
    expect(here.read('x.csv.mlv')).toContain(`source:\n  url: ${url}\n  etag: '"v1"'\n`)
    expect(relative).toMatchObject({ exitCode: 0 })
    expect(here.read('sub/one.mlv')).toMatch(/repo: \.\.\/\.\.\/(?!\.\.)/)
    expect((await here.mlv('status')).stdout).toBe('up to date\n')
    // The web server's ETag is what DVC wrote down; the repository is not mlv's yet.
    expect((await here.mlv('trigger', 'x.csv')).exitCode).toBe(0)
    expect(await here.mlv('trigger', 'raw')).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('no mlv project') })
    await source.mlv('init')
    expect((await source.mlv('migrate', 'dvc')).exitCode).toBe(0)
    await source.commit('Migrated')
    expect(await here.mlv('trigger')).toMatchObject({ exitCode: 0, stderr: '' })
    source.write('data/a', 'two')
    await source.mlv('add', 'data')
    await source.commit('Second')
    files.set('/x.csv', { body: 'c,d,e\n', etag: '"v2"' })
    expect((await here.mlv('trigger', 'x.csv', 'raw')).exitCode).toBe(1)
    expect((await here.mlv('update', 'x.csv', 'raw')).exitCode).toBe(0)
    expect([here.read('raw/a'), here.read('x.csv')]).toEqual(['two', 'c,d,e\n'])
  })
})

it('says where there is no DVC', async () => {
  const repo = await makeRepo({}, { init: true })
  expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('There is no .dvc') })
})

it('refuses what would be written through a link, or within other data', async () => {
  const outside = makeFolder()
  const out = (path: string) => `outs:\n- {md5: ${'a'.repeat(32)}, path: ${path}, hash: md5}\n`
  const repo = await makeRepo({ '.dvc/config': '', 'x.dvc': `wdir: link\n${out('x')}` }, { init: true })
  symlinkSync(outside.dir, repo.path('link'))
  expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('link') })
  expect(readdirSync(outside.dir)).toEqual([])
  repo.write('x.dvc', `${out('data')}- {md5: ${'b'.repeat(32)}, path: data/part, hash: md5}\n`)
  expect(await repo.mlv('migrate', 'dvc')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('"data/part" lies within "data" (x.dvc:2:3)'),
  })
})

it('takes over what DVC 2 wrote: other hashes, another cache', async () => {
  const md5 = (text: string) => createHash('md5').update(text).digest('hex')
  const list = JSON.stringify([{ md5: md5('a\nb\n'), relpath: 'x.txt' }])
  const repo = await makeRepo(
    {
      'data.dvc': `outs:\n- md5: ${md5(list)}.dir\n  size: 6\n  nfiles: 1\n  path: data\n`,
      [`.dvc/cache/${md5('a\nb\n').replace(/^../, '$&/')}`]: 'a\r\nb\r\n',
      [`.dvc/cache/${md5(list).replace(/^../, '$&/')}.dir`]: list,
      '.dvc/config': '',
    },
    { init: true },
  )
  expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
  expect(repo.read('data/x.txt')).toBe('a\r\nb\r\n')
})

it.each([
  ['leads out of the folder', [{ md5: 'a'.repeat(32), relpath: '../../evil' }], 'has the name ".."'],
  ['is no list', { a: 1 }, 'is no list of files'],
])('refuses a list that %s', async (_name, content, message) => {
  const list = JSON.stringify(content)
  const md5 = createHash('md5').update(list).digest('hex')
  const repo = await makeRepo(
    {
      'data.dvc': `outs:\n- {md5: ${md5}.dir, path: data, hash: md5}\n`,
      [`.dvc/cache/files/md5/${md5.replace(/^../, '$&/')}.dir`]: list,
    },
    { init: true },
  )
  expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) })
  expect(repo.exists('data.mlv')).toBe(false)
})

describe('a bucket', () => {
  let s3: S3Server | undefined
  beforeAll(async () => {
    s3 = findDvc() ? await startS3() : undefined
  })
  afterAll(() => s3?.stop())

  it('that the real dvc filled gives its data', async ({ skip }) => {
    if (!s3) return skip()
    const big = Buffer.alloc(3 << 20, 'a line of text\n')
    const repo = await addDvc(await makeRepo({ 'data/small': 's\n', 'data/big': big }))
    const bucket = await s3.bucket('dvc')
    await repo.dvc('remote', 'add', '-q', '-d', 'bucket', `s3://${bucket}/some/prefix`)
    await repo.dvc('remote', 'modify', 'bucket', 'endpointurl', s3.endpoint)
    await repo.dvc('remote', 'modify', '--local', 'bucket', 'access_key_id', s3.accessKeyId)
    await repo.dvc('remote', 'modify', '--local', 'bucket', 'secret_access_key', s3.secretAccessKey)
    await repo.dvc('remote', 'modify', 'bucket', 'region', s3.region)
    await repo.dvc('add', '-q', 'data')
    await repo.dvc('push', '-q')
    rmSync(repo.path('data'), { recursive: true })
    rmSync(repo.path('.dvc/cache'), { recursive: true })
    await repo.mlv('init')
    expect(await repo.mlv('migrate', 'dvc')).toMatchObject({ exitCode: 0, stderr: '' })
    mkdirSync(repo.path('data'))
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect(readFileSync(repo.path('data/big')).equals(big)).toBe(true)
  }, 300_000)
})
