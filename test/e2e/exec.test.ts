import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BIN, type CommandResult, makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'
import { type S3Server, startS3 } from '../helpers/s3-server.ts'
import { until } from '../helpers/until.ts'

const NODE = process.env.MLV_TEST_NODE || process.execPath

/** Counts its runs outside of the pipeline, reads code and params that git keeps and data that mlv tracks, and writes what git keeps, too. */
const PIPELINE = `stages:
  train:
    cmd: echo x >> "$RUNS" && sh train.sh
    deps: [train.sh, lib, data]
    params: [lr]
    env: [SEED]
    outs: [out/model]
    metrics: [m.json]
`
const FILES = {
  'mlv.yaml': PIPELINE,
  'train.sh':
    'mkdir -p out/model && cat data/*.txt lib/head params.yaml > out/model/w && echo "$SEED" > out/model/seed && echo \'{"acc":1}\' > m.json\n',
  'lib/head': 'head\n',
  'data/a.txt': 'a\n',
  'data/b.txt': 'b\n',
  'params.yaml': 'lr: 1\nother: 2\n',
}

interface World {
  repo: Repo
  remote: string
  task: string
  ran: () => number
}

/** A project whose task is written and whose inputs are on a remote that is a folder. */
async function makeWorld(files: Record<string, string> = {}, stage = 'train'): Promise<World> {
  const { dir } = makeFolder()
  const runs = join(dir, 'runs')
  writeFileSync(runs, '')
  const repo = await makeRepo({ ...FILES, ...files }, { init: true, env: { RUNS: runs, SEED: '7' } })
  const remote = join(dir, 'remote')
  await repo.mlv('remote', 'add', 'team', remote, '--local')
  if (existsSync(repo.path('data'))) expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0 })
  await repo.commit()
  const task = join(dir, 'a.task')
  expect(await repo.mlv('stage', 'task', stage, '--push', '-o', task)).toMatchObject({ exitCode: 0, stderr: '' })
  return { repo, remote, task, ran: () => readFileSync(runs, 'utf8').length / 2 }
}

interface Machine {
  dir: string
  temporary: string
  env: Record<string, string | undefined>
  exec(...args: string[]): Promise<CommandResult>
}

/** Another machine: no repository, no cache, no settings, and no git on its PATH. */
function makeMachine(env: Record<string, string | undefined>): Machine {
  const { dir } = makeFolder()
  const bin = join(dir, 'bin')
  for (const folder of ['bin', 'home', 'tmp', 'work']) mkdirSync(join(dir, folder))
  for (const name of ['sh', 'cat', 'mkdir', 'echo', 'rm', 'sleep', 'cp', 'true'])
    symlinkSync(['/bin', '/usr/bin'].map((folder) => join(folder, name)).find(existsSync)!, join(bin, name))
  const home = join(dir, 'home')
  const own = {
    RUNS: env.RUNS,
    PATH: bin,
    HOME: home,
    TMPDIR: join(dir, 'tmp'),
    AWS_EC2_METADATA_DISABLED: 'true',
    LC_ALL: 'C.UTF-8',
  }
  const cwd = join(dir, 'work')
  return {
    dir: cwd,
    temporary: join(dir, 'tmp'),
    env: own,
    exec: (...args) => run(NODE, [BIN, 'exec', ...args], { cwd, env: own }),
  }
}

function records(store: string): string[] {
  if (!existsSync(join(store, 'runs'))) return []
  return readdirSync(join(store, 'runs'), { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => item.name)
}

const report = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>

it('runs where there is only the store, and the result is taken where the task was made', async () => {
  const { repo, remote, task, ran } = await makeWorld()
  const machine = makeMachine(repo.env)
  const result = await machine.exec(task, '-o', 'report')
  expect(result).toMatchObject({ exitCode: 0, stderr: '' })
  expect(result.stdout).toMatch(/^running {5}train\nran {9}train {2}\d.*\(m\.json, out\/model\)\n$/)
  expect(report(join(machine.dir, 'report'))).toMatchObject({
    ...{ mlv_result: 1, stage: 'train', status: 'ran' },
    outs: [
      { path: 'm.json', kind: 'file', size: 10 },
      { path: 'out/model', kind: 'tree', files: 2 },
    ],
  })
  expect([ran(), records(remote).length]).toEqual([1, 1])
  // Nothing stays there but the report.
  expect([readdirSync(machine.temporary), readdirSync(machine.dir)]).toEqual([[], ['report']])
  const repro = await repo.mlv('repro')
  expect(repro).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('restored    train  from the run cache') })
  expect(repo.read('out/model/w')).toBe('a\nb\nhead\nlr: 1\nother: 2\n')
  // As it was set where the task was made.
  expect(repo.read('out/model/seed')).toBe('7\n')
  expect([repo.read('m.json'), ran()]).toEqual(['{"acc":1}\n', 1])
  expect((await repo.mlv('repro')).stdout).toBe('unchanged   train\n')
})

