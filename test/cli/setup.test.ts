import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BIN, makeFolder, makeRepo, run } from '../helpers/repo.ts'

describe('mlv init', () => {
  it('says what to do next, and that it was done already', async () => {
    const repo = await makeRepo()
    const first = await repo.mlv('init')
    expect(first.exitCode).toBe(0)
    expect(first.stdout).toContain('git add .mlv/config .mlvignore\n')
    expect(first.stdout).toContain('mlv remote add origin')
    expect(await repo.mlv('init')).toMatchObject({
      exitCode: 0,
      stdout: `${repo.dir} is an mlv project already; nothing changed\n`,
    })
    expect(JSON.parse((await repo.mlv('init', '--json')).stdout)).toEqual({ root: repo.dir, created: false, written: [] })
    await repo.git('add', '.mlv/config', '.mlvignore')
    expect(await repo.git('status', '--porcelain')).toBe('A  .mlv/config\nA  .mlvignore')
  })
})

describe('mlv config', () => {
  it('sets, gets, lists with origin, unsets', async () => {
    const repo = await makeRepo({}, { init: true })
    expect((await repo.mlv('config', 'get', 'core.jobs')).exitCode).toBe(1)
    await repo.mlv('config', 'set', 'core.jobs', '3')
    await repo.mlv('config', 'set', 'core.jobs', '4', '--user')
    await repo.mlv('config', 'set', 'cache.link', 'hardlink,copy', '--local')
    expect((await repo.mlv('config', 'list', '--show-origin')).stdout).toBe(
      [
        'cache.link         hardlink, copy  local: .git/mlv/config',
        'core.autostage     false           default',
        'core.jobs          3               project: .mlv/config',
        'core.lock_timeout  30              default',
        'core.trust_ctime   true            default',
        'repro.undeclared   warn            default',
        '',
      ].join('\n'),
    )
    expect((await repo.mlv('config', 'get', 'core.jobs', '--user')).stdout).toBe('4\n')
    expect(await repo.mlv('config', 'unset', 'core.jobs')).toMatchObject({ exitCode: 0 })
    expect((await repo.mlv('config', 'get', 'core.jobs')).stdout).toBe('4\n')
    expect((await repo.mlvWith({ env: { MLV_JOBS: '9' } }, 'config', 'get', 'core.jobs', '--json')).stdout).toContain(
      '"from": "MLV_JOBS"',
    )
    expect((await repo.mlv('config', 'unset', 'core.jobs')).exitCode).toBe(1)
  })

  it('keeps secrets out of git, and names the places where they may be', async () => {
    const repo = await makeRepo({}, { init: true })
    const refused = await repo.mlv('config', 'set', 'remotes.a.secret_access_key', 'geheim')
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toMatch(/AWS_SECRET_ACCESS_KEY.*profile.*--local/)
    expect(refused.stderr).not.toContain('geheim')
    expect((await repo.mlv('config', 'set', 'remotes.a.secret_access_key', 'geheim', '--local')).exitCode).toBe(0)
    expect((await repo.mlv('config', 'list')).stdout).not.toContain('geheim')
  })

  it('works for the user alone outside any repository', async () => {
    const repo = await makeRepo()
    const cwd = makeFolder().dir
    const mlv = (...args: string[]) => run(process.execPath, [BIN, ...args], { cwd, env: repo.env })
    expect((await mlv('config', 'set', 'core.jobs', '2', '--user')).exitCode).toBe(0)
    expect((await mlv('config', 'get', 'core.jobs')).stdout).toBe('2\n')
    expect((await mlv('config', 'set', 'core.jobs', '2')).exitCode).toBe(3)
  })

  it('says a broken file by line and column, in every command', async () => {
    const repo = await makeRepo({}, { init: true })
    repo.write('.mlv/config', 'core:\n  jobs: [1\n')
    for (const args of [['remote', 'list'], ['config', 'set', 'core.jobs', '2'], ['doctor']]) {
      const { stdout, stderr, exitCode } = await repo.mlv(...args)
      expect(stdout + stderr).toContain('.mlv/config:3:1')
      expect(exitCode).toBe(args[0] === 'doctor' ? 1 : 2)
    }
    expect(repo.read('.mlv/config')).toBe('core:\n  jobs: [1\n')
  })
})

