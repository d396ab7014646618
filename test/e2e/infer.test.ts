import { spawn } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BIN, makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'
import { findProgram } from '../helpers/server-process.ts'
import { straceProblem } from '../helpers/strace.ts'

/** A PATH with the programs named and no others. */
function pathOf(...programs: string[]): string {
  const { dir } = makeFolder()
  for (const name of ['sh', 'git', 'node', ...programs]) {
    const program = name === 'node' ? process.execPath : findProgram(name)
    if (program) symlinkSync(program, join(dir, name))
  }
  return dir
}

async function infer(repo: Repo, ...args: string[]) {
  const result = await repo.mlv('stage', 'add', '--infer', '--json', ...args)
  expect(result).toMatchObject({ exitCode: 0 })
  const { stage: _name, written: _written, ...answer } = JSON.parse(result.stdout)
  return answer
}

describe.skipIf(straceProblem() !== undefined)('stage add --infer', () => {
  it('writes what the command reads and writes, and records the run', async () => {
    const script = `mkdir -p models
cat data/*.csv params.yaml "$(dirname "$0")/add.sed" > .part
mv .part models/model.bin
echo '{"accuracy": 1}' > metrics.json
echo gone > scratch && rm scratch
echo trained
`
    const files = { 'src/train.sh': script, 'src/add.sed': 's', 'data/a.csv': '1', 'data/b.csv': '2', 'params.yaml': 'lr: 1\n' }
    const repo = await makeRepo(files, { init: true, commit: true })
    await repo.mlv('add', 'data')
    const result = await repo.mlv('stage', 'add', '--infer', 'train', '--', 'sh', 'src/train.sh')
    expect(result).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('mlv.yaml')).toBe(`stages:
  train:
    cmd: sh src/train.sh
    deps:
      - data
      - src/add.sed
      - src/train.sh
    params:
      - params.yaml: null
    outs:
      - models/model.bin
    metrics:
      - metrics.json
`)
    expect(result.stdout).toContain('note: params.yaml as a whole')
    expect(result.stdout).toContain('recorded this run')
    expect((await repo.mlv('logs', 'train')).stdout).toBe('trained\n')
    expect((await repo.mlv('repro')).stdout).toBe('unchanged   train\n')
    repo.write('data/c.csv', '3')
    expect((await repo.mlv('repro')).stdout).toContain('ran         train')
    expect(repo.read('models/model.bin')).toContain('123')
  })

  it('keeps what is declared beside it, in the folder of the stage, and says nothing twice', async () => {
    const files = {
      'in/a': '1',
      'in/b': '2',
      'work/run.sh': 'cat ../in/a ../params.yaml > out.txt; cp ../in/b ../b.txt\n',
      'params.yaml': 'x: 1\n',
    }
    const repo = await makeRepo(files, { init: true, commit: true })
    const args = ['-w', 'work', '-d', '../in/a', '-o', 'out.txt', '-p', '../params.yaml:x', 'copy', '--', 'sh run.sh']
    expect(await infer(repo, ...args)).toMatchObject({
      ...{ cmd: 'sh run.sh', wdir: 'work', recorded: true, seen: 'reads and writes' },
      ...{ deps: ['../in/a', '../in/b', 'run.sh'], params: [{ '../params.yaml': ['x'] }], outs: ['out.txt', '../b.txt'] },
    })
    expect((await repo.mlv('repro')).stdout).toBe('unchanged   copy\n')
  })

  it('takes folders for many files, outs of other stages as they are, and leaves caches out', async () => {
    const files: Record<string, string> = {
      'mlv.yaml': 'stages:\n  split: {cmd: "mkdir -p parts; echo 1 > parts/1; echo 2 > parts/2", outs: [parts]}\n',
      'node_modules/x/index.js': '',
      '.venv/pyvenv.cfg': '',
      '.venv/lib/a.py': '',
      'env/pyvenv.cfg': '',
      'env/b.py': '',
      '.gitignore': 'notes.txt\n*.log\n',
      'notes.txt': 'n',
    }
    for (let at = 0; at < 6; at++) files[`text/${at}.txt`] = String(at)
    const repo = await makeRepo(files, { init: true, commit: true })
    await repo.mlv('repro')
    const cmd = `cat text/*.txt parts/1 notes.txt node_modules/x/index.js .venv/lib/a.py env/b.py .gitignore > all.txt
git status --porcelain > /dev/null; mkdir out; for i in 1 2 3; do cp all.txt out/$i; done; echo x > run.log`
    const answer = await infer(repo, 'join', '--', cmd)
    expect(answer).toMatchObject({ deps: ['parts', 'text'], outs: ['all.txt', 'out'] })
    expect(answer.notes).toEqual([expect.stringContaining('notes.txt'), expect.stringContaining('run.log')])
    expect((await repo.mlv('repro')).stdout).toBe('unchanged   split\nunchanged   join\n')
  })

  it('marks what was read before it was written, and what git tracks', async () => {
    const repo = await makeRepo({ 'state.txt': '1\n', 'plot.svg': 'old' }, { init: true, commit: true })
    await repo.git('rm', '-q', '--cached', 'state.txt')
    const answer = await infer(repo, 'step', '--', 'cat state.txt > t; cat t t > state.txt; rm t; echo new > plot.svg')
    expect(answer).toMatchObject({ outs: [{ 'plot.svg': { git: true } }, { 'state.txt': { persist: true } }], recorded: true })
    expect((await repo.mlv('repro')).stdout).toBe('unchanged   step\n')
    expect(await repo.mlv('repro', '--force')).toMatchObject({ exitCode: 0 })
    expect(repo.read('state.txt')).toBe('1\n1\n1\n1\n')
  })

  it('knows its own outs when a stage is replaced', async () => {
    const repo = await makeRepo({ 'in.txt': '1' }, { init: true, commit: true })
    await infer(repo, 'copy', '--', 'cp in.txt out.txt')
    expect(await infer(repo, '--force', 'copy', '--', 'cat in.txt > out.txt')).toMatchObject({
      deps: ['in.txt'],
      outs: ['out.txt'],
    })
  })

  it.runIf(findProgram('python3') !== undefined)('sees modules behind compiled files, and every process of a pool', async () => {
    const main = `import os, sys
from multiprocessing import Pool
import util
def work(i):
    os.chdir(os.path.join(sys.path[0], '..', 'out'))
    with open(f'part{i}.tmp', 'w') as f: f.write(util.name(i))
    os.rename(f'part{i}.tmp', f'part{i}')
if __name__ == '__main__':
    os.makedirs('out', exist_ok=True)
    with Pool(2) as pool: pool.map(work, range(3))
`
    const repo = await makeRepo(
      { 'src/main.py': main, 'src/util.py': 'def name(i): return str(i)\n' },
      { init: true, commit: true },
    )
    const compiled = await run('python3', ['-c', 'import util'], { cwd: repo.path('src'), env: repo.env })
    expect(compiled.exitCode).toBe(0)
    expect(await infer(repo, 'pool', '--', 'python3 src/main.py')).toMatchObject({ deps: ['src'], outs: ['out'], recorded: true })
    // The folder would change with what Python keeps in it.
    repo.write('.mlvignore', '')
    expect(await infer(repo, '--dry-run', '--force', 'pool', '--', 'python3 src/main.py')).toMatchObject({
      deps: ['src/main.py', 'src/util.py'],
    })
  })

  it.runIf(findProgram('make') !== undefined)('sees through make', async () => {
    const makefile = 'all.txt: a.txt b.txt\n\tcat a.txt b.txt > all.txt\n'
    const repo = await makeRepo({ Makefile: makefile, 'a.txt': 'a', 'b.txt': 'b' }, { init: true, commit: true })
    expect(await infer(repo, 'make', '--', 'make', '-s')).toMatchObject({
      deps: ['Makefile', 'a.txt', 'b.txt'],
      outs: ['all.txt'],
    })
  })

  it('only shows the stage with --dry-run', async () => {
    const repo = await makeRepo({ 'in.txt': '1' }, { init: true, commit: true })
    const { stdout } = await repo.mlv('stage', 'add', '--infer', '--dry-run', 'copy', '--', 'cp in.txt out.txt')
    expect(stdout).toBe('copy:\n  cmd: cp in.txt out.txt\n  deps:\n    - in.txt\n  outs:\n    - out.txt\n')
    expect([repo.exists('mlv.yaml'), repo.exists('mlv.lock'), repo.exists('out.txt')]).toEqual([false, false, true])
    expect(await repo.mlv('stage', 'add', '--dry-run', 'copy', '--', 'true')).toMatchObject({ exitCode: 2 })
  })

  it('writes no stage when anything is wrong, and runs nothing where that is known before', async () => {
    const yaml = 'stages:\n  a: {cmd: "echo 1 > a.txt", outs: [a.txt]}\n'
    const repo = await makeRepo({ 'mlv.yaml': yaml, 'raw.txt': '1' }, { init: true, commit: true })
    await repo.mlv('add', 'raw.txt')
    const refused = async (status: number, says: string, ...args: string[]) => {
      const result = await repo.mlv('stage', 'add', '--infer', ...args)
      expect(result).toMatchObject({ exitCode: status, stderr: expect.stringContaining(says) })
      expect(repo.read('mlv.yaml')).toBe(yaml)
    }
    await refused(8, 'The command failed, so stage "b" was not added: exit status 3', 'b', '--', 'exit 3')
    await refused(8, 'ended by SIGKILL', 'b', '--', 'kill -9 $$')
    await refused(2, 'There is a stage "a" already', 'a', '--', 'touch ran')
    await refused(2, 'may not be called "b c"', 'b c', '--', 'touch ran')
    await refused(2, 'is an out of stage', 'b', '-o', 'a.txt', '--', 'touch ran')
    await refused(2, 'runs in nowhere', 'b', '-w', 'nowhere', '--', 'touch ran')
    await refused(4, 'tracked by a pointer', 'b', '-o', 'raw.txt', '--', 'touch ran')
    expect(repo.exists('ran')).toBe(false)
  })

  it('writes no stage that wrote what another stage or a pointer has, and says how to get that back', async () => {
    const repo = await makeRepo({ 'raw/x': '1', 'raw.txt': '1' }, { init: true, commit: true })
    await repo.mlv('add', 'raw', 'raw.txt')
    await repo.mlv(
      'stage',
      'add',
      'a',
      '-o',
      'a.txt',
      '-o',
      'dir',
      '-m',
      'm.json',
      '--',
      'echo 1 > a.txt; mkdir dir; echo {} > m.json',
    )
    await repo.mlv('repro')
    const yaml = repo.read('mlv.yaml')
    for (const [status, command, says, owner] of [
      [2, 'echo 2 > a.txt', 'wrote a.txt, an out of stage "a" (mlv.yaml:5:9), so stage "b" was not added', 'a.txt'],
      [2, 'echo 2 > dir/new', 'wrote dir/new, in dir, an out of stage "a" (mlv.yaml:6:9), so', 'dir'],
      [4, 'echo 2 >> raw.txt', 'wrote raw.txt, which a pointer tracks, so', 'raw.txt'],
      [4, 'echo 2 > raw/x', 'wrote raw/x, in raw, which a pointer tracks, so', 'raw'],
    ] as const) {
      const result = await repo.mlv('stage', 'add', '--infer', 'b', '--', command)
      expect(result).toMatchObject({ exitCode: status, stderr: expect.stringContaining(`error: The command ${says}`) })
      const [, words] = /"mlv (checkout --force \S+)"/.exec(result.stderr)!
      expect(words).toBe(`checkout --force ${owner}`)
      expect(await repo.mlv(...words!.split(' '))).toMatchObject({ exitCode: 0 })
    }
    expect(repo.read('mlv.yaml')).toBe(yaml)
    expect([repo.read('a.txt'), repo.read('raw.txt'), repo.read('raw/x')]).toEqual(['1\n', '1', '1'])
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('knows what is written behind what was there, and what is removed unread, moved away, or read and removed', async () => {
    const repo = await makeRepo({ 'in.txt': '1', 'log.txt': '1\n', 'out/old': '1', moved: '1', eaten: '1' }, { init: true })
    const settled = async (name: string, command: string) => {
      const answer = await infer(repo, name, '--', command)
      return { outs: answer.outs, recorded: answer.recorded }
    }
    const kept = [{ 'log.txt': { persist: true } }]
    expect(await settled('log', 'echo 2 >> log.txt')).toEqual({ outs: kept, recorded: true })
    expect(await settled('fresh', 'rm -r out; mkdir out; cat in.txt > out/new')).toMatchObject({ recorded: true })
    expect(await settled('move', 'mv moved took')).toEqual({ outs: ['took'], recorded: false })
    expect(await settled('eat', 'cat eaten > ate; rm eaten')).toEqual({ outs: ['ate'], recorded: false })
  })

  it('leaves nothing behind in its folder, and does not wait for what a command leaves running', async () => {
    const repo = await makeRepo({ 'in.txt': '1' }, { init: true, commit: true })
    const result = await repo.mlv('stage', 'add', '--infer', 'copy', '--', 'cp in.txt out.txt; sleep 60 >/dev/null 2>&1 &')
    expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('it left processes running') })
    const group = /kill -- -(\d+)/.exec(result.stderr)?.[1]
    process.kill(-Number(group), 'SIGKILL')
    const left = await run('find', [repo.path('.git/mlv/state'), '-path', '*/trace/*'], { cwd: repo.dir, env: repo.env })
    expect(left.stdout).toBe('')
  })

  it('records no run whose out holds more than it wrote', async () => {
    const repo = await makeRepo({ 'out/old': '1' }, { init: true })
    const answer = await infer(repo, 'many', '--', 'for i in 1 2 3 4; do echo $i > out/$i; done')
    expect(answer).toMatchObject({ outs: ['out'], recorded: false })
    expect(repo.exists('mlv.lock')).toBe(false)
  })

  it('ends with the command when it is interrupted', async () => {
    const repo = await makeRepo({}, { init: true })
    const words = ['stage', 'add', '--infer', 'slow', '--', 'echo began; sleep 60; echo over > out.txt']
    const child = spawn(process.execPath, [BIN, ...words], { cwd: repo.dir, env: repo.env as NodeJS.ProcessEnv })
    child.stdout.once('data', () => child.kill('SIGINT'))
    expect(await new Promise((done) => child.once('close', done))).toBe(130)
    expect([repo.exists('mlv.yaml'), repo.exists('out.txt')]).toEqual([false, false])
  })

  it('notices where tracing is forbidden', async () => {
    const repo = await makeRepo({ 'in.txt': '1' }, { init: true, commit: true })
    // What is traced already cannot be traced again.
    const words = ['-f', '-o', '/dev/null', process.execPath, BIN]
    const result = await run('strace', [...words, 'stage', 'add', '--infer', 'copy', '--', 'cp in.txt out.txt'], {
      cwd: repo.dir,
      env: repo.env,
    })
    expect(result.stdout).toContain('note: only what it writes was seen')
    expect(result.stdout).toContain('strace may not trace here')
    expect(repo.read('mlv.yaml')).toContain('outs:\n      - out.txt')
  })
})