it('is not run a second time, unless it is forced', async () => {
  const { repo, remote, task, ran } = await makeWorld()
  const machine = makeMachine(repo.env)
  await machine.exec(task)
  expect((await machine.exec(task)).stdout).toBe('known       train  has been run before (m.json, out/model)\n')
  expect(JSON.parse((await makeMachine(repo.env).exec(task, '--json')).stdout)).toMatchObject({
    ...{ mlv_result: 1, status: 'restored' },
    outs: [
      { path: 'm.json', kind: 'file', size: 10 },
      { path: 'out/model', kind: 'tree' },
    ],
  })
  expect(ran()).toBe(1)
  expect(await machine.exec(task, '--force')).toMatchObject({ exitCode: 0 })
  expect([ran(), records(remote).length]).toEqual([2, 1])
})

it('may run twice at once, which leaves one record', async () => {
  const { repo, remote, task } = await makeWorld()
  const results = await Promise.all([makeMachine(repo.env).exec(task), makeMachine(repo.env).exec(task)])
  expect(results.map(({ exitCode, stderr }) => ({ exitCode, stderr }))).toEqual([
    { exitCode: 0, stderr: '' },
    { exitCode: 0, stderr: '' },
  ])
  expect(records(remote).length).toBe(1)
})

it('comes from stdin, and from the store by its oid', async () => {
  const { repo, remote, task } = await makeWorld()
  const machine = makeMachine(repo.env)
  const given = { cwd: machine.dir, env: machine.env, input: readFileSync(task) }
  expect(await run(NODE, [BIN, 'exec', '-'], given)).toMatchObject({ exitCode: 0, stderr: '' })
  const { sent } = { sent: JSON.parse((await repo.mlv('stage', 'task', 'train', '--push', '--json')).stdout) as { oid: string } }
  expect((await machine.exec(sent.oid, '--remote', remote)).stdout).toContain('known       train')
  expect((await machine.exec(sent.oid)).stderr).toContain('Which store has the task')
  expect((await machine.exec('0'.repeat(64), '--remote', remote)).exitCode).toBe(5)
})

it('needs no remote where a cache is shared', async () => {
  const { repo, ran } = await makeWorld()
  const text = (await repo.mlv('stage', 'task', 'train')).stdout
  const { dir } = makeFolder()
  const task = join(dir, 'local.task')
  writeFileSync(task, text)
  const machine = makeMachine(repo.env)
  expect(await machine.exec(task)).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('is not said') })
  expect(await machine.exec(task, '--cache', repo.path('.git/mlv/store'))).toMatchObject({ exitCode: 0, stderr: '' })
  expect((await repo.mlv('repro')).stdout).toContain('restored    train  from the run cache')
  expect(ran()).toBe(1)
})

