import { spawn } from 'node:child_process'
import { rmSync, symlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { until } from '../helpers/until.ts'

const BIN = fileURLToPath(new URL('../../bin/mlv.js', import.meta.url))

const PIPELINE = `stages:
  prepare:
    cmd: mkdir -p prep && head -2 raw/a.csv > prep/a.csv && cp raw/b.csv prep/b.csv
    deps: [raw]
    outs: [prep]
  train:
    cmd: cat prep/*.csv params.yaml > model.bin && echo '{"acc":1}' > metrics/m.json
    deps: [prep]
    params: [train.lr]
    outs: [model.bin]
    metrics: [metrics/m.json]
  evaluate:
    cmd: wc -c < model.bin > size.txt
    deps: [model.bin]
    outs: [size.txt]
`

const FILES = {
  'mlv.yaml': PIPELINE,
  'params.yaml': 'train:\n  lr: 0.1\n  note: a\n',
  'raw/a.csv': '1\n2\n3\n',
  'raw/b.csv': 'b\n',
}

async function makePipeline(files: Record<string, string> = {}): Promise<Repo> {
  const repo = await makeRepo({ ...FILES, ...files }, { init: true })
  await repo.mlv('add', 'raw')
  return repo
}

/** The lines of a run without its seconds. */
function lines(stdout: string): string[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ {2}[0-9.]+s$/, ''))
}

async function repro(repo: Repo, ...args: string[]): Promise<string[]> {
  const result = await repo.mlv('repro', ...args)
  expect(result).toMatchObject({ exitCode: 0 })
  return lines(result.stdout)
}

const UNCHANGED = ['unchanged   prepare', 'unchanged   train', 'unchanged   evaluate']

it('runs only what changed, and says why', async () => {
  const repo = await makePipeline()
  expect(await repro(repo)).toEqual([
    'running     prepare  (never ran)',
    'ran         prepare',
    'running     train  (never ran)',
    'ran         train',
    'running     evaluate  (never ran)',
    'ran         evaluate',
    'to commit: git add .gitignore metrics/m.json mlv.lock',
  ])
  expect(await repro(repo)).toEqual(UNCHANGED)
  await repo.commit()
  expect(await repo.git('ls-files', 'model.bin', 'prep', 'metrics')).toBe('metrics/m.json')

  repo.write('params.yaml', 'train:\n  lr: 0.2\n  note: b\n')
  expect(await repro(repo, '--dry-run')).toEqual([
    'unchanged   prepare',
    'would run   train  (params.yaml: train.lr 0.1 → 0.2)',
    'would run   evaluate  (train will run)',
  ])
  expect(await repro(repo)).toEqual([
    'unchanged   prepare',
    'running     train  (params.yaml: train.lr 0.1 → 0.2)',
    'ran         train',
    'running     evaluate  (model.bin changed)',
    'ran         evaluate',
    'to commit: git add metrics/m.json mlv.lock',
  ])
})

it('adds data that changed by hand first, and stops where outs come out the same', async () => {
  const repo = await makePipeline()
  await repro(repo)
  repo.write('raw/a.csv', '1\n2\n4\n')
  repo.write('raw/c.csv', 'c\n')
  expect(await repro(repo)).toEqual([
    'added       raw  (changed by hand)',
    'running     prepare  (raw changed: +1 −0 ~1)',
    'ran         prepare',
    'unchanged   train',
    'unchanged   evaluate',
    'to commit: git add mlv.lock raw.mlv',
  ])
  expect(await repo.mlv('status')).toMatchObject({ exitCode: 0, stdout: expect.not.stringContaining('raw') })
})

it('refuses to replace a folder that changed by hand and that git ignores, also once there is a commit', async () => {
  const yaml = 'stages:\n  a:\n    cmd: mkdir -p out && cp in out/\n    deps: [in]\n    outs: [out]\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, in: '1\n' }, { init: true })
  await repro(repo)
  await repo.git('add', '-A')
  await repo.git('commit', '-qm', 'one')
  repo.write('out/mine', 'mine\n')
  repo.write('in', '2\n')
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('saved nowhere') })
  expect(repo.read('out/mine')).toBe('mine\n')
})

it('names a changed command, a changed variable and a changed script', async () => {
  const stage = (cmd: string) => `stages:\n  a:\n    cmd: ${cmd}\n    deps: [run.sh]\n    env: [MODE]\n    outs: [out.txt]\n`
  const repo = await makeRepo({ 'mlv.yaml': stage('sh run.sh > out.txt'), 'run.sh': 'echo 1\n' }, { init: true })
  const run = async (env: Record<string, string>) => lines((await repo.mlvWith({ env }, 'repro')).stdout)[0]
  await run({})
  expect(await run({})).toBe('unchanged   a')
  expect(await run({ MODE: 'fast' })).toBe('running     a  (env MODE (unset) → fast)')
  repo.write('run.sh', 'echo 2\n')
  expect(await run({ MODE: 'fast' })).toBe('running     a  (run.sh changed)')
  repo.write('mlv.yaml', stage('sh ./run.sh > out.txt'))
  expect(await run({ MODE: 'fast' })).toBe('running     a  (command changed)')
})

