import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { BIN, makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'

const PIPELINE = `stages:
  prepare:
    cmd: cat in.txt > prep.txt
    deps: [in.txt]
    outs: [prep.txt]
  train:
    cmd: cat prep.txt > model.bin
    deps: [prep.txt]
    params: [lr]
    outs: [model.bin]
`

const stage = (cmd: string, more = '') => `stages:\n  a:\n    cmd: ${JSON.stringify(cmd)}\n${more}`

const start = (files: Record<string, string> = {}) => makeRepo(files, { init: true })

/** A server that notes the login of each request and is no MLflow. */
async function startListener(): Promise<{ url: string; logins: (string | undefined)[] }> {
  const logins: (string | undefined)[] = []
  const server = createServer((request, response) => {
    logins.push(request.headers.authorization)
    response.writeHead(401, { 'content-type': 'text/plain' }).end('no')
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  onTestFinished(() => {
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, logins }
}

describe('an MLflow server that the committed settings name', () => {
  const login = { MLFLOW_TRACKING_TOKEN: 'hidden', MLFLOW_TRACKING_USERNAME: 'me', MLFLOW_TRACKING_PASSWORD: 'hidden' }

  it('is sent no login until the user names it', async () => {
    const { url, logins } = await startListener()
    const repo = await makeRepo({ 'params.yaml': 'lr: 1\n' }, { init: true, commit: true })
    await repo.mlv('config', 'set', 'mlflow.tracking_uri', url)
    const asked = await repo.mlvWith({ env: login }, 'mlflow', 'export')
    expectFailure(asked, 7, 'refuses the login')
    expect(asked.stderr).toMatch(/^warning: .*login is not sent.*--local/)
    await repo.mlv('config', 'set', 'mlflow.tracking_uri', url.replace('//', '//me@'))
    expect(await repo.mlvWith({ env: login }, 'mlflow', 'export')).toMatchObject({ exitCode: 7 })
    expect(logins).toEqual([undefined, undefined])

    await repo.mlvWith({ env: login }, 'mlflow', 'export', '--tracking-uri', url)
    await repo.mlvWith({ env: { ...login, MLFLOW_TRACKING_URI: url } }, 'mlflow', 'export')
    await repo.mlv('config', 'set', 'mlflow.tracking_uri', url, '--local')
    const own = await repo.mlvWith({ env: login }, 'mlflow', 'export')
    expect(own.stderr).not.toContain('warning')
    expect(logins.slice(2)).toEqual(Array(3).fill(expect.stringMatching(/^Basic /)))
  })

  it('has a token that cannot be sent refused without showing it', async () => {
    const { url } = await startListener()
    const repo = await makeRepo({ 'params.yaml': 'lr: 1\n' }, { init: true, commit: true })
    const asked = await repo.mlvWith({ env: { MLFLOW_TRACKING_TOKEN: 'hidden\n2' } }, 'mlflow', 'export', '--tracking-uri', url)
    expect(expectFailure(asked, 2, 'MLFLOW_TRACKING_TOKEN')).not.toContain('hidden')
  })
})

describe('outs that a fresh clone does not hold', () => {
  async function cloneOf(repo: Repo, url: string): Promise<Repo> {
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', url, '--local')
    return clone
  }

  it('are neither made anew nor passed over unasked while a remote may have them', async () => {
    const repo = await start({ 'mlv.yaml': PIPELINE, 'params.yaml': 'lr: 1\n', 'in.txt': 'x\n' })
    await repo.mlv('repro')
    const url = repo.path('../remote')
    await repo.mlv('remote', 'add', 'origin', url, '--local')
    await repo.commit()
    const clone = await cloneOf(repo, url)
    const asked = await clone.mlv('repro')
    expect(expectFailure(asked, 5, 'prep.txt, model.bin')).toMatch(/mlv pull.*--force.*--pull.*--allow-missing/)
    expect(asked.stdout).toBe('absent      prepare  (prep.txt; run "mlv pull")\nabsent      train  (model.bin; run "mlv pull")\n')
    expect(await clone.mlv('repro', '--dry-run', '--exit-code')).toMatchObject({ exitCode: 1, stdout: asked.stdout })
    expect(clone.exists('prep.txt')).toBe(false)
    expect(await clone.git('status', '--short')).toBe('')
    expect(await clone.mlv('repro', '--allow-missing')).toMatchObject({ exitCode: 0 })

    clone.write('params.yaml', 'lr: 2\n')
    expectFailure(await clone.mlv('repro'), 5, /Stage "train" needs prep.txt/)
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
    const pulled = await clone.mlv('repro', '--pull')
    expect(pulled).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('restored    prepare') })
    expect(clone.read('model.bin')).toBe('x\n')
  })

  it('are made anew with --force, and where there is no remote', async () => {
    const repo = await start({ 'mlv.yaml': PIPELINE, 'params.yaml': 'lr: 1\n', 'in.txt': 'x\n' })
    await repo.mlv('repro')
    await repo.commit()
    const alone = await repo.clone()
    expect(await alone.mlv('repro')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('(out prep.txt missing)') })
    const clone = await cloneOf(repo, repo.path('../remote'))
    expect(await clone.mlv('repro', '--force')).toMatchObject({ exitCode: 0 })
    expect(clone.exists('model.bin')).toBe(true)
  })
})

describe('a folder .mlv', () => {
  it('that is a link is followed neither by init nor by settings', async () => {
    const outside = makeFolder()
    const repo = await makeRepo({})
    symlinkSync(outside.dir, repo.path('.mlv'))
    expectFailure(await repo.mlv('init'), 2, 'symbolic link')
    expect(readdirSync(outside.dir)).toEqual([])
    const home = await start()
    rmSync(home.path('.mlv'), { recursive: true })
    mkdirSync(`${outside.dir}/ssh`)
    symlinkSync(`${outside.dir}/ssh`, home.path('.mlv'))
    writeFileSync(`${outside.dir}/ssh/config`, '')
    for (const args of [['config', 'set', 'core.jobs', '3'], ['status'], ['repro']])
      expectFailure(await home.mlv(...args), 2, 'symbolic link')
    expect(readFileSync(`${outside.dir}/ssh/config`, 'utf8')).toBe('')
  })

  it.each([
    ['.mlv', 'a file'],
    ['.mlv/config/x', 'a folder for its config'],
    ['.mlvignore/x', 'a folder for .mlvignore'],
  ])('in whose way stands %s is told, and nothing is written', async (path) => {
    const repo = await makeRepo({ [path]: 'mine\n' })
    expectFailure(await repo.mlv('init'), 2, 'in the way')
    expect(repo.read(path)).toBe('mine\n')
    expect(repo.exists(path.startsWith('.mlvignore') ? '.mlv' : '.mlvignore')).toBe(false)
  })
})

describe('a stage', () => {
  it.each(['mlv.yaml', 'mlv.lock', '.gitignore', 'sub/.mlvignore', 'data.csv.mlv'])('may not write %s', async (out) => {
    const repo = await start({ 'mlv.yaml': stage('true', `    outs: [${out}]\n`) })
    const text = repo.read('mlv.yaml')
    expectFailure(await repo.mlv('repro'), 2, `mlv.yaml:4:12: stage "a": outs item 1 names "${out}"`)
    expect(repo.read('mlv.yaml')).toBe(text)
  })

  it.each([
    ['an out', '    outs: [link/o]\n'],
    ['wdir', '    outs: [o]\n    wdir: link\n'],
    ['an out in a new folder', '    outs: [link/new/o]\n'],
  ])('writes nothing through a link out of the project: %s', async (_what, keys) => {
    const outside = makeFolder().dir
    const repo = await start({ 'mlv.yaml': stage('true', keys) })
    symlinkSync(outside, repo.path('link'))
    expectFailure(await repo.mlv('repro'), 2, 'lies below link, which is a symbolic link')
    expectFailure(await repo.mlv('accept', 'a'), 2, '')
    expect(readdirSync(outside)).toEqual([])
  })

  it('that writes a folder for its metrics fails', async () => {
    const repo = await start({ 'mlv.yaml': stage('mkdir m.json; echo 1 > m.json/x', '    metrics: [m.json]\n') })
    expectFailure(await repo.mlv('repro'), 8, 'wrote a folder as m.json')
  })

  it('whose command is too long for the system fails by name', async () => {
    const repo = await start({ 'mlv.yaml': stage(`echo ${'x'.repeat(3 << 20)} > o`, '    outs: [o]\n') })
    expectFailure(await repo.mlv('repro'), 8, 'too long for this system')
  })

  it('that deletes what mlv keeps in .git is told so: a cache made anew would claim to hold what it lost', async () => {
    const repo = await start({ 'mlv.yaml': stage('rm -rf .git/mlv; echo 1 > o', '    outs: [o]\n') })
    expectFailure(await repo.mlv('repro'), 9, 'vanished while it was written to')
    expect(repo.read('.git/mlv/failed/a/o')).toBe('1\n')
    repo.write('mlv.yaml', stage('echo 1 > o', '    outs: [o]\n'))
    expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('ran         a') })
  })

  it('whose name has a line break is told on one line', async () => {
    const repo = await start({ 'mlv.yaml': 'stages:\n  "a\\nb": {cmd: "true"}\n' })
    expectFailure(await repo.mlv('repro'), 2, /may not be called "a\\nb"$/)
  })

  it('whose name is no text, or that is nested without end, is told without words of the parser', async () => {
    const repo = await start({ 'mlv.yaml': 'stages:\n  [a, b]: {cmd: "true"}\n' })
    const named = await repo.mlv('repro')
    expectFailure(named, 2, 'may not be called')
    expect(named.stderr).not.toContain('Warning')
    repo.write('mlv.yaml', `stages: ${'['.repeat(20_000)}${']'.repeat(20_000)}`)
    expectFailure(await repo.mlv('repro'), 2, 'nested too deeply')
  })
})

