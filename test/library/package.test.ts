import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'
import { findProgram } from '../helpers/server-process.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NODE = process.env.MLV_TEST_NODE || process.execPath
const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')

/** The block of docs/library.md that a comment gives this name. */
function fromGuide(name: string): string {
  const text = readFileSync(join(ROOT, 'docs', 'library.md'), 'utf8')
  const found = new RegExp(`^<!-- file ${name} -->\\n\`\`\`\\w+\\n([^]*?)^\`\`\`$`, 'm').exec(text)
  return found![1]!
}

describe('the npm package', () => {
  const { dir, cleanup } = makeFolder()
  const modules = join(dir, 'node_modules')

  beforeAll(async () => {
    const npm = join(dirname(process.execPath), 'npm')
    const env = { ...process.env, npm_config_update_notifier: 'false' }
    const packed = await run(npm, ['pack', '--ignore-scripts', '--silent', '--pack-destination', dir], { cwd: ROOT, env })
    expect(packed.exitCode, packed.stderr).toBe(0)
    writeFileSync(join(dir, 'package.json'), '{"private":true}')
    const args = [
      'install',
      '--offline',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--silent',
      `./${packed.stdout.trim().split('\n').at(-1)}`,
    ]
    const installed = await run(npm, args, { cwd: dir, env })
    expect(installed.exitCode, installed.stderr).toBe(0)
  })
  afterAll(cleanup)

  /** A project that can import what was installed. */
  async function project(): Promise<Repo> {
    const repo = await makeRepo(
      { 'data/points.csv': 'x,y\n0,1\n', 'metrics.json': '{"loss": 0.5}', 'mlv.yaml': 'metrics:\n  metrics.json: {}\n' },
      { init: true },
    )
    symlinkSync(modules, repo.path('node_modules'))
    repo.write('.git/info/exclude', 'node_modules\n')
    await repo.mlv('add', 'data')
    await repo.commit()
    return repo
  }

  const node = (repo: Repo, file: string) => run(NODE, [file], { cwd: repo.dir, env: repo.env })

  it('says what is wrong with what is given', async () => {
    const repo = await project()
    repo.write(
      'use.mjs',
      `import { openProject } from 'mlv'
       const project = await openProject()
       const told = (error) => console.log(error.name, error.code, error.hint)
       await project.add('data').catch(told)
       await project.push({ jobs: Number(undefined) }).catch(told)
       await project.add(['data'], { desc: 5 }).catch(told)
       await project.close()`,
    )
    expect((await node(repo, 'use.mjs')).stdout.split('\n')).toEqual([
      'MlvError USAGE Write ["data"] for the path data.',
      'MlvError USAGE Leave it out, or write for example 8.',
      'MlvError USAGE Write for example { desc: "ours" }.',
      '',
    ])
  })

  it('does what its guide shows', async () => {
    const repo = await project()
    repo.write('use.mjs', fromGuide('use-mlv.mjs'))
    expect(await node(repo, 'use.mjs')).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: [
        'data unchanged',
        '2 lines',
        '8 bytes',
        'data/points.csv 8',
        "{ 'metrics.json': { loss: 0.5 } }",
        'REMOTE_MISSING - Run "mlv remote add origin URL", with a folder or s3://BUCKET/PREFIX as URL.',
        '',
      ].join('\n'),
    })
  })

  it.skipIf(!findProgram('python3'))('is not needed from Python', async () => {
    const repo = await project()
    const bin = repo.path('../bin')
    mkdirSync(bin)
    writeFileSync(
      join(bin, 'mlv'),
      `#!/bin/sh\nexec ${JSON.stringify(NODE)} ${JSON.stringify(join(modules, 'mlv', 'bin', 'mlv.js'))} "$@"\n`,
      { mode: 0o755 },
    )
    repo.write('use.py', fromGuide('use_mlv.py'))
    const env = { ...repo.env, PATH: `${bin}${delimiter}${repo.env.PATH}` }
    expect(await run('python3', ['use.py'], { cwd: repo.dir, env })).toEqual({
      exitCode: 0,
      stderr: '',
      stdout: 'data/points.csv 8\nmetrics.json loss 0.5\n8 bytes\n',
    })
  })

  it('tells what was purged apart from what is missing', async () => {
    const repo = await project()
    await repo.mlv('remote', 'add', 'disk', repo.path('../disk'), '--local')
    await repo.mlv('push')
    await repo.mlv('purge', 'data/points.csv', '--all-commits', '--remote', 'disk', '--yes')
    repo.write(
      'use.mjs',
      `import { openProject } from 'mlv'
      const project = await openProject()
      for (const { missing, purged } of [await project.fetch(), await project.push({ revisions: ['HEAD'] })])
        console.log(missing.length, purged.map(({ path }) => path))
      await project.close()`,
    )
    expect(await node(repo, 'use.mjs')).toEqual({ exitCode: 0, stderr: '', stdout: "0 [ 'data' ]\n0 [ 'data' ]\n" })
  })

  it('sees what other programs have done since it was opened, and reads old revisions from a remote', async () => {
    const repo = await project()
    await repo.mlv('remote', 'add', 'disk', repo.path('../disk'), '--local')
    repo.write(
      'use.cjs',
      `const { openProject } = require('mlv')
      const { writeFileSync, rmSync } = require('node:fs')
      const text = async (project, ...args) => Buffer.from(await project.read(...args)).toString()
      ;(async () => {
        const project = await openProject()
        console.log(await text(project, 'data/points.csv'), await text(project, 'mlv.yaml', { revision: 'HEAD' }))
        const other = await openProject('data')
        writeFileSync('data/points.csv', 'new')
        writeFileSync('data/large', Buffer.alloc(3 << 20, 7))
        console.log((await project.status()).map((path) => path.state), (await other.add(['data'])).added[0].changed)
        console.log(await text(project, 'data/points.csv'), (await project.read('data/large')).length)
        console.log((await project.push()).missing)
        rmSync('.git/mlv/store', { recursive: true })
        console.log(await text(project, 'data/points.csv', { revision: 'HEAD' }))
        console.log((await project.pull({ force: true })).missing, (await project.status())[0].state)
        for (const path of ['data', 'nope', '../x', 'data/nope'])
          await project.read(path).catch((error) => console.log(error.code, error.hint !== undefined))
        await project.close()
        await other.close()
        await openProject('/').catch((error) => console.log(error.name, error.code))
      })()`,
    )
    const done = await node(repo, 'use.cjs')
    expect(done.stderr).toBe('')
    expect(done.stdout.split('\n')).toEqual([
      'x,y',
      '0,1',
      ' metrics:',
      '  metrics.json: {}',
      '',
      "[ 'modified' ] true",
      'new 3145728',
      '[]',
      'x,y',
      '0,1',
      '',
      '[] unchanged',
      'PATH_UNSUPPORTED true',
      'PATH_MISSING true',
      'PATH_INVALID true',
      'PATH_MISSING true',
      'MlvError GIT_MISSING',
      '',
    ])
  })

  it('reads a file that another program recorded since, though there is a remote', async () => {
    const repo = await project()
    await repo.mlv('remote', 'add', 'disk', repo.path('../disk'), '--local')
    repo.write('one', 'first')
    await repo.mlv('add', 'one')
    await repo.mlv('push')
    repo.write(
      'use.cjs',
      `const { openProject } = require('mlv')
      const { writeFileSync } = require('node:fs')
      ;(async () => {
        const project = await openProject()
        console.log(String(await project.read('one')))
        const other = await openProject()
        writeFileSync('one', 'second')
        await other.add(['one'])
        console.log(String(await project.read('one')))
        await Promise.all([project.close(), other.close()])
      })()`,
    )
    expect(await node(repo, 'use.cjs')).toEqual({ exitCode: 0, stderr: '', stdout: 'first\nsecond\n' })
  })

  it('answers all that is asked at once, though some of it is nowhere', async () => {
    const repo = await project()
    repo.write(
      'use.cjs',
      `const { openProject } = require('mlv')
      ;(async () => {
        const project = await openProject()
        for (let round = 0; round < 10; round++) {
          const names = ['nope', 'data/points.csv', 'nope', 'mlv.yaml', 'data/points.csv']
          const asked = names.map((path) => project.read(path, { revision: 'HEAD' }).then(() => 'read', (error) => error.code))
          console.log((await Promise.all(asked)).join(' '))
        }
        await project.close()
      })()`,
    )
    const answer = 'PATH_MISSING read PATH_MISSING read read\n'
    expect(await node(repo, 'use.cjs')).toEqual({ exitCode: 0, stderr: '', stdout: answer.repeat(10) })
  })

  it.each(['check.mts', 'check.cts'])('is typed for %s', async (name) => {
    const code = (wrong: string) => `
      import { MlvError, openProject, type ListedPath, type Project } from 'mlv'
      export async function sizes(folder: string): Promise<number[]> {
        const project: Project = await openProject(folder, { onWarning: (line) => line.length })
        const rows: ListedPath[] = await project.list('data', { revision: 'main', recursive: true })
        const bytes: Uint8Array = await project.read('data/a')
        for await (const piece of project.stream('data/a')) bytes.set(piece)
        const loss = (await project.metrics())['metrics.json']?.loss
        if (typeof loss === 'number') rows.push({ path: '', kind: 'file', size: loss })
        const { missing } = await project.pull({ paths: ['data'], force: true })
        ${wrong}
        await project.close()
        return [...rows, ...missing].map((row) => row.size)
      }
      export const codeOf = (error: unknown): string | undefined => (error instanceof MlvError ? error.code : undefined)
    `
    const check = async (wrong: string) => {
      writeFileSync(join(dir, name), code(wrong))
      const options = [
        '--noEmit',
        '--strict',
        '--module',
        'nodenext',
        '--target',
        'es2022',
        '--lib',
        'es2023',
        '--types',
        '',
        name,
      ]
      return run(process.execPath, [TSC, ...options], { cwd: dir, env: process.env })
    }
    expect(await check('')).toMatchObject({ exitCode: 0, stdout: '' })
    expect((await check('project.pull({ path: 1 })')).stdout).toContain('path')
  })
})