it('brings deleted outs from the cache instead of running', async () => {
  const repo = await makePipeline()
  await repro(repo)
  const model = repo.read('model.bin')
  for (const path of ['model.bin', 'prep']) rmSync(repo.path(path), { recursive: true })
  expect(await repro(repo)).toEqual(['restored    prepare  (prep)', 'restored    train  (model.bin)', 'unchanged   evaluate'])
  expect(repo.read('model.bin')).toBe(model)
})

it('keeps earlier outs, metrics and the lock when a command fails, and sets aside what it had written', async () => {
  const repo = await makePipeline()
  await repro(repo)
  await repo.commit()
  const [model, lock] = [repo.read('model.bin'), repo.read('mlv.lock')]
  repo.write('mlv.yaml', PIPELINE.replace('cat prep', 'echo half | tee model.bin > metrics/m.json; exit 3; cat prep'))
  const result = await repo.mlv('repro')
  expect(result.exitCode).toBe(8)
  expect(result.stderr).toContain('error: Stage "train" failed: exit status 3 (mlv.yaml:7:10: ')
  expect(result.stderr).toContain('Its earlier outs are in place. What it had written is in .git/mlv/failed/train.')
  expect(repo.read('model.bin')).toBe(model)
  expect(repo.read('metrics/m.json')).toBe('{"acc":1}\n')
  expect(repo.read('mlv.lock')).toBe(lock)
  expect(repo.read('.git/mlv/failed/train/model.bin')).toBe('half\n')
  expect(repo.read('.git/mlv/failed/train/metrics/m.json')).toBe('half\n')
})

it('goes on with other stages with --keep-going, and tells all in JSON', async () => {
  const repo = await makeRepo(
    {
      'mlv.yaml':
        'stages:\n  a: {cmd: "echo noise; exit 1", outs: [a]}\n  b: {cmd: x, deps: [a]}\n  c: {cmd: touch c, outs: [c]}\n',
    },
    { init: true },
  )
  const result = await repo.mlv('repro', '--keep-going', '--json')
  expect(result.exitCode).toBe(8)
  expect(JSON.parse(result.stdout)).toMatchObject({
    stages: [
      { stage: 'a', outcome: 'failed', error: { code: 'STAGE_FAILED' } },
      { stage: 'b', outcome: 'skipped', because: 'a' },
      { stage: 'c', outcome: 'ran', reasons: ['never ran'] },
    ],
    written: ['.gitignore', 'mlv.lock'],
  })
  expect(result.stderr).toContain('noise')
})

it.each([
  ['no such command', 'no-such-program', 'exit status 127', 'The shell did not find the command', '1h'],
  ['a signal', 'kill -SEGV $$', 'ended by SIGSEGV', '', '1h'],
  ['an out that was not written', 'true', 'did not write out.txt (mlv.yaml:4:12)', 'Let the command write it', '1h'],
  ['a timeout', 'sleep 600', 'stopped after its timeout of 0.2 s', '', '0.2s'],
])('names %s', async (_name, cmd, message, hint, timeout) => {
  const repo = await makeRepo(
    { 'mlv.yaml': `stages:\n  a:\n    cmd: ${cmd}\n    outs: [out.txt]\n    timeout: ${timeout}\n` },
    { init: true },
  )
  const result = await repo.mlv('repro')
  expect(result).toMatchObject({ exitCode: 8 })
  expect(result.stderr).toContain(message)
  expect(result.stderr).toContain(hint)
  expect(repo.exists('mlv.lock')).toBe(false)
})

it('tries again as often as the stage says, persist outs in place', async () => {
  const cmd = 'mkdir -p log; echo x >> log/tries; test $(wc -l < log/tries) = 3 && echo ok > out'
  const repo = await makeRepo(
    { 'mlv.yaml': `stages:\n  a:\n    cmd: ${cmd}\n    retry: 2\n    outs: [out, {log: {persist: true}}]\n` },
    { init: true },
  )
  const result = await repo.mlv('repro')
  expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('trying again (2 of 2)') })
  expect(repo.read('log/tries')).toBe('x\nx\nx\n')
})

it('runs a stage whose persist out changed by hand on what lies there, and puts back one that is gone', async () => {
  const yaml = 'stages:\n  a:\n    cmd: mkdir -p log; echo x >> log/steps\n    outs: [{log: {persist: true}}]\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  await repro(repo)
  repo.write('log/steps', 'mine\n')
  expect((await repro(repo))[0]).toBe('running     a  (out log changed by hand)')
  expect(repo.read('log/steps')).toBe('mine\nx\n')
  rmSync(repo.path('log'), { recursive: true })
  expect(await repro(repo)).toEqual(['restored    a  (log)'])
  expect(repo.read('log/steps')).toBe('mine\nx\n')
})