describe('params', () => {
  const reads = stage('true', '    params: [a]\n')

  it.each([
    ['lead out of the project', '/etc/passwd', /params.yaml leads out of the project/],
    ['lead nowhere', 'nowhere', /no params file params.yaml/],
    ['lead to themselves', 'params.yaml', /params.yaml/],
  ])('that %s by a link are not read', async (_what, target, message) => {
    const repo = await start({ 'mlv.yaml': reads })
    symlinkSync(target, repo.path('params.yaml'))
    expectFailure(await repo.mlv('repro'), 2, message)
    expect(repo.exists('mlv.lock')).toBe(false)
  })

  it('that are a folder, or hold merge markers, are told', async () => {
    const repo = await start({ 'mlv.yaml': reads, 'params.yaml/x': '' })
    expectFailure(await repo.mlv('repro'), 2, 'no params file params.yaml')
    rmSync(repo.path('params.yaml'), { recursive: true })
    repo.write('params.yaml', 'b: 1\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n')
    expect(expectFailure(await repo.mlv('repro'), 2, 'params.yaml:2:1: merge markers')).toContain('git add params.yaml')
  })
})

it('finds a key that stands twice among thousands, also as number and text', async () => {
  const stages = Array.from({ length: 5000 }, (_, index) => `  ${index}: {cmd: "true"}\n`).join('')
  const repo = await start({ 'mlv.yaml': `stages:\n${stages}  "17": {cmd: "false"}\n` })
  expectFailure(await repo.mlv('stage', 'list'), 2, 'mlv.yaml:5002:3: Map keys must be unique')
})