describe('stage add --infer without strace', () => {
  it('sees what is written, takes the files that the command names for deps, says so and records nothing', async () => {
    const files = {
      'make.sh': 'cat in.txt > out.txt; mkdir -p d; for i in 1 2; do echo $i > d/$i; done; rm old.txt\n',
      'in.txt': '1',
      'old.txt': '1',
    }
    const repo = await makeRepo(files, { init: true, commit: true })
    const env = { PATH: pathOf('cat', 'mkdir', 'rm') }
    const result = await repo.mlvWith({ env }, 'stage', 'add', '--infer', '--json', 'make', '--', 'sh make.sh')
    expect(result).toMatchObject({ exitCode: 0 })
    const answer = JSON.parse(result.stdout)
    expect(answer).toMatchObject({ deps: ['make.sh'], outs: ['d', 'out.txt'], seen: 'writes', recorded: false })
    expect(answer.notes[0]).toMatch(/^only what it writes was seen, .* strace is not on PATH/)
    expect(answer.notes[1]).toBe('it removed old.txt, which was there before')
    expect(repo.exists('mlv.lock')).toBe(false)
  })

  it('records the run where all that it wrote is new', async () => {
    const repo = await makeRepo({ 'make.sh': 'cat in.txt > out.txt\n', 'in.txt': '1' }, { init: true, commit: true })
    const env = { PATH: pathOf('cat') }
    const add = async (name: string, command: string) =>
      JSON.parse((await repo.mlvWith({ env }, 'stage', 'add', '--infer', '--json', name, '--', command)).stdout)
    expect(await add('make', 'sh make.sh')).toMatchObject({
      deps: ['make.sh'],
      outs: ['out.txt'],
      seen: 'writes',
      recorded: true,
    })
    expect((await repo.mlv('repro')).stdout).toBe('unchanged   make\n')
    repo.write('make.sh', 'cat in.txt in.txt > out.txt\n')
    expect((await repo.mlv('repro')).stdout).toContain('ran         make')
    repo.write('there.txt', 'x')
    expect(await add('more', 'echo 1 >> there.txt')).toMatchObject({ outs: ['there.txt'], recorded: false })
  })
})
