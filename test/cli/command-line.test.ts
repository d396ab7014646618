import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/program.ts'
import { readVocabulary } from '../../src/cli/vocabulary.ts'
import { BIN, makeFolder, makeRepo, run } from '../helpers/repo.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

describe('help', () => {
  it('lists every command, and says its version', async () => {
    const repo = await makeRepo()
    const { stdout, exitCode } = await repo.mlv('--help')
    expect(exitCode).toBe(0)
    for (const [name, entry] of Object.entries(COMMANDS)) expect(stdout.includes(`  ${name} `)).toBe(!entry.hidden)
    expect((await repo.mlv('help')).stdout).toBe(stdout)
    for (const args of [['--version'], ['-V'], ['-q', '--version']])
      expect(await repo.mlv(...args)).toMatchObject({ exitCode: 0, stdout: `mlv ${version}\n`, stderr: '' })
    expect(await repo.mlv()).toMatchObject({ exitCode: 2, stdout: '', stderr: stdout })
  })

  it('of every command and sub-command ends with an example, and offers the options that all have', async () => {
    const vocabulary = await readVocabulary()
    const repo = await makeRepo()
    const lacking: string[] = []
    for (const { path, options } of vocabulary) {
      const { stdout, exitCode } = await repo.mlv(...path.split(' '), '--help')
      if (exitCode !== 0 || !stdout.includes(`Usage: mlv ${path}`) || !/\nExamples?:\n {2}\$ /.test(stdout)) lacking.push(path)
      for (const long of ['--directory', '--json', '--quiet', '--verbose', '--lock-timeout'])
        if (!options.some((option) => option.long === long)) lacking.push(`${path} ${long}`)
    }
    expect(lacking).toEqual([])
  })

  it('can be asked for in several ways', async () => {
    const repo = await makeRepo()
    const { stdout } = await repo.mlv('remote', 'add', '--help')
    for (const args of [
      ['help', 'remote', 'add'],
      ['remote', 'add', '-h'],
      ['--help', 'remote', 'add'],
    ])
      expect(await repo.mlv(...args)).toMatchObject({ exitCode: 0, stdout })
  })
})

describe('wrong use', () => {
  it.each([
    [['zebra'], 'There is no command "zebra"', 'mlv --help'],
    [['confg', 'list'], 'There is no command "confg"', 'Did you mean "mlv config"?'],
    [['commit', '-m', 'x'], 'There is no command "commit"', 'mlv add -u'],
    [['rm', 'data'], 'There is no command "rm"', 'Run "mlv remove"'],
    [['exp', 'run'], 'There is no command "exp run"', 'git switch -c exp/NAME'],
    [['exp'], '"mlv exp" needs one of: show', 'mlv exp show'],
    [['init', '--subdr'], "Unknown option '--subdr'", 'Did you mean "--subdir"?'],
    [['remote', 'ad', 'x'], "Unknown command 'ad'", 'Did you mean "add"?'],
    [['remote'], '"mlv remote" needs one of: add, list, modify, remove, default', 'mlv remote --help'],
    [['remote', 'add', 'x'], "Missing required argument 'url'", 'mlv remote add --help'],
    [['init', 'too', 'many'], 'Too many arguments', 'mlv init --help'],
    [['init', '-C'], "Option '-C, --directory <dir>' argument missing", 'mlv init --help'],
    [['-C', 'nowhere', 'init'], 'No such folder: nowhere', '-C'],
    [['-C', 'file', 'init'], 'file is not a folder', '-C'],
    [['init', '--lock-timeout', 'soon'], '--lock-timeout takes seconds, not "soon"', '60'],
    [['--quiet'], 'No command is given', 'mlv --help'],
    [['__proto__'], 'There is no command "__proto__"', 'mlv --help'],
  ])('%j exits 2 in one line with a hint', async (args, message, hint) => {
    const repo = await makeRepo({ file: '' })
    const plain = await repo.mlv(...args)
    expect(plain).toMatchObject({ exitCode: 2, stdout: '' })
    expect(plain.stderr.split('\n')[0]).toContain(`error: ${message}`)
    expect(plain.stderr.split('\n')[1]).toContain(hint)
    expect(plain.stderr.split('\n')).toHaveLength(3)
    const json = await repo.mlv(...args.filter((word) => word !== '--json'), ...(args.at(-1) === '-C' ? [] : ['--json']))
    if (args.at(-1) !== '-C')
      expect(JSON.parse(json.stderr)).toMatchObject({
        error: {
          code: expect.stringMatching(/^(USAGE|PATH_)/),
          message: expect.stringContaining(message),
          hint: expect.any(String),
        },
      })
    expect(repo.exists('.mlv')).toBe(false)
  })
})