it('keeps a cache that is named, and takes inputs from it', async () => {
  const { repo, task, remote } = await makeWorld()
  const machine = makeMachine(repo.env)
  expect(await machine.exec(task, '--cache', 'store')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(records(join(machine.dir, 'store')).length).toBe(1)
  // What a push could not bring is sent, not run, the next time.
  rmSync(join(remote, 'runs'), { recursive: true })
  expect((await machine.exec(task, '--cache', 'store')).stdout).toContain('known       train')
  expect(records(remote).length).toBe(1)
})

describe('mlv stage result', () => {
  it('tells how a task ended, and where its result is', async () => {
    const { repo, remote, task } = await makeWorld({ 'train.sh': `${FILES['train.sh']}echo done\n` })
    const machine = makeMachine(repo.env)
    const before = new Date().toISOString()
    await machine.exec(task, '-o', 'report')
    const file = join(machine.dir, 'report')
    const { key, started, ended, log } = report(file) as Record<string, string>
    expect([before <= started!, started! < ended!, ended! <= new Date().toISOString(), log]).toEqual([true, true, true, 'done\n'])
    const told = await repo.mlv('stage', 'result', file)
    expect(told).toMatchObject({ exitCode: 0, stderr: '' })
    expect(told.stdout).toBe(
      `ran         train  ${/[\d.]+s/.exec(told.stdout)}  (m.json, out/model)\nkey ${key}\nfrom ${started} to ${ended}\nits result is on team\n`,
    )
    // Nothing was fetched.
    expect(records(repo.path('.git/mlv/store'))).toEqual([])
    const json = await repo.mlvWith({ input: readFileSync(file) }, 'stage', 'result', '-', '--json')
    expect(JSON.parse(json.stdout)).toEqual({ ...report(file), found: { remote: 'team' } })
    expect((await repo.mlv('stage', 'result', file, '--fetch')).stdout).toContain('its result is in the cache\n')
    rmSync(remote, { recursive: true })
    expect((await repo.mlv('repro')).stdout).toContain('restored    train  from the run cache')
  })

  it('brings what another remote got to where the run cache looks', async () => {
    const { repo, remote } = await makeWorld()
    const { dir } = makeFolder()
    await repo.mlv('remote', 'add', 'cluster', join(dir, 'store'), '--local')
    await repo.mlv('remote', 'default', 'team', '--local')
    const task = join(dir, 'task')
    expect(await repo.mlv('stage', 'task', 'train', '-r', 'cluster', '-o', task)).toMatchObject({ exitCode: 0, stderr: '' })
    const machine = makeMachine(repo.env)
    expect(await machine.exec(task, '-o', 'report')).toMatchObject({ exitCode: 0, stderr: '' })
    const file = join(machine.dir, 'report')
    expect(await repo.mlv('stage', 'result', file)).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('on team') })
    expect((await repo.mlv('stage', 'result', file, '-r', 'cluster')).stdout).toContain('its result is on cluster\n')
    expect(await repo.mlv('stage', 'result', file, '-r', 'cluster', '--fetch')).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await repo.mlv('repro')).stdout).toContain('restored    train  from the run cache')
    expect(records(remote)).toEqual([])
  })

  it('ends as the task did, with what it printed last, which drives no terminal', async () => {
    const { repo, task } = await makeWorld({ 'train.sh': "printf '\\033[2Jboom\\n' >&2; exit 3\n" })
    const machine = makeMachine(repo.env)
    const ran = await machine.exec(task, '-o', 'report', '--json')
    expect(ran.exitCode).toBe(8)
    const file = join(machine.dir, 'report')
    expect(JSON.parse(ran.stdout)).toEqual(report(file))
    expect(report(file)).toMatchObject({ status: 'failed', exit: 3, log: '\u001b[2Jboom\n' })
    const told = await repo.mlv('stage', 'result', file)
    expect(told).toMatchObject({
      exitCode: 8,
      stderr: expect.stringMatching(/^error: Stage "train" failed: exit status 3 .*\n {2}/),
    })
    expect(told.stdout).toMatch(/^failed {6}train {2}exit status 3\n(.*\n){2}the last that it printed:\n\\x1b\[2Jboom\n$/)
    const json = await repo.mlv('stage', 'result', file, '--json')
    expect([json.exitCode, JSON.parse(json.stdout)]).toEqual([8, report(file)])
  })

  it('does not believe a report whose result nobody has, and refuses what is none', async () => {
    const { repo, task, remote } = await makeWorld()
    const machine = makeMachine(repo.env)
    await machine.exec(task, '-o', 'report')
    const file = join(machine.dir, 'report')
    const text = readFileSync(file, 'utf8')
    const tell = async (content: string) => {
      writeFileSync(file, content)
      return repo.mlv('stage', 'result', file)
    }
    const lie = text.replace(/"oid": "[0-9a-f]{64}"/, `"oid": "${'1'.repeat(64)}"`)
    expect(await tell(lie)).toMatchObject({ exitCode: 5, stdout: '', stderr: expect.stringContaining('not whole on team') })
    for (const content of ['', '[]', '{"mlv_result": 2}', text.replace('"outs"', '"what"'), text.replace('"ran"', '"failed"')])
      expect(await tell(content)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringMatching(/^error: .*is no report of a task: .*\n {2}\S/),
      })
    rmSync(join(remote, 'packs'), { recursive: true })
    rmSync(join(remote, 'index'), { recursive: true })
    expect(await tell(text)).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('not whole on team') })
    expect(await repo.mlv('stage', 'result', 'nothing')).toMatchObject({ exitCode: 2 })
    expect(await repo.mlv('stage', 'result', '.')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('is a folder') })
  })
})