const SLOW =
  'stages:\n  slow:\n    cmd: echo $$ > pid; echo half > out; sleep 600; echo done > out\n    deps: [go]\n    outs: [out]\n'

async function startSlow(repo: Repo): Promise<{ mlv: ReturnType<typeof spawn>; ended: Promise<number | null> }> {
  const mlv = spawn(process.execPath, [BIN, 'repro'], { cwd: repo.dir, env: repo.env as NodeJS.ProcessEnv, stdio: 'ignore' })
  const ended = new Promise<number | null>((done) => mlv.once('exit', done))
  await until(() => repo.exists('out') && repo.exists('pid') && repo.read('out') === 'half\n', 'its out is half written')
  return { mlv, ended }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function makeSlow(): Promise<Repo> {
  const repo = await makeRepo(
    { 'mlv.yaml': SLOW.replace('echo half', 'echo first').replace('sleep 600', 'true'), go: '1' },
    { init: true },
  )
  await repro(repo)
  await repo.commit()
  rmSync(repo.path('pid'))
  repo.write('mlv.yaml', SLOW)
  return repo
}

it('leaves all as it was when interrupted', async () => {
  const repo = await makeSlow()
  const { mlv, ended } = await startSlow(repo)
  mlv.kill('SIGINT')
  expect(await ended).toBe(130)
  expect(repo.read('out')).toBe('done\n')
  expect(repo.read('.git/mlv/failed/slow/out')).toBe('half\n')
  expect(isAlive(Number(repo.read('pid')))).toBe(false)
  expect(await repo.git('status', '--short', '--', 'mlv.lock')).toBe('')
})

it('puts earlier outs back after kill -9, once the command has ended', async () => {
  const repo = await makeSlow()
  const { mlv, ended } = await startSlow(repo)
  mlv.kill('SIGKILL')
  await ended
  const pid = Number(repo.read('pid'))
  const refused = await repo.mlv('repro')
  expect(refused).toMatchObject({ exitCode: 9, stderr: expect.stringContaining(`kill -- -${pid}`) })
  process.kill(-pid, 'SIGKILL')
  await repo.git('checkout', '-q', 'mlv.yaml')
  const again = await repo.mlv('repro')
  expect(again.stderr).toContain('stage slow was running when mlv was killed; its earlier outs are back')
  expect(lines(again.stdout)).toEqual(['unchanged   slow'])
  expect(repo.read('out')).toBe('done\n')
  expect(repo.read('.git/mlv/failed/slow/out')).toBe('half\n')
})

it('begins no command before it is noted', async () => {
  const repo = await makeSlow()
  repo.write('mlv.yaml', SLOW.replace('sleep 600', 'true'))
  await repo.mlvWith({ env: { MLV_FAULT: 'kill:1@command: begin' } }, 'repro')
  // Noted, and not let go.
  expect(repo.exists('.git/mlv/aside/main/slow/command')).toBe(true)
  const group = Number(repo.read('.git/mlv/aside/main/slow/command'))
  await until(() => !isAlive(-group), 'the shell that waited has ended')
  expect(repo.exists('pid')).toBe(false)
  expect((await repo.mlv('repro')).stdout).toContain('ran         slow')
})

it('knows also what an earlier try left running', async () => {
  // The first try ends when what it leaves no longer heeds SIGTERM.
  const first = 'touch tried; (trap "" TERM; touch left; exec sleep 600) & until [ -e left ]; do sleep 0.01; done; exit 1'
  const cmd = `if [ -e tried ]; then echo $$ > pid; sleep 600; else ${first}; fi`
  const yaml = `stages:\n  a:\n    cmd: '${cmd}'\n    outs: [out]\n    retry: 1\n`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  const mlv = spawn(process.execPath, [BIN, 'repro'], { cwd: repo.dir, env: repo.env as NodeJS.ProcessEnv, stdio: 'ignore' })
  const ended = new Promise((done) => mlv.once('exit', done))
  await until(() => repo.exists('pid') && repo.read('pid').endsWith('\n'), 'the second try runs')
  mlv.kill('SIGKILL')
  await ended
  const groups = repo.read('.git/mlv/aside/main/a/command').split('\n').map(Number)
  expect(groups).toHaveLength(2)
  process.kill(-groups[1]!, 'SIGKILL')
  await until(() => !isAlive(-groups[1]!), 'the second try has ended')
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 9, stderr: expect.stringContaining(`kill -- -${groups[0]}`) })
  process.kill(-groups[0]!, 'SIGKILL')
})

