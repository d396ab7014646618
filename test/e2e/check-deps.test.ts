import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeFolder, makeRepo } from '../helpers/repo.ts'
import { findProgram } from '../helpers/server-process.ts'
import { straceProblem } from '../helpers/strace.ts'

const FILES = {
  'src/train.sh': '. src/util.sh; cat data.txt > model.bin; echo ran >> log.txt; rm -f old.txt\n',
  'src/util.sh': '\n',
  'data.txt': '1\n',
  'old.txt': '',
  'README.md': '',
  'mlv.yaml': `stages:
  train: {cmd: sh src/train.sh, deps: [src/train.sh, data.txt, README.md], outs: [model.bin]}
  score: {cmd: cat model.bin > score.txt, deps: [model.bin], metrics: [score.txt]}
`,
}

const FILES_OF_J: Record<string, string> = { 'a.in': '1', 'b.in': '2', 'c.in': '3', 'shared.in': 's' }

describe.skipIf(straceProblem() !== undefined)('repro --check-deps', () => {
  it('names what a stage uses without declaring it, and what it declares in vain', async () => {
    const repo = await makeRepo(FILES, { init: true, commit: true })
    const result = await repo.mlv('repro', '--check-deps')
    expect(result).toMatchObject({
      exitCode: 0,
      stderr: `warning: train reads src/util.sh without declaring it
warning: train writes log.txt without declaring it
warning: train removes old.txt without declaring it
`,
    })
    expect(result.stdout).toContain('note: train declares README.md and does not read it\n')
    expect(await repo.mlv('repro', '--check-deps')).toMatchObject({
      stdout: 'unchanged   train\nunchanged   score\n',
      stderr: '',
    })
    const again = await repo.mlv('repro', '--check-deps', '--force', '--json')
    expect(JSON.parse(again.stdout).stages).toMatchObject([
      {
        stage: 'train',
        check: { undeclared: { reads: ['src/util.sh'], writes: ['log.txt'], removes: [] }, unread: ['README.md'], whole: true },
      },
      { stage: 'score', check: { undeclared: { reads: [], writes: [], removes: [] }, unread: [], whole: true } },
    ])
  })

  it('fails the stage where the setting says so: earlier outs are back, nothing is recorded', async () => {
    const repo = await makeRepo(FILES, { init: true, commit: true })
    await repo.mlv('repro')
    const lock = repo.read('mlv.lock')
    await repo.mlv('config', 'set', 'repro.undeclared', 'error')
    repo.write('data.txt', '2\n')
    const failed = await repo.mlv('repro', '--check-deps')
    expect(failed).toMatchObject({
      exitCode: 8,
      stderr: expect.stringContaining(
        'error: Stage "train" reads src/util.sh, and writes log.txt without declaring it (mlv.yaml:2:3)',
      ),
    })
    expect(failed.stderr).toContain('Its earlier outs are in place')
    expect([repo.read('model.bin'), repo.read('mlv.lock')]).toEqual(['1\n', lock])
    repo.write(
      'mlv.yaml',
      FILES['mlv.yaml'].replace('README.md', 'src').replace('outs: [model.bin]', 'outs: [model.bin, {log.txt: {persist: true}}]'),
    )
    expect(await repo.mlv('repro', '--check-deps')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('model.bin')).toBe('2\n')
  })

  it('runs what the run cache knows, and keeps the stages of -j apart', async () => {
    const cmd = (name: string) => `"cat ${name}.in shared.in > ${name}.out; sleep 0.3"`
    const stage = (name: string) => `  ${name}: {cmd: ${cmd(name)}, deps: [${name}.in], outs: [${name}.out]}\n`
    const yaml = `stages:\n${['a', 'b', 'c'].map(stage).join('')}`
    const repo = await makeRepo({ ...FILES_OF_J, 'mlv.yaml': yaml }, { init: true, commit: true })
    await repo.mlv('repro')
    for (const name of ['a', 'b', 'c']) repo.write(`${name}.in`, 'other')
    await repo.mlv('repro')
    for (const name of ['a', 'b', 'c']) repo.write(`${name}.in`, FILES_OF_J[`${name}.in`]!)
    const { stdout, stderr } = await repo.mlv('repro', '--check-deps', '-j', '3')
    expect(stdout).not.toContain('restored')
    expect(stderr.split('\n').sort()).toEqual([
      '',
      'warning: a reads shared.in without declaring it',
      'warning: b reads shared.in without declaring it',
      'warning: c reads shared.in without declaring it',
    ])
  })

  it('watches every datum of a map stage', async () => {
    const yaml = `stages:
  up: {each: {input: in, glob: "*.txt"}, cmd: "cat {in} extra.txt > {out}/$(basename {in})", outs: [out]}
`
    const repo = await makeRepo(
      { 'mlv.yaml': yaml, 'in/a.txt': 'a', 'in/b.txt': 'b', 'extra.txt': 'x' },
      { init: true, commit: true },
    )
    expect(await repo.mlv('repro', '--check-deps', '-j', '2')).toMatchObject({
      exitCode: 0,
      stderr: 'warning: up reads extra.txt without declaring it\n',
    })
    const env = { MLV_REPRO_UNDECLARED: 'error' }
    const failed = await repo.mlvWith({ env }, 'repro', '--check-deps', '--force')
    expect(failed).toMatchObject({ exitCode: 8, stderr: expect.stringContaining('reads extra.txt without declaring it') })
    expect(repo.read('out/a.txt')).toBe('ax')
  })

  it('counts a link into the cache as the file that it stands for', async () => {
    const yaml = 'stages:\n  copy: {cmd: cat data/a.txt link/b.txt > c.txt, deps: [data, link], outs: [c.txt]}\n'
    const repo = await makeRepo({ 'mlv.yaml': yaml, 'data/a.txt': 'a', 'real/b.txt': 'b' }, { init: true })
    symlinkSync('real', repo.path('link'))
    await repo.mlv('config', 'set', 'cache.link', 'symlink')
    await repo.mlv('add', 'data')
    expect(await repo.mlv('repro', '--check-deps')).toMatchObject({ exitCode: 0, stderr: '' })
  })
})

describe('repro --check-deps without strace', () => {
  it('says that it cannot see, and refuses where undeclared files are errors', async () => {
    const repo = await makeRepo({ 'mlv.yaml': 'stages:\n  a: {cmd: "echo 1 > a.txt", outs: [a.txt]}\n' }, { init: true })
    const { dir: PATH } = makeFolder()
    for (const name of ['sh', 'git']) symlinkSync(findProgram(name)!, join(PATH, name))
    const refused = await repo.mlvWith({ env: { PATH, MLV_REPRO_UNDECLARED: 'error' } }, 'repro', '--check-deps')
    expect(refused).toMatchObject({ exitCode: 8, stderr: expect.stringContaining('strace is not on PATH') })
    expect(repo.exists('a.txt')).toBe(false)
    const told = await repo.mlvWith({ env: { PATH } }, 'repro', '--check-deps')
    expect(told).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('warning: nobody can see') })
    expect(repo.exists('a.txt')).toBe(true)
    expect(await repo.mlv('repro', '--check-deps', '--dry-run')).toMatchObject({ exitCode: 2 })
  })
})