describe('mlv remote', () => {
  it('adds, lists, chooses and removes', async () => {
    const repo = await makeRepo({}, { init: true })
    const added = await repo.mlv(
      'remote',
      'add',
      'origin',
      's3://bucket/p',
      '--endpoint',
      'http://localhost:9000',
      '--path-style',
    )
    expect(added.stdout).toBe(
      'origin → s3://bucket/p is now in .mlv/config, the default remote\nto share it: git add .mlv/config\n',
    )
    const disk = makeFolder().dir
    expect((await repo.mlv('remote', 'add', 'disk', disk)).stdout).toContain(
      `disk → ${disk} is now in .git/mlv/config\nit counts in this clone only`,
    )
    expect((await repo.mlv('remote', 'list')).stdout.split('\n').map((line) => line.split(/ +/))).toEqual([
      ['disk', disk, 'local'],
      ['origin', 's3://bucket/p', 'default'],
      [''],
    ])
    expect((await repo.mlv('remote', 'default', 'disk')).stdout).toContain('.git/mlv/config')
    expect((await repo.mlv('remote', 'default')).stdout).toBe('disk\n')
    expect((await repo.mlv('remote', 'default', 'origin')).stdout).toBe(
      'origin is the default remote of .mlv/config now; here disk stays the default remote, by .git/mlv/config\n',
    )
    expect((await repo.mlv('remote', 'add', 'other', 's3://bucket/q', '--default')).stdout).toBe(
      'other → s3://bucket/q is now in .mlv/config\nto share it: git add .mlv/config\nhere disk stays the default remote, by .git/mlv/config\n',
    )
    await repo.mlv('remote', 'remove', 'other')
    expect((await repo.mlv('remote', 'default', 'origin', '--local')).stdout).toBe(
      'origin is the default remote now, by .git/mlv/config\n',
    )
    expect((await repo.mlv('remote', 'default', 'disk')).stdout).toBe('disk is the default remote now, by .git/mlv/config\n')
    await repo.mlv('remote', 'default', 'origin')
    expect((await repo.mlv('remote', 'remove', 'disk')).stdout).toBe('disk is gone from .git/mlv/config\n')
    expect((await repo.mlv('remote', 'default')).stdout).toBe('origin\n')
    expect(await repo.mlv('remote', 'remove', 'disk')).toMatchObject({
      exitCode: 2,
      stderr: 'error: There is no remote "disk"\n  Remotes are: origin.\n',
    })
    expect(repo.read('.mlv/config')).toContain('path_style: true')
  })
})

describe('mlv doctor', () => {
  it('says what works, and exits 1 when something does not', async () => {
    const repo = await makeRepo({}, { init: true })
    const disk = makeFolder().dir
    await repo.mlv('remote', 'add', 'disk', disk)
    const well = await repo.mlv('doctor')
    expect(well.exitCode).toBe(0)
    for (const subject of ['node', 'git', 'project', 'links', 'cache', 'remote disk'])
      expect(well.stdout).toMatch(new RegExp(`^ok +${subject} `, 'm'))
    writeFileSync(`${disk}/mlv.json`, '{broken')
    const ill = await repo.mlv('doctor', '--json')
    expect(ill.exitCode).toBe(1)
    expect((JSON.parse(ill.stdout) as { subject: string; state: string }[]).find(({ state }) => state === 'error')?.subject).toBe(
      'remote disk',
    )
    const without = await repo.mlvWith({ env: { PATH: '/nowhere' } }, 'doctor')
    expect(without.stdout).toMatch(/^note +git +none on PATH/m)
    const installed = await (await makeRepo()).mlv('doctor')
    expect(installed).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^note +project +There is no mlv project/m) })
  })

  it('gives the reason why a bucket cannot be reached', async () => {
    const repo = await makeRepo({}, { init: true })
    await repo.mlv('remote', 'add', 'origin', 's3://bucket/p', '--endpoint', 'http://127.0.0.1:9', '--region', 'us-east-1')
    const env = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' }
    const { stdout, stderr, exitCode } = await repo.mlvWith({ env }, 'doctor')
    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/^FAULT +remote origin +.*127\.0\.0\.1:9/m)
    expect(stderr).toBe('')
  })
})

describe('mlv completion', () => {
  async function complete(line: string): Promise<string[]> {
    const repo = await makeRepo()
    const script = await repo.mlv('completion', 'bash')
    expect(script.exitCode).toBe(0)
    repo.write('complete.bash', script.stdout)
    const words = line.split(' ')
    const program = `source ./complete.bash; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _mlv; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout, stderr } = await run('bash', ['--norc', '-euc', program], { cwd: repo.dir, env: repo.env })
    expect(stderr).toBe('')
    return stdout.split('\n').filter(Boolean)
  }

  it('gives bash commands, sub-commands and options', async () => {
    expect(await complete('mlv rem')).toContain('remote')
    expect(await complete('mlv remote ')).toEqual(['add', 'list', 'modify', 'remove', 'default'])
    expect(await complete('mlv -C add remote mo')).toEqual(['modify'])
    expect(await complete('mlv remote add --reg')).toEqual(['--region'])
    expect(await complete('mlv config set --us')).toEqual(['--user'])
    expect(await complete('mlv init --sub')).toEqual(['--subdir'])
    expect(await complete('mlv remote add --region --')).toEqual([])
    expect(await complete('mlv add -- --')).toEqual([])
  })

  it.each(['zsh', 'fish'])('is a script that %s can read, where it is installed', async (shell) => {
    const repo = await makeRepo()
    const { stdout, exitCode } = await repo.mlv('completion', shell)
    expect(exitCode).toBe(0)
    expect(stdout).toContain('remote')
    repo.write('script', stdout)
    const present = await run('bash', ['-c', `command -v ${shell}`], { cwd: repo.dir, env: repo.env })
    if (present.exitCode === 0)
      expect(await run(shell, ['-n', 'script'], { cwd: repo.dir, env: repo.env })).toMatchObject({ exitCode: 0, stderr: '' })
  })

  it('knows no other shell', async () => {
    expect((await (await makeRepo()).mlv('completion', 'tcsh')).stderr).toContain('bash, zsh, fish')
  })
})