it('leaves a stage to another container of the same name, unless told that it is gone', async () => {
  const repo = await makeSlow()
  const { mlv, ended } = await startSlow(repo)
  mlv.kill('SIGKILL')
  await ended
  process.kill(-Number(repo.read('pid')), 'SIGKILL')
  rmSync(repo.path('out'))
  const manifest = '.git/mlv/aside/main/slow/manifest.json'
  const left = JSON.parse(repo.read(manifest))
  repo.write(manifest, JSON.stringify({ ...left, machine: '00000000' }))
  const refused = await repo.mlv('repro')
  expect(refused).toMatchObject({ exitCode: 9, stderr: expect.stringContaining('Stage "slow" is being run by process') })
  expect(refused.stderr).toContain('if that machine or container no longer runs it')
  await repo.git('checkout', '-q', 'mlv.yaml')
  expect(await repo.mlv('repro', '--single-stage', '--force', 'slow')).toMatchObject({ exitCode: 0 })
  expect(repo.read('out')).toBe('done\n')
})

it('runs a stage once at a time, and lets stages call mlv', async () => {
  const repo = await makeRepo(
    {
      'mlv.yaml': `stages:\n  a:\n    cmd: node ${BIN} repro a 2> err; node ${BIN} status > status\n    outs: [{status: {git: true}}]\n`,
    },
    { init: true },
  )
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0 })
  expect(repo.read('err')).toContain('Stage "a" is being run by process')
})

it.each([
  ['changed', 'echo new > in/a/1'],
  ['changed to the same size and time', 'cp -p in/a/1 keep && echo o > in/a/1 && touch -r keep in/a/1'],
  ['came', 'echo new > in/3'],
  ['came to a folder that held none', 'echo new > in/empty/3'],
  ['went', 'rm in/a/2'],
  ['went with its folder', 'rm -r in/b'],
])('sees that a file of a folder %s while it ran', async (_what, change) => {
  const repo = await makeRepo(
    {
      'mlv.yaml': `stages:\n  s: {cmd: "if test -e .git/late; then rm .git/late; ${change}; fi; echo x > out", deps: [in], outs: [out]}\n`,
      ...{ 'in/a/1': '1\n', 'in/a/2': '2\n', 'in/b/4': '4\n', '.git/late': '' },
    },
    { init: true },
  )
  const { mkdirSync } = await import('node:fs')
  mkdirSync(repo.path('in/empty'))
  // What was written a moment ago is looked at again in any case.
  await new Promise((done) => setTimeout(done, 50))
  await repo.mlv('status')
  expect((await repo.mlv('repro')).stdout).toContain('in changed while it ran, so it will run again')
  expect((await repo.mlv('repro')).stdout).toMatch(/^running {5}s/)
  expect((await repo.mlv('repro')).stdout).toBe('unchanged   s\n')
})

it('runs a stage again whose deps changed while it ran', async () => {
  const repo = await makeRepo(
    { 'mlv.yaml': 'stages:\n  a: {cmd: "cp in out; echo 2 > in", deps: [in], outs: [out]}\n', in: '1\n' },
    { init: true },
  )
  expect((await repro(repo))[1]).toContain('in changed while it ran, so it will run again')
  expect(JSON.parse(repo.read('mlv.lock')).stages.a.unsure).toBe(true)
  repo.write('in', '1\n')
  expect((await repro(repo, '--dry-run'))[0]).toBe('would run   a  (deps changed while it last ran)')
})

it('says which deps a stage took away, and names the one that its next run lacks', async () => {
  const yaml = 'stages:\n  a: {cmd: "cp in out; rm in; echo 2 > other", deps: [in, other], outs: [out]}\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, in: '1\n', other: '1\n' }, { init: true })
  const [, ran] = await repro(repo)
  expect(ran).toMatch(
    /; other changed while it ran, so it will run again; in, which it reads, went away while it ran, and its next run needs it$/,
  )
  expect(await repo.mlv('repro')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('needs in, which does not exist'),
  })
  repo.write('in', '1\n')
  const { stdout } = await repo.mlv('repro', '--json')
  expect(JSON.parse(stdout).stages).toMatchObject([{ outcome: 'ran', changed: ['in'], gone: ['in'] }])
})

it('leaves what .mlvignore hides in the folder of an out where it lies, also when the stage writes the folder anew', async () => {
  const repo = await makePipeline({ '.mlvignore': '*.note\nmine/\n' })
  const command = (line: string) => repo.write('mlv.yaml', repo.read('mlv.yaml').replace(/cmd: mkdir.*/, `cmd: ${line}`))
  command('mkdir -p prep/sub && cp raw/a.csv prep/sub && echo new > prep/b.note')
  await repro(repo, 'prepare')
  const hidden = ['prep/my.note', 'prep/sub/my.note', 'prep/mine/x']
  for (const path of hidden) repo.write(path, 'by hand')
  repo.write('prep/b.note', 'old')
  repo.write('raw/a.csv', '1\n4\n')
  expect(await repro(repo, 'prepare')).toContain('ran         prepare')
  for (const path of hidden) expect(repo.read(path)).toBe('by hand')
  expect(repo.read('prep/sub/a.csv')).toBe('1\n4\n')
  expect(repo.read('prep/b.note')).toBe('new\n')
  // Where a file takes the place of the folder, it is set aside.
  command('echo file > prep')
  expect(await repro(repo, '-s', 'prepare')).toContain('ran         prepare')
  expect(repo.read('.git/mlv/failed/prepare/prep/mine/x')).toBe('by hand')
})