describe('a task fails', () => {
  const stage = (cmd: string, more = '') =>
    `stages:\n  train:\n    cmd: |\n      ${cmd}\n    deps: [data]\n    outs: [model]\n${more}`

  it.each([
    ['with its command', 'echo half > model; exit 3', { exit: 3 }, 'Stage "train" failed: exit status 3 (mlv.yaml:3:10: '],
    ['when a signal ends it', 'kill -9 $$', { signal: 'SIGKILL' }, 'Stage "train" failed: ended by SIGKILL'],
    ['when an out is missing', 'true', {}, 'Stage "train" did not write model (mlv.yaml:6:'],
    ['when it deletes what it reads', 'echo 1 > model; rm data/a.txt', {}, 'Stage "train" changed what it reads: data'],
    ['when it changes what it reads', 'echo 1 > model; echo 2 >> data/a.txt', {}, 'Stage "train" changed what it reads: data'],
  ])('%s', async (_what, cmd, end, message) => {
    const { repo, remote, task } = await makeWorld({ 'mlv.yaml': stage(cmd) })
    const machine = makeMachine(repo.env)
    const result = await machine.exec(task, '-o', 'report')
    expect(result.exitCode).toBe(8)
    expect(result.stderr).toContain(`error: ${message}`)
    expect(result.stderr.trimEnd().split('\n').length).toBe(2)
    expect(result.stderr).not.toContain(machine.temporary)
    expect(report(join(machine.dir, 'report'))).toMatchObject({ status: 'failed', error: { code: 'STAGE_FAILED' }, ...end })
    expect([records(remote), readdirSync(machine.temporary)]).toEqual([[], []])
  })

  it('after its retries, in a folder without what it had written', async () => {
    const { repo, task, ran } = await makeWorld({
      'mlv.yaml': stage('echo x >> "$RUNS"; test ! -e model || exit 9; echo 1 > model; exit 3', '    retry: 2\n'),
    })
    const result = await makeMachine(repo.env).exec(task)
    expect(result.stderr).toContain('exit status 3')
    expect(ran()).toBe(3)
  })

  it('when the store lacks an input, which it names', async () => {
    const { repo, remote, task, ran } = await makeWorld()
    rmSync(join(remote, 'packs'), { recursive: true })
    rmSync(join(remote, 'index'), { recursive: true })
    const result = await makeMachine(repo.env).exec(task)
    expect(result).toMatchObject({ exitCode: 5, stderr: expect.stringMatching(/^error: \S+ is not whole in /) })
    expect(ran()).toBe(0)
  })

  it('when an input is damaged in the store, or was purged', async () => {
    const { repo, remote, task, ran } = await makeWorld()
    const { dir } = makeFolder()
    const tree = JSON.parse(readFileSync(task, 'utf8')).inputs.find(({ path }: { path: string }) => path === 'data').oid as string
    // Another machine, since this one keeps what it has found.
    await run('cp', ['-a', remote, join(dir, 'copy')], { cwd: dir, env: repo.env })
    for (const item of readdirSync(join(remote, 'packs'), { recursive: true, withFileTypes: true })) {
      if (!item.isFile()) continue
      const path = join(item.parentPath, item.name)
      const bytes = readFileSync(path)
      const at = bytes.indexOf('mlv-tree')
      if (at >= 0) bytes[at] = 0
      rmSync(path)
      writeFileSync(path, bytes)
    }
    expect(await makeMachine(repo.env).exec(task)).toMatchObject({
      exitCode: expect.any(Number),
      stderr: expect.stringMatching(/^error: (data|lib) is (not whole|damaged) in /),
    })
    const file = join(dir, 'copy', 'mlv.json')
    const description = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...description, records: ['purged'] }))
    mkdirSync(join(dir, 'copy', 'purged'))
    writeFileSync(join(dir, 'copy', 'purged', tree), '{}\n')
    expect(await makeMachine(repo.env).exec(task, '--remote', join(dir, 'copy'))).toMatchObject({
      exitCode: 5,
      stderr: expect.stringContaining('data holds data that was purged'),
    })
    expect(ran()).toBe(0)
  })

  it('when it was altered, or is none', async () => {
    const { repo, task } = await makeWorld()
    const machine = makeMachine(repo.env)
    writeFileSync(task, readFileSync(task, 'utf8').replace('sh train.sh', 'sh other.sh'))
    expect(await machine.exec(task)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('not the key of what it says'),
    })
    writeFileSync(task, '')
    expect(await machine.exec(task)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('it is no JSON') })
    for (const [typed, message] of [
      ['nowhere', 'No such file'],
      ['.', 'is a folder'],
    ] as const)
      expect(await machine.exec(typed)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) })
    expect((await machine.exec(task, '--remote', 'team')).exitCode).toBe(2)
  })

  it('when there is no store, or no place for its report, before anything runs', async () => {
    const { repo, task, ran } = await makeWorld()
    const machine = makeMachine(repo.env)
    const result = await machine.exec(task, '--remote', './nowhere')
    expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('There is no store at') })
    expect(existsSync(join(machine.dir, 'nowhere'))).toBe(false)
    for (const out of ['.', 'no/folder/report', '/dev/null'])
      expect(await machine.exec(task, '-o', out)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('No report can be written'),
      })
    expect([ran(), readdirSync(machine.dir)]).toEqual([0, []])
    // The task itself, most likely.
    const text = readFileSync(task, 'utf8')
    expect(await machine.exec(task, '-o', task)).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('is no report') })
    expect([ran(), readFileSync(task, 'utf8')]).toEqual([0, text])
  })

  it('without leaving the report of an earlier run, also when it is none', async () => {
    const { repo, task } = await makeWorld()
    const machine = makeMachine(repo.env)
    expect(await machine.exec(task, '-o', 'report')).toMatchObject({ exitCode: 0 })
    writeFileSync(join(machine.dir, 'broken.task'), '{}')
    expect(await machine.exec('broken.task', '-o', 'report')).toMatchObject({ exitCode: 2 })
    expect(readdirSync(machine.dir)).toEqual(['broken.task'])
  })

  it('when the disk of its folder is full, and the command with it', async ({ skip }) => {
    const { repo, task, remote } = await makeWorld({
      'mlv.yaml': stage('head -c 40000000 /dev/zero > model; echo full; sleep 600'),
    })
    const machine = makeMachine(repo.env)
    const env = { ...machine.env, PATH: process.env.PATH }
    if (
      (await run('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', machine.temporary], { cwd: machine.dir, env })).exitCode !== 0
    )
      return skip('this user may not mount a small disk')
    try {
      expect(await run(NODE, [BIN, 'exec', task, '-q'], { cwd: machine.dir, env })).toMatchObject({
        exitCode: 9,
        stderr: expect.stringContaining('error: The disk is full: writing'),
      })
      expect([readdirSync(machine.temporary), records(remote)]).toEqual([[], []])
    } finally {
      await run('umount', [machine.temporary], { cwd: machine.dir, env })
    }
  })
})

