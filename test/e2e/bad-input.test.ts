import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { BIN, makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'
import { mountSmallDisk } from '../helpers/small-disk.ts'

const start = (files: Record<string, string> = {}) => makeRepo(files, { init: true })

/** All that git and mlv keep, to see that a refused command changed nothing. */
function everything(repo: Repo): Record<string, string | null> {
  const found = listing(repo.dir)
  for (const path of Object.keys(found)) if (path.startsWith('.git/mlv/') || path === '.git/index') delete found[path]
  return found
}

/** Runs a command that must fail and change nothing. */
async function refused(repo: Repo, exitCode: number, message: RegExp | string, ...args: string[]): Promise<string> {
  const before = everything(repo)
  const said = expectFailure(await repo.mlv(...args), exitCode, message)
  expect(everything(repo)).toEqual(before)
  return said
}

describe('a place where mlv cannot work', () => {
  it('is told: no git, no project, a folder that is gone', async () => {
    const { dir } = makeFolder()
    const repo = await makeRepo({ a: '1' })
    for (const verb of ['status', 'checkout', 'push', 'pull', 'fetch', 'diff']) {
      const outside = await run(process.execPath, [BIN, verb], { cwd: dir, env: repo.env })
      expect(expectFailure(outside, 3, /not (in )?a git|git repository/i)).toMatch(/git init/)
      expect(expectFailure(await repo.mlv(verb), 3, /project/)).toContain('mlv init')
    }
    expectFailure(await repo.mlv('-C', 'nowhere', 'status'), 2, 'No such folder')
  })
})

describe('mlv add refuses', () => {
  it('paths that are none of its business', async () => {
    const repo = await start({ 'data/a': '1', 'plain.mlv': 'mlv: 1\n' })
    await repo.mlv('add', 'data')
    const outside = makeFolder().dir
    symlinkSync(outside, repo.path('away'))
    symlinkSync('data', repo.path('alias'))
    await refused(repo, 2, 'is outside the project', 'add', '../x')
    await refused(repo, 2, 'is outside the project', 'add', outside)
    await refused(repo, 2, 'protected name', 'add', '.git/config')
    await refused(repo, 2, 'protected name', 'add', '.mlv/config')
    await refused(repo, 2, 'protected name', 'add', '.GIT/config')
    await refused(repo, 2, 'project itself', 'add', '.')
    await refused(repo, 2, /away.*(symbolic link)/, 'add', 'away/x')
    await refused(repo, 2, 'symbolic link', 'add', 'alias')
    await refused(repo, 2, 'is a pointer itself', 'add', 'data.mlv')
    await refused(repo, 2, 'No such file or folder: nothing', 'add', 'nothing')
    await refused(repo, 2, 'Name what to add', 'add')
    await refused(repo, 2, 'project itself', 'add', '')
  })

  it('what overlaps with what is tracked', async () => {
    const repo = await start({ 'data/a': '1', 'data/sub/b': '2', c: '3' })
    await repo.mlv('add', 'data/sub')
    expect(await refused(repo, 4, 'data/sub, which is tracked already', 'add', 'data')).toContain('mlv remove data/sub')
    await refused(repo, 4, 'lies in data', 'add', 'data/a', 'data')
    writeFileSync(repo.path('mlv.yaml'), 'stages:\n  train:\n    cmd: "true"\n    outs: [model, c]\n')
    expect(await refused(repo, 4, 'written by the stage "train"', 'add', 'c')).toContain('mlv repro train')
  })

  it('FIFOs, without waiting for someone to write into them', async () => {
    const repo = await start({ 'data/a': '1', 'some/a': '1' })
    await repo.mlv('add', 'data')
    execFileSync('mkfifo', ['fifo', 'data/fifo', 'some/fifo', 'pipe.mlv'].map(repo.path))
    expectFailure(await repo.mlv('add', 'fifo'), 2, /fifo is (a FIFO|neither)/)
    expectFailure(await repo.mlv('add', 'data/fifo'), 2, /data\/fifo is (a FIFO|neither)/)
    expectFailure(await repo.mlv('add', 'data'), 2, 'data/fifo is a FIFO')
    expectFailure(await repo.mlv('add', 'some'), 2, 'some/fifo is a FIFO')
    expect(repo.exists('some.mlv')).toBe(false)
    expectFailure(await repo.mlv('status'), 2, 'data/fifo is a FIFO')
    repo.write('pipe', 'x')
    expectFailure(await repo.mlv('add', 'pipe'), 2, 'pipe.mlv')
    expectFailure(await repo.mlv('remove', 'pipe'), 2, 'pipe')
    expectFailure(await repo.mlv('checkout', 'pipe'), 2, 'pipe')
  })

  it('a socket', async () => {
    const repo = await start({ 'data/a': '1' })
    const server = createServer()
    await new Promise<void>((done) => server.listen(join(repo.dir, 'data', 'sock'), done))
    onTestFinished(() => void server.close())
    expectFailure(await repo.mlv('add', 'data'), 2, 'data/sock is a socket')
    expectFailure(await repo.mlv('add', 'data/sock'), 2, /neither|socket/)
    expect(repo.exists('data.mlv')).toBe(false)
  })

  it('a name too long for its pointer; inside a folder it may be that long', async () => {
    const long = 'n'.repeat(255)
    const repo = await start({ [long]: '1', [`data/${long}`]: '2' })
    expect(await refused(repo, 2, 'too long', 'add', long)).toContain('add the folder')
    await repo.mlv('add', 'data')
    expect(await repo.mlv('add', `data/${long}`)).toMatchObject({ exitCode: 0, stdout: 'nothing changed\n' })
    expectFailure(await repo.mlv('add', 'm'.repeat(300)), 2, 'more than 255 bytes')
  })

  it('a name that is not UTF-8', async () => {
    const repo = await start({ 'data/a': '1' })
    writeFileSync(Buffer.concat([Buffer.from(`${repo.path('data')}/x`), Buffer.from([0xff, 0xfe])]), 'x')
    expectFailure(await repo.mlv('add', 'data'), 2, 'not UTF-8')
  })

  it('a file that changes all the while', async () => {
    const repo = await start({ 'data/busy': 'x'.repeat(16 << 20) })
    const script = `const fs=require('fs');const fd=fs.openSync(process.argv[1],'r+');let i=0;const end=Date.now()+300000;
      process.stdout.write('go');while(Date.now()<end){fs.writeSync(fd,'y'+i++,(i*997)%16000000)}`
    const writer = spawn(process.execPath, ['-e', script, repo.path('data/busy')], { stdio: ['ignore', 'pipe', 'ignore'] })
    const ended = new Promise((done) => writer.once('exit', done))
    try {
      await new Promise((done) => writer.stdout.once('data', done))
      const said = expectFailure(await repo.mlv('add', 'data'), 4, 'data/busy changes while it is being read')
      expect(said).toContain('Wait')
      expect(repo.exists('data.mlv')).toBe(false)
    } finally {
      writer.kill('SIGKILL')
      await ended
    }
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0 })
  })

  it('a folder that may not be read, a disk that is full', async (context) => {
    const { dir } = makeFolder()
    const unmount = mountSmallDisk(dir, 3)
    if (!unmount) return context.skip('this user may not mount a small disk')
    onTestFinished(unmount)
    const repo = await start({ 'data/large': 'x'.repeat(6 << 20), 'many/a': 'a'.repeat(900_000) })
    await repo.mlv('config', 'set', 'cache.dir', dir, '--user')
    const said = expectFailure(await repo.mlv('add', 'data'), 9, 'disk is full')
    expect(said).toContain('cache.dir')
    expect(repo.exists('data.mlv')).toBe(false)
    expect(readdirSync(join(dir, 'tmp'))).toEqual([])
    // What fits still goes in.
    expect(await repo.mlv('add', 'many')).toMatchObject({ exitCode: 0, stderr: '' })
  })
})