it('replaces no out that is saved nowhere, until accepted or forced', async () => {
  const repo = await makePipeline()
  repo.write('model.bin', 'trained by hand\n')
  expect(await repo.mlv('repro')).toMatchObject({
    exitCode: 4,
    stderr: expect.stringContaining('model.bin, which was there before it ever ran'),
  })
  expect(repo.exists('prep')).toBe(false)
  rmSync(repo.path('model.bin'))
  await repro(repo)
  repo.write('model.bin', 'better\n')
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('mlv accept train') })
  expect(repo.read('model.bin')).toBe('better\n')
  expect(lines((await repo.mlv('accept')).stdout)[0]).toBe('accepted   train  (model.bin)')
  expect((await repro(repo))[2]).toBe('running     evaluate  (model.bin changed)')
  repo.write('model.bin', 'worse\n')
  expect(await repo.mlv('repro', '--single-stage', '--force', 'train')).toMatchObject({ exitCode: 0 })
  expect(repo.read('model.bin')).not.toBe('worse\n')
})

it('counts what git ignores out of a folder dep, and outs of stages in', async () => {
  const yaml =
    'stages:\n  gen: {cmd: "echo $RANDOM > src/gen.txt", outs: [src/gen.txt], deps: [seed]}\n  use: {cmd: cat src/*.txt, deps: [src]}\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, 'src/a.txt': 'a', '.gitignore': '*.tmp\n', seed: '1' }, { init: true })
  await repro(repo)
  repo.write('src/x.tmp', 'x')
  expect(await repro(repo)).toEqual(['unchanged   gen', 'unchanged   use'])
  repo.write('src/b.txt', 'b')
  expect((await repro(repo, '--dry-run'))[1]).toBe('would run   use  (src changed)')
  rmSync(repo.path('src/b.txt'))
  repo.write('mlv.yaml', yaml.replace('$RANDOM', 'else'))
  expect(await repro(repo)).toContain('running     use  (src changed)')
})

it('counts outs that git keeps as what lies there, also where a pattern hides them from git', async () => {
  const stage = (name: string, cmd: string, rest: string) => `  ${name}: {cmd: "${cmd}", ${rest}}\n`
  const yaml = `stages:\n${stage('gen', 'mkdir -p plots/a && cp seed plots/a/x', 'deps: [seed], plots: [plots/a]')}${
    stage('use', 'cat plots/a/x > used', 'deps: [plots/a], outs: [used]') +
    stage('all', 'ls -R plots > list', 'deps: [plots], outs: [list]')
  }`
  const repo = await makeRepo({ 'mlv.yaml': yaml, '.gitignore': 'plots\n', seed: '1' }, { init: true })
  await repro(repo)
  repo.write('seed', '2')
  const ran = await repro(repo)
  expect(ran).toContain('running     use  (plots/a changed: +0 −0 ~1)')
  expect(ran).toContain('running     all  (plots changed)')
  expect(repo.read('used')).toBe('2')
})

it('shows git an out that it is to keep from now on', async () => {
  const yaml = 'stages:\n  a:\n    cmd: mkdir o && cp seed o/x\n    deps: [seed]\n    outs: [o]\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, seed: '1', '.gitignore': 'mine\n' }, { init: true })
  await repro(repo)
  expect(repo.read('.gitignore')).toBe('mine\n/o\n')
  repo.write('mlv.yaml', yaml.replace('[o]', '[{o: {git: true}}]'))
  expect((await repro(repo)).at(-1)).toBe('to commit: git add .gitignore mlv.lock o')
  expect(repo.read('.gitignore')).toBe('mine\n')
  await repo.git('add', '.gitignore', 'mlv.lock', 'o')
})

it('records tracked data in a folder that is a dep when it changed by hand, and brings it back when it is gone', async () => {
  const yaml = 'stages:\n  a:\n    cmd: cat src/raw/* > all\n    deps: [src]\n    outs: [all]\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, 'src/raw/a': '1', 'src/raw/b': '2', 'src/code': '3' }, { init: true })
  await repo.mlv('add', 'src/raw')
  await repro(repo)
  repo.write('src/raw/a', '9')
  expect((await repro(repo))[0]).toBe('added       src/raw  (changed by hand)')
  expect(repo.read('all')).toBe('92')
  expect(await repo.mlv('status')).toMatchObject({ stdout: 'up to date\n' })
  rmSync(repo.path('src/raw'), { recursive: true })
  expect(await repro(repo)).toEqual(['unchanged   a'])
  repo.write('mlv.yaml', yaml.replace('cat', 'cat  '))
  await repro(repo)
  expect(repo.read('all')).toBe('92')
})