describe('a task that is stopped', () => {
  const SLOW = `stages:
  train:
    cmd: test -e "$RUNS.go" || { echo $$ > "$RUNS.pid"; sleep 600; }; echo 1 > model
    deps: [data]
    outs: [model]
`
  const isAlive = (pid: number) => {
    try {
      process.kill(pid, 0)
      return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
    } catch {
      return false
    }
  }

  async function start() {
    const world = await makeWorld({ 'mlv.yaml': SLOW })
    const machine = makeMachine(world.repo.env)
    const runs = world.repo.env.RUNS!
    const child = spawn(NODE, [BIN, 'exec', world.task, '-o', 'report'], { cwd: machine.dir, env: machine.env, stdio: 'ignore' })
    const ended = new Promise<number | null>((done) => child.once('exit', done))
    await until(() => existsSync(`${runs}.pid`) && readFileSync(`${runs}.pid`, 'utf8').endsWith('\n'), 'the command runs')
    return { ...world, machine, child, ended, runs, pid: Number(readFileSync(`${runs}.pid`, 'utf8')) }
  }

  it('by Ctrl-C ends its command and leaves nothing', async () => {
    const { machine, child, ended, pid, remote } = await start()
    child.kill('SIGINT')
    expect(await ended).toBe(130)
    await until(() => !isAlive(pid), 'the command has ended')
    expect([readdirSync(machine.temporary), records(remote)]).toEqual([[], []])
    expect(report(join(machine.dir, 'report'))).toMatchObject({ status: 'failed', error: { code: 'INTERRUPTED' } })
  })

  it('by kill -9 can be run again, which clears up once its command has ended', async () => {
    const { machine, child, ended, pid, runs, task } = await start()
    child.kill('SIGKILL')
    await ended
    writeFileSync(`${runs}.go`, '')
    expect(await machine.exec(task)).toMatchObject({ exitCode: 0, stderr: '' })
    // The command of the first still runs in its folder.
    if (isAlive(pid)) expect(readdirSync(machine.temporary).length).toBe(1)
    process.kill(-pid, 'SIGKILL')
    await until(() => !isAlive(pid), 'the command has ended')
    expect(await machine.exec(task)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('known') })
    expect(await machine.exec(task, '--force')).toMatchObject({ exitCode: 0 })
    expect(readdirSync(machine.temporary)).toEqual([])
  })
})