describe('a pointer', () => {
  const good = `mlv: 1\nkind: file\noid: ${'a'.repeat(64)}\nsize: 1\n`
  it.each([
    ['', /a\.mlv/],
    ['<<<<<<< HEAD\nmlv: 1\n=======\nmlv: 1\n>>>>>>> x\n', /Merge markers in a\.mlv/],
    [good.replace('mlv: 1', 'mlv: 2'), /a\.mlv:1:\d+.*format 2/],
    [good.replace('aaaa', 'AAAA'), /a\.mlv:3:\d+.*oid/],
    [good.replace('size: 1', 'size: -1'), /a\.mlv:4:\d+.*size/],
    [good.replace('size: 1', 'size: 1e400'), /size/],
    [good.replace('kind: file', 'kind: link'), /a\.mlv:2:\d+.*kind/],
    [`${good}size: 2\n`, /a\.mlv:5:1.*unique/i],
    [`${good}x: &a [1]\ny: [*a, *a`, /a\.mlv:\d+/],
    [
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]\n`,
      /alias/i,
    ],
    ['\u0000\u0001binary', /a\.mlv/],
    ['- list\n', /not a pointer/],
    ['x'.repeat(2 << 20), /larger/],
  ])('that is broken is named by line and column: %.30j', async (text, message) => {
    const repo = await start({ 'a.mlv': text })
    for (const verb of [['status'], ['checkout'], ['add', 'a'], ['remove', 'a']]) {
      writeFileSync(repo.path('a'), 'data')
      const result = await repo.mlv(...verb)
      expectFailure(result, 2, message)
      if (verb[0] === 'status') expect(JSON.parse((await repo.mlv('status', '--json')).stderr).error.code).toMatch(/POINTER|YAML/)
    }
    expect(repo.read('a.mlv')).toBe(text)
  })

  it('may not claim the size or kind of what it is not', async () => {
    const repo = await start({ 'data/a': '1' })
    await repo.mlv('add', 'data')
    rmSync(repo.path('data'), { recursive: true })
    const text = repo.read('data.mlv')
    writeFileSync(repo.path('data.mlv'), text.replace('kind: tree', 'kind: file').replace(/files: .*\n/, ''))
    expectFailure(await repo.mlv('checkout'), 2, 'The pointer of data says 1 bytes')
    expect(repo.exists('data')).toBe(false)
    writeFileSync(repo.path('data.mlv'), text.replace(/size: \d+/, 'size: 7'))
    expectFailure(await repo.mlv('checkout'), 6, 'does not add up')
  })
})

describe('other broken files', () => {
  it('are named with line and column: config, mlv.yaml, mlv.lock', async () => {
    const repo = await start({ a: '1' })
    await repo.mlv('add', 'a')
    const config = repo.read('.mlv/config')
    writeFileSync(repo.path('.mlv/config'), 'core: [\n')
    expectFailure(await repo.mlv('status'), 2, /\.mlv\/config:\d+:\d+/)
    writeFileSync(repo.path('.mlv/config'), config)
    writeFileSync(repo.path('mlv.yaml'), 'stages:\n  a:\n    cmd: x\n  a:\n    cmd: y\n')
    expectFailure(await repo.mlv('status'), 2, /mlv\.yaml:4:3/)
    rmSync(repo.path('mlv.yaml'))
    writeFileSync(repo.path('mlv.lock'), '{"mlv": 1,\n "stages": {\n')
    for (const verb of ['status', 'checkout', 'push', 'pull', 'diff']) expectFailure(await repo.mlv(verb), 2, /mlv\.lock/)
  })

  it('an index, a pack or the description of the cache', async () => {
    const repo = await start({ 'data/a': '1', b: '2' })
    await repo.mlv('add', 'data', 'b')
    const store = repo.path('.git/mlv/store')
    rmSync(repo.path('data'), { recursive: true })
    const description = join(store, 'mlv.json')
    renameSync(description, `${description}.away`)
    writeFileSync(description, '{"format": 99}')
    expectFailure(await repo.mlv('checkout'), 6, /mlv\.json|store/)
    renameSync(`${description}.away`, description)
    for (const name of readdirSync(join(store, 'index'))) {
      rmSync(join(store, 'index', name), { force: true })
      writeFileSync(join(store, 'index', name), 'garbage')
    }
    const broken = await repo.mlv('checkout')
    expect([0, 5, 6]).toContain(broken.exitCode)
    if (broken.exitCode !== 0) expectFailure(broken, broken.exitCode, /./)
  })
})

describe('every command', () => {
  const VERBS = ['add', 'remove', 'move', 'status', 'diff', 'checkout', 'get', 'unprotect', 'push', 'pull', 'fetch']

  it('has help with an example, and refuses unknown options in one line', async () => {
    const repo = await start({ a: '1' })
    await Promise.all(
      VERBS.map(async (verb) => {
        const help = await repo.mlv(verb, '--help')
        expect(help.exitCode).toBe(0)
        expect(help.stdout).toMatch(new RegExp(`Example:\\n {2}\\$ mlv ${verb}\\b`))
        expectFailure(await repo.mlv(verb, '--nonsense'), 2, /nonsense/)
      }),
    )
  })

  it('answers --json on stdout alone, and errors as JSON on stderr', async () => {
    const repo = await start({ a: '1', 'data/x': '2' })
    const remote = makeFolder().dir
    await repo.mlv('add', 'a', 'data')
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    await repo.commit()
    const lines = [
      ['status', '--remote'],
      ['add', 'a'],
      ['add', '-u'],
      ['diff', 'HEAD'],
      ['checkout', '--dry-run'],
      ['checkout'],
      ['push', '--dry-run'],
      ['push'],
      ['fetch'],
      ['pull'],
      ['get', 'a', '-o', 'copy'],
      ['unprotect', 'data'],
      ['move', 'a', 'b'],
      ['remove', 'data'],
    ]
    for (const line of lines) {
      const result = await repo.mlv(...line, '--json')
      expect({ line, exitCode: result.exitCode, stderr: result.stderr }).toEqual({ line, exitCode: 0, stderr: '' })
      expect(() => JSON.parse(result.stdout), line.join(' ')).not.toThrow()
    }
    const failed = await repo.mlv('checkout', 'nothing', '--json')
    expect(failed.stdout).toBe('')
    expect(JSON.parse(failed.stderr).error).toMatchObject({ code: 'PATH_MISSING', hint: expect.any(String) })
  })

  it('is quiet with --quiet', async () => {
    const repo = await start({ a: '1' })
    for (const line of [['add', 'a'], ['checkout'], ['add', 'a'], ['get', 'a', '-o', 'b'], ['move', 'a', 'c'], ['remove', 'c']])
      expect({ line, ...(await repo.mlv(...line, '--quiet')) }).toEqual({ line, exitCode: 0, stdout: '', stderr: '' })
  })
})

describe('a second mlv at work', () => {
  it('is waited for, by name and time, and given up on', async () => {
    const repo = await start({ a: '1' })
    await repo.mlv('add', 'a')
    rmSync(repo.path('a'))
    const owner = { pid: 1, host: 'another-host', command: 'mlv push', since: '2026-01-02T03:04:05.000Z', nonce: 'x' }
    writeFileSync(repo.path('.git/mlv/lock'), JSON.stringify(owner))
    const result = await repo.mlv('checkout', '--lock-timeout', '0.3')
    expect(expectFailure(result, 9, /mlv push.*another-host.*2026-01-02T03:04:05/)).toMatch(/lock/)
    expect(repo.exists('a')).toBe(false)
    // Readers need no lock.
    expect((await repo.mlv('status')).exitCode).toBe(0)
    rmSync(repo.path('.git/mlv/lock'))
    expect((await repo.mlv('checkout')).exitCode).toBe(0)
  })
})

describe('what lies where a file of mlv belongs', () => {
  it.each(['mlv.yaml', 'mlv.lock', '.git/mlv/config', '.gitignore'])('%s as a FIFO is named, not waited for', async (path) => {
    const repo = await start({ a: '1' })
    await repo.mlv('add', 'a')
    if (path === 'mlv.lock') repo.write('mlv.yaml', 'stages:\n  s:\n    cmd: "true"\n')
    repo.write('b', '2')
    rmSync(repo.path(path), { force: true })
    execFileSync('mkfifo', [repo.path(path)])
    const results = [await repo.mlv('add', 'b'), await repo.mlv('repro')]
    expectFailure(results.find(({ exitCode }) => exitCode === 9)!, 9, `${path} is neither a file nor a folder`)
  })

  it.runIf(existsSync('/proc/self'))('a cache where the system takes no folder', async () => {
    const repo = await start({ a: '1' })
    await repo.mlv('config', 'set', 'cache.dir', '/proc/nowhere/cache', '--local')
    expect(await repo.mlv('doctor')).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('/proc/nowhere') })
    expectFailure(await repo.mlv('add', 'a'), 2, '/proc/nowhere')
  })
})