it('checks in CI without data whether the lock is up to date', async () => {
  const repo = await makePipeline()
  await repro(repo)
  await repo.commit()
  const clone = await repo.clone()
  const check = ['repro', '--dry-run', '--allow-missing', '--exit-code']
  expect(await clone.mlv(...check)).toMatchObject({ exitCode: 0, stdout: `${UNCHANGED.join('\n')}\n` })
  clone.write('params.yaml', 'train: {lr: 3}\n')
  expect(await clone.mlv(...check)).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('would run   train') })
  expect(await clone.mlv('repro', 'train')).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('mlv pull raw') })
})

/** A clone of a repository that has pushed all it has, with the same remote and nothing in its cache. */
async function cloneOfPushed(repo: Awaited<ReturnType<typeof makeRepo>>) {
  await repo.mlv('remote', 'add', 'origin', repo.path('../remote'), '--local')
  await repo.commit()
  expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', repo.path('../remote'), '--local')
  return clone
}

describe('where tracked data is not all here', () => {
  async function cloneOf(files: Record<string, string>, deps: string, tracked: string): Promise<Repo> {
    const yaml = `stages:\n  a:\n    cmd: find . -name '*.csv' | sort > list\n    deps: ${deps}\n    outs: [list]\n`
    const repo = await makeRepo({ 'mlv.yaml': yaml, ...files }, { init: true })
    const remote = `${repo.dir}-remote`
    await repo.mlv('add', tracked)
    await repo.mlv('remote', 'add', 'origin', remote, '--local', '--default')
    await repro(repo)
    await repo.commit()
    expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
    const other = await repo.clone()
    await other.mlv('remote', 'add', 'origin', remote, '--local', '--default')
    return other
  }
  const edit = (repo: Repo) => repo.write('mlv.yaml', repo.read('mlv.yaml').replace('sort', 'sort -u'))

  it('counts a folder of which a part was pulled as its pointer says, and runs nothing on the part', async () => {
    const repo = await cloneOf({ 'raw/a.csv': 'a', 'raw/in/b.csv': 'b' }, '[raw]', 'raw')
    expect(await repo.mlv('pull', 'raw/in', 'list')).toMatchObject({ exitCode: 0 })
    expect(await repro(repo)).toEqual(['unchanged   a'])
    edit(repo)
    const result = await repo.mlv('repro')
    expect(result).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('"mlv pull raw"') })
    expect(repo.read('list')).toBe('./raw/a.csv\n./raw/in/b.csv\n')
    expect(await repro(repo, '--pull')).toEqual([
      'fetched     raw',
      'running     a  (command changed)',
      'ran         a',
      expect.anything(),
    ])
    expect(repo.read('list')).toBe('./raw/a.csv\n./raw/in/b.csv\n')
    expect(await repo.git('status', '--porcelain')).toBe(' M mlv.lock\n M mlv.yaml')
  })

  it('counts tracked data in a folder as its pointer says', async () => {
    const repo = await cloneOf({ 'src/raw/a.csv': 'a', 'src/b.csv': 'b' }, '[src]', 'src/raw')
    expect(await repo.mlv('repro', '--dry-run', '--allow-missing', '--exit-code')).toMatchObject({
      exitCode: 0,
      stdout: 'unchanged   a\n',
    })
    edit(repo)
    expect(await repo.mlv('stage', 'task', 'a')).toMatchObject({
      exitCode: 5,
      stderr: expect.stringContaining('"mlv pull src/raw"'),
    })
    expect(await repo.mlv('repro')).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('"mlv pull src/raw"') })
    expect((await repro(repo, '--pull'))[0]).toBe('fetched     src/raw')
    expect(repo.read('list')).toBe('./src/b.csv\n./src/raw/a.csv\n')
    expect(await repro(repo)).toEqual(['unchanged   a'])
  })
})

it('fetches what is missing with --pull', async () => {
  const repo = await makePipeline()
  await repro(repo)
  const clone = await cloneOfPushed(repo)
  expect(await clone.mlv('repro', '--pull')).toMatchObject({ exitCode: 0, stdout: `${UNCHANGED.join('\n')}\n` })
  expect([clone.exists('.git/mlv/store/packs'), clone.exists('model.bin')]).toEqual([false, false])
  await clone.mlv('pull')
  expect((await clone.mlv('repro', '--dry-run', '--exit-code')).exitCode).toBe(0)
})