describe('no task is made', () => {
  const train = (more: string) => `stages:\n  train:\n    cmd: cp data/a.txt model\n    deps: [data]\n${more}`
  it.each([
    ['of a stage that always runs', train('    outs: [model]\n    always: true\n'), 'always runs'],
    ['of a stage that keeps its out', train('    outs: [{model: {persist: true}}]\n'), 'keeps model from run to run'],
    ['of a stage without outs', train(''), 'has no outs'],
    ['of a map stage', train('    each: {input: data}\n    outs: [model]\n'), 'is a map stage'],
  ])('%s', async (_what, pipeline, message) => {
    const repo = await makeRepo({ ...FILES, 'mlv.yaml': pipeline }, { init: true })
    expect(await repo.mlv('stage', 'task', 'train')).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringContaining(message),
    })
  })

  it('while a stage before it would run, without a remote to push to, or of no stage', async () => {
    const pipeline = `${train('    outs: [model]\n')}  test:\n    cmd: cp model score\n    deps: [model]\n    outs: [score]\n`
    const repo = await makeRepo({ ...FILES, 'mlv.yaml': pipeline }, { init: true })
    const refused = await repo.mlv('stage', 'task', 'test')
    expect(refused).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('Stage "test" waits for "train"') })
    expect((await repo.mlv('stage', 'task', 'train', '--push')).stderr).toContain('No remote is configured')
    expect((await repo.mlv('stage', 'task', 'nothing')).exitCode).toBe(2)
    expect(await repo.mlv('stage', 'task', 'train', '-o', 'mlv.yaml')).toMatchObject({
      ...{ exitCode: 4, stderr: expect.stringContaining('mlv.yaml is there already, and is no task') },
    })
    for (const out of ['/dev/null', 'lib', 'no/folder/task'])
      expect(await repo.mlv('stage', 'task', 'train', '-o', out)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('No task can'),
      })
    for (let i = 0; i < 2; i++) expect((await repo.mlv('stage', 'task', 'train', '-o', 'a.task')).exitCode).toBe(0)
    await repo.mlv('repro', 'train')
    expect(await repo.mlv('stage', 'task', 'test')).toMatchObject({ exitCode: 0, stderr: '' })
  })
})

it('hides from mlv elsewhere what .mlvignore hides here', async () => {
  const { repo, task } = await makeWorld({
    '.mlvignore': '*.tmp\n',
    'mlv.yaml':
      'stages:\n  train:\n    cmd: mkdir model && echo 1 > model/w && echo 2 > model/x.tmp\n    deps: [data]\n    outs: [model]\n',
  })
  expect(await makeMachine(repo.env).exec(task)).toMatchObject({ exitCode: 0, stderr: '' })
  await repo.mlv('repro')
  expect(readdirSync(repo.path('model'))).toEqual(['w'])
  expect((await repo.mlv('repro')).stdout).toBe('unchanged   train\n')
})