describe('options of every command', () => {
  it('stand before, between and after', async () => {
    const repo = await makeRepo({}, { init: true })
    await repo.mlv('remote', 'add', 'a', 's3://bucket/p')
    mkdirSync(repo.path('sub'))
    const { stdout } = await repo.mlv('remote', 'list', '--json')
    expect(JSON.parse(stdout)).toEqual([{ name: 'a', url: 's3://bucket/p', default: true, origin: 'project' }])
    const outside = makeFolder().dir
    for (const args of [
      ['-C', repo.dir, '--json', 'remote', 'list'],
      ['remote', '-C', repo.dir, '--json', 'list'],
      ['remote', 'list', `--directory=${repo.dir}`, '--json'],
      ['--json', 'remote', `-C${repo.dir}`, 'list'],
    ])
      expect(await run(process.execPath, [BIN, ...args], { cwd: outside, env: repo.env })).toMatchObject({ exitCode: 0, stdout })
  })

  it('are values where a value is due', async () => {
    const repo = await makeRepo({}, { init: true })
    expect((await repo.mlv('config', 'set', 'mlflow.experiment', '-C')).exitCode).toBe(2)
    expect(await repo.mlv('config', 'set', 'mlflow.experiment', '--', '--json')).toMatchObject({
      exitCode: 0,
      stdout: 'mlflow.experiment is set in .mlv/config\n',
    })
    expect((await repo.mlv('config', 'get', 'mlflow.experiment')).stdout).toBe('--json\n')
    await repo.mlv('remote', 'add', 'a', 's3://bucket/p', '--region', '--json')
    expect((await repo.mlv('config', 'get', 'remotes.a.region')).stdout).toBe('--json\n')
  })

  it('--quiet leaves answers and errors', async () => {
    const repo = await makeRepo()
    expect(await repo.mlv('init', '--quiet')).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
    expect(await repo.mlv('-q', 'config', 'set', 'core.jobs', '3')).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
    expect((await repo.mlv('-q', 'config', 'get', 'core.jobs')).stdout).toBe('3\n')
    expect((await repo.mlv('-q', 'config', 'get', 'core.job')).stderr).toContain('Did you mean "core.jobs"?')
  })
})

describe('the streams', () => {
  it('a folder for caches that cannot be used costs nothing but time', async () => {
    const repo = await makeRepo({}, { init: true })
    repo.write('caches/mlv', 'no folder')
    const { exitCode, stderr } = await repo.mlvWith({ env: { XDG_CACHE_HOME: repo.path('caches') } }, 'status')
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  })

  it('a reader that closes early is no failure', async () => {
    const repo = await makeRepo({}, { init: true })
    const result = await run('bash', ['-c', `set -o pipefail; "${process.execPath}" "${BIN}" --help | head -n 1; echo "$?"`], {
      cwd: repo.dir,
      env: repo.env,
    })
    expect(result).toMatchObject({ stdout: 'Usage: mlv COMMAND [options]\n0\n', stderr: '' })
  })

  it.skipIf(!existsSync('/dev/full'))('an answer that cannot be written is one', async () => {
    const repo = await makeRepo()
    const result = await run('bash', ['-c', `"${process.execPath}" "${BIN}" version > /dev/full; echo "$?"`], {
      cwd: repo.dir,
      env: repo.env,
    })
    expect(result.stdout).toBe('9\n')
    expect(result.stderr).toContain('cannot be written')
  })

  it('names and foreign text cannot drive the terminal', async () => {
    const repo = await makeRepo()
    const { stderr } = await repo.mlv('config', 'get', 'core.\u001b]0;title\u0007')
    expect(stderr).not.toContain('\u001b')
    expect(stderr).toContain('\\x1b]0;title\\x07')
  })

  it('Ctrl-C ends with 130 and gives the lock back', async () => {
    const repo = await makeRepo({}, { init: true })
    repo.write(
      '.git/mlv/lock',
      JSON.stringify({
        pid: process.pid,
        host: (await import('node:os')).hostname(),
        command: 'mlv add',
        since: 'now',
        nonce: 'x',
      }),
    )
    // It would wait for an hour.
    const child = spawn(process.execPath, [BIN, 'config', 'set', 'core.jobs', '2', '--lock-timeout', '3600'], {
      cwd: repo.dir,
      env: repo.env as NodeJS.ProcessEnv,
    })
    const err: string[] = []
    const waiting = new Promise<void>((done) => child.stderr.on('data', (chunk) => done(void err.push(String(chunk)))))
    const ended = new Promise<number | null>((done) => child.on('close', (code) => done(code)))
    await waiting
    child.kill('SIGINT')
    expect(await ended).toBe(130)
    expect(readdirSync(repo.path('.git/mlv')).filter((name) => name.startsWith('lock.'))).toEqual([])
    expect(err.join('')).toContain('waiting for "mlv add"')
    expect(err.join('')).toContain('error: Interrupted')
    expect(repo.read('.mlv/config')).not.toContain('jobs')
  })
})

describe('places where mlv cannot work', () => {
  it('are named, with the command that helps', async () => {
    const { dir } = makeFolder()
    const repo = await makeRepo()
    const outside = await run(process.execPath, [BIN, 'init'], { cwd: dir, env: repo.env })
    expect(outside).toMatchObject({ exitCode: 3, stdout: '' })
    expect(outside.stderr).toContain('git init')
    const noProject = await repo.mlv('remote', 'list')
    expect(noProject.exitCode).toBe(3)
    expect(noProject.stderr).toContain('mlv init')
    const gone = await run('bash', ['-c', `mkdir gone && cd gone && rmdir ../gone && "${process.execPath}" "${BIN}" init`], {
      cwd: dir,
      env: repo.env,
    })
    expect(gone.exitCode).toBe(2)
    expect(gone.stderr).toBe('error: The current folder no longer exists\n  Change to another folder with "cd".\n')
  })
})