it('with --pull fetches only what the stages that will run read, and makes anew what no remote has', async () => {
  const yaml = `stages:
  prepare: {cmd: cat raw/a > big && echo x >> prepared, deps: [raw], outs: [big, prepared]}
  middle: {cmd: tr x y < prepared > middle, deps: [prepared], outs: [middle]}
  aside: {cmd: cat big > aside, deps: [big], outs: [aside]}
  train: {cmd: cat middle params.yaml > model, deps: [middle], params: [lr], outs: [model]}
`
  const repo = await makeRepo({ 'mlv.yaml': yaml, 'params.yaml': 'lr: 1\n', 'raw/a': 'raw\n', 'raw/b': 'b' }, { init: true })
  await repo.mlv('add', 'raw')
  await repro(repo)
  const clone = await cloneOfPushed(repo)
  clone.write('params.yaml', 'lr: 2\n')
  const pulled = await clone.mlv('repro', '--pull')
  expect(pulled).toMatchObject({ exitCode: 0, stderr: '' })
  expect(pulled.stdout).toContain('fetched     middle\n')
  expect(pulled.stdout).toMatch(/restored {4}middle[\s\S]*ran +train/)
  expect(['raw', 'big', 'prepared', 'aside'].filter((path) => clone.exists(path))).toEqual([])
  expect(clone.read('model')).toContain('lr: 2')
  // Once the remote has lost it, the stage that makes it runs, and what that reads is fetched.
  await repo.mlv('remote', 'add', 'part', repo.path('../part'), '--local')
  expect((await repo.mlv('push', '-r', 'part', 'raw', 'big', 'prepared', 'aside', 'model')).exitCode).toBe(0)
  const other = await repo.clone()
  await other.mlv('remote', 'add', 'part', repo.path('../part'), '--local')
  other.write('params.yaml', 'lr: 3\n')
  const made = await other.mlv('repro', '--pull')
  expect(made).toMatchObject({ exitCode: 0, stderr: '' })
  expect(made.stdout).toMatch(/fetched {5}prepared\n[\s\S]*ran +middle[\s\S]*ran +train/)
  expect([other.exists('big'), other.exists('raw')]).toEqual([false, false])
  expect(other.read('model')).toBe('y\nlr: 3\n')
})

it('status, repro --dry-run and repro agree on data and outs that are outdated after a switch', async () => {
  const yaml = 'stages:\n  train: {cmd: cat raw/a params.yaml > model, deps: [raw], params: [lr], outs: [model]}\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml, 'params.yaml': 'lr: 1\n', 'raw/a': '1' }, { init: true })
  await repo.mlv('add', 'raw')
  await repro(repo)
  await repo.commit('one')
  await repo.git('branch', 'old')
  repo.write('raw/a', '2')
  await repro(repo)
  await repo.commit('two')
  await repo.git('switch', '-q', 'old')
  const why = 'raw is outdated: its pointer has changed since it was checked out'
  const refused = await repo.mlv('repro')
  expect(refused).toMatchObject({ exitCode: 4, stdout: '', stderr: expect.stringContaining(`error: ${why}`) })
  const planned = await repo.mlv('repro', '--dry-run')
  expect(planned).toMatchObject({ exitCode: 4, stderr: refused.stderr })
  expect(planned.stdout).not.toContain('would add')
  expect((await repo.mlv('status')).stdout).toContain(`but: ${why}`)
  await repo.mlv('checkout', 'raw')
  // The out is still that of the other branch, and mlv knows it.
  expect((await repo.mlv('status')).stdout).toBe('outdated   model  (out of a stage)\nwould get  train  (model from the cache)\n')
  expect((await repo.mlv('repro', '--dry-run')).stdout).toBe('restore     train  (model)\n')
  expect((await repo.mlv('repro')).stdout).toContain('restored    train  (model)')
  // Where no cache has it: nobody changed it by hand.
  await repo.git('switch', '-q', 'main')
  await repo.mlv('checkout', 'raw')
  await repo.mlv('remote', 'add', 'origin', repo.path('../remote'), '--local')
  for (const folder of ['packs', 'index', 'objects', 'runs'])
    rmSync(repo.path(`.git/mlv/store/${folder}`), { recursive: true, force: true })
  const absent = await repo.mlv('repro', '--dry-run')
  expect(absent.stdout).toBe('absent      train  (model; run "mlv pull")\n')
  expect((await repo.mlv('status')).stdout).toMatch(
    /outdated {3}model .*missing from cache.*\nabsent {5}stage train {2}\(model; run "mlv pull"\)/,
  )
  expect(await repo.mlv('repro')).toMatchObject({ exitCode: 5, stdout: absent.stdout })
})