describe('mlv.lock', () => {
  const OID = '0'.repeat(64)
  const lock = (path: string) =>
    `{"mlv": 1, "stages": {"a": {"cmd": ["true"], "outs": [\n{"path": ${JSON.stringify(path)}, "kind": "file", "oid": "${OID}", "size": 1}\n], "run_key": "${OID}"}}}\n`

  it.each(['../x', '/tmp/x', '.git/hooks/pre-commit', '.mlv/config', 'a/../../x'])(
    'that names %s is refused at its line',
    async (path) => {
      const repo = await start({ 'mlv.yaml': stage('true'), 'mlv.lock': lock(path) })
      for (const verb of ['repro', 'status', 'checkout', 'accept'])
        expectFailure(await repo.mlv(verb), 2, /mlv\.lock:2:1: a outs 0/)
      expect(existsSync(repo.path('.git/hooks/pre-commit'))).toBe(false)
    },
  )

  it('that is a folder is told by repro and status', async () => {
    const repo = await start({ 'mlv.yaml': stage('true'), 'mlv.lock/x': '' })
    for (const verb of ['repro', 'status']) expectFailure(await repo.mlv(verb), 2, 'mlv.lock is a folder')
  })
})

it('passes over files and foreign folders in PATH', async () => {
  const repo = await start({ file: '' })
  const PATH = `${repo.path('file')}:${repo.path('file/bin')}:${'x'.repeat(5000)}:/${'x'.repeat(5000)}:${process.env.PATH}`
  expect(await repo.mlvWith({ env: { PATH } }, 'hooks', 'status')).toMatchObject({ exitCode: 0, stderr: '' })
})

/** Root may read everything, unless it gives that right up for the command. */
function bindByModes(repo: Repo, verb: string) {
  if (process.getuid?.() !== 0) return repo.mlv(verb)
  const rights = ['--bounding-set', '-dac_override,-dac_read_search']
  return run('setpriv', [...rights, process.execPath, BIN, verb], { cwd: repo.dir, env: repo.env })
}

const canBind = process.getuid?.() !== 0 || spawnSync('setpriv', ['--version']).status === 0

describe.runIf(canBind)('what may not be read', () => {
  it.each(['.mlv', '.git', 'mlv.yaml', 'params.yaml', '.mlv/config'])('is named: %s', async (path) => {
    const repo = await start({ 'mlv.yaml': stage('true', '    params: [a]\n'), 'params.yaml': 'a: 1\n' })
    const { mode } = statSync(repo.path(path))
    chmodSync(repo.path(path), 0)
    try {
      expectFailure(await bindByModes(repo, 'repro'), 9, 'No permission: reading')
    } finally {
      chmodSync(repo.path(path), mode)
    }
  })
})

it.runIf(existsSync('/dev/full')).each(['--version', '--help', 'completion bash'])('tells that the disk is full: %s', (words) => {
  const asked = spawnSync('/bin/sh', ['-c', `"${process.execPath}" "${BIN}" ${words} > /dev/full`], { encoding: 'utf8' })
  expectFailure({ exitCode: asked.status ?? -1, stdout: '', stderr: asked.stderr }, 9, 'cannot be written')
})

it('names what is wrong with the name of a remote instead of proposing the same', async () => {
  const repo = await start()
  repo.write('.mlv/config', 'remotes:\n  a b:\n    url: x\n')
  const asked = await repo.mlv('config', 'list')
  expect(asked.stderr).toBe('warning: .mlv/config:3:10: mlv knows no setting "remotes.a b.url"\n')
})