it('takes a notebook as it is, though its sources alone count', async () => {
  const cells = (outputs: unknown[]) =>
    JSON.stringify({ cells: [{ cell_type: 'code', source: ['1 + 1'], outputs }], nbformat: 4 })
  const { repo, task } = await makeWorld({
    'fit.ipynb': cells([{ text: '2' }]),
    'mlv.yaml':
      'stages:\n  train:\n    cmd: cat fit.ipynb lib/head src/head > model\n    deps: [fit.ipynb, lib, src, src/head]\n    outs: [model]\n',
    'src/head': 'head\n',
    'src/tail': 'tail\n',
  })
  expect(await makeMachine(repo.env).exec(task)).toMatchObject({ exitCode: 0, stderr: '' })
  repo.write('fit.ipynb', cells([]))
  expect((await repo.mlv('repro')).stdout).toContain('restored    train')
  expect(repo.read('model')).toContain('"text":"2"')
})

it('takes notebooks that mlv tracks or a stage makes by their bytes, as they count here', async () => {
  const notebook = JSON.stringify({ cells: [{ cell_type: 'code', source: ['1'], outputs: [{ text: '1' }] }], nbformat: 4 })
  const files = {
    'mlv.yaml': `stages:
  draw: {cmd: cp seed made.ipynb, deps: [seed], outs: [made.ipynb]}
  train: {cmd: cat made.ipynb tracked.ipynb > model, deps: [made.ipynb, tracked.ipynb], outs: [model]}
`,
    seed: notebook,
    'tracked.ipynb': notebook,
  }
  const { repo } = await makeWorld(files, 'draw')
  expect(await repo.mlv('add', 'tracked.ipynb')).toMatchObject({ exitCode: 0 })
  expect(await repo.mlv('repro', 'draw')).toMatchObject({ exitCode: 0 })
  const { stdout } = await repo.mlv('stage', 'task', 'train', '--push')
  const machine = makeMachine(repo.env)
  writeFileSync(join(machine.dir, 'a.task'), stdout)
  expect(await machine.exec('a.task')).toMatchObject({ exitCode: 0, stderr: '' })
  expect((await repo.mlv('repro')).stdout).toContain('restored    train')
})

it('writes the record into the scope of whoever made the task', async () => {
  const { repo, remote } = await makeWorld()
  const env = { ...repo.env, MLV_RUN_CACHE_WRITE: 'main' }
  const made = await repo.mlvWith({ env }, 'stage', 'task', 'train', '--push')
  const machine = makeMachine(repo.env)
  writeFileSync(join(machine.dir, 'a.task'), made.stdout)
  expect(await machine.exec('a.task')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(readdirSync(join(remote, 'runs'))).toEqual(['main'])
  expect((await repo.mlvWith({ env }, 'repro')).stdout).toContain('restored')
})

let server: S3Server | undefined
beforeAll(async () => {
  server = await startS3()
})
afterAll(() => server?.stop())

it('runs with a bucket as its store', async ({ skip }) => {
  if (!server) return skip('no S3 server')
  const { repo, ran } = await makeWorld()
  const keys = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey, AWS_REGION: server.region }
  const url = `s3://${await server.bucket('exec')}/store`
  await repo.mlv('remote', 'add', 'bucket', url, '--endpoint', server.endpoint)
  const made = await repo.mlvWith({ env: keys }, 'stage', 'task', 'train', '--remote', 'bucket')
  expect(made).toMatchObject({ exitCode: 0, stderr: '' })
  const machine = makeMachine({ ...repo.env })
  const options = { cwd: machine.dir, env: { ...machine.env, ...keys }, input: made.stdout }
  expect((await run(NODE, [BIN, 'exec', '-'], { ...options, env: machine.env })).exitCode).not.toBe(0)
  expect(await run(NODE, [BIN, 'exec', '-'], options)).toMatchObject({ exitCode: 0, stderr: '' })
  expect((await run(NODE, [BIN, 'exec', '-'], options)).stdout).toContain('known       train')
  await repo.mlv('remote', 'default', 'bucket', '--local')
  expect((await repo.mlvWith({ env: keys }, 'repro')).stdout).toContain('restored    train  from the run cache')
  expect(repo.read('out/model/w')).toBe('a\nb\nhead\nlr: 1\nother: 2\n')
  expect(ran()).toBe(1)
})