it.each([
  [
    'a cycle',
    'stages:\n  a: {cmd: x, deps: [b], outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b]}\n',
    2,
    'wait for each other: a → b → a',
  ],
  [
    'two stages with one out',
    'stages:\n  a: {cmd: x, outs: [o]}\n  b: {cmd: x, outs: [o]}\n',
    2,
    'mlv.yaml:3:22: "o" is an out of stage "b" and of stage "a"',
  ],
  [
    'a missing dep',
    'stages:\n  a: {cmd: x, deps: [none.csv]}\n',
    2,
    'mlv.yaml:2:22: stage "a" needs none.csv, which does not exist',
  ],
  ['a missing key', 'stages:\n  a: {cmd: x, params: [train.depth]}\n', 2, 'mlv.yaml:2:24: params.yaml has no key "train.depth"'],
  ['a missing params file', 'stages:\n  a: {cmd: x, params: [{p.toml: [k]}]}\n', 2, 'there is no params file p.toml'],
  ['an out with a pointer', 'stages:\n  a: {cmd: x, outs: [raw]}\n', 4, '"raw" is an out of stage "a" and tracked by a pointer'],
  [
    'an out in a folder with a pointer',
    'stages:\n  a: {cmd: x, outs: [raw/new/o]}\n',
    4,
    '"raw/new/o" is an out of stage "a" and lies in "raw", which is tracked by a pointer',
  ],
  [
    'an out that git tracks',
    'stages:\n  a: {cmd: x, outs: [kept.txt]}\n',
    4,
    'git tracks "kept.txt", an out that mlv is to store',
  ],
  ['an out through a link', 'stages:\n  a: {cmd: x, outs: [link/o]}\n', 2, 'link/o lies below link, which is a symbolic link'],
  ['no stages at all', 'stages: [a]\n', 2, 'mlv.yaml:1:9: stages is a list, not a mapping'],
])('refuses %s and changes nothing', async (_name, yaml, exitCode, message) => {
  const repo = await makePipeline({ 'kept.txt': 'kept' })
  await repo.git('add', 'kept.txt')
  await repo.git('commit', '-q', '-m', 'Keep')
  symlinkSync('/tmp', repo.path('link'))
  repo.write('mlv.yaml', yaml)
  const result = await repo.mlv('repro')
  expect(result.stderr).toContain(message)
  expect(result.exitCode).toBe(exitCode)
  expect(repo.exists('mlv.lock')).toBe(false)
  expect(repo.read('kept.txt')).toBe('kept')
})

it('sees what another mlv has run meanwhile, for instance one that a stage calls', async () => {
  const mlv = `${process.execPath} ${BIN}`
  const repo = await makeRepo(
    {
      'mlv.yaml': `stages:\n  a: {cmd: "${mlv} repro -q b && echo a > a", outs: [a], deps: [d]}\n  b: {cmd: "cat d > b && echo b >> runs", deps: [d], outs: [b]}\n`,
      d: '1\n',
    },
    { init: true },
  )
  for (const [text, runs] of [
    ['1\n', 'b\n'],
    ['2\n', 'b\nb\n'],
  ] as const) {
    repo.write('d', text)
    expect(await repo.mlv('repro')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('unchanged   b\n') })
    expect(repo.read('runs')).toBe(runs)
    expect(repo.read('b')).toBe(text)
  }
})

it('reads the lock with merge markers as an error that names the way out', async () => {
  const repo = await makePipeline({ 'mlv.lock': '{\n<<<<<<< ours\n' })
  const result = await repo.mlv('repro')
  expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('mlv.lock:2:1: merge markers') })
  expect(result.stderr).toContain('git checkout --ours mlv.lock')
})

it('drops stages that are gone from the lock when it writes all of it', async () => {
  const repo = await makeRepo({ 'mlv.yaml': 'stages:\n  a: {cmd: "true"}\n  b: {cmd: "true"}\n' }, { init: true })
  await repro(repo)
  repo.write('mlv.yaml', 'stages:\n  b: {cmd: "true"}\n  c: {cmd: "true"}\n')
  await repro(repo)
  expect(Object.keys(JSON.parse(repo.read('mlv.lock')).stages)).toEqual(['b', 'c'])
})

it('reads no file again when nothing changed', async () => {
  const repo = await makePipeline()
  await repro(repo)
  // A row as young as its file is not trusted: the next run settles it.
  await new Promise((done) => setTimeout(done, 100))
  await repro(repo)
  const files = ['raw/a.csv', 'raw/b.csv', 'prep/a.csv', 'model.bin', 'size.txt']
  const opened = await openedFiles(repo, 'repro')
  expect(opened).toContain('mlv.lock')
  expect(opened.filter((path) => files.includes(path))).toEqual([])
})

/** Names relative to the repo of what a command opens, as the system says. */
async function openedFiles(repo: Repo, ...args: string[]): Promise<string[]> {
  const hook = repo.path('.git/opened.mjs')
  repo.write(
    '.git/opened.mjs',
    `import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { relative } from 'node:path'
const opened = []
for (const name of ['openSync', 'readFileSync', 'createReadStream', 'open']) {
  const real = fs[name]
  fs[name] = (path, ...rest) => { opened.push(String(path)); return real(path, ...rest) }
}
const open = fs.promises.open
fs.promises.open = (path, ...rest) => { opened.push(String(path)); return open(path, ...rest) }
const readFile = fs.promises.readFile
fs.promises.readFile = (path, ...rest) => { opened.push(String(path)); return readFile(path, ...rest) }
syncBuiltinESMExports()
const write = fs.writeFileSync
process.on('exit', () => write(process.env.OPENED, JSON.stringify(opened.map((path) => relative(process.cwd(), path)))))
`,
  )
  const list = repo.path('.git/opened.json')
  await repo.mlvWith({ env: { NODE_OPTIONS: `--import=file://${hook}`, OPENED: list } }, ...args)
  return JSON.parse(repo.read('.git/opened.json')) as string[]
}
