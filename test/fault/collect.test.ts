import { spawn } from 'node:child_process'
import { readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { BIN, makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'
import { pointedAt, unreadable } from './soundness.ts'

const NODE = process.env.MLV_TEST_NODE || process.execPath

async function ok(repo: Repo, ...args: string[]): Promise<string> {
  const result = await repo.mlv(...args)
  expect({ args, ...result }).toMatchObject({ args, exitCode: 0 })
  return result.stdout
}

/** Starts a command that halts before its first act of a name. @returns what lets it go on, and its end */
async function halted(
  repo: Repo,
  point: string,
  ...args: string[]
): Promise<() => Promise<{ exitCode: number; stderr: string }>> {
  const env = { ...repo.env, MLV_FAULT: `stop:1@${point}` } as NodeJS.ProcessEnv
  const child = spawn(NODE, [BIN, ...args], { cwd: repo.dir, env, stdio: ['ignore', 'ignore', 'pipe'] })
  const err: Buffer[] = []
  child.stderr.on('data', (chunk) => err.push(chunk))
  const end = new Promise<{ exitCode: number; stderr: string }>((done) =>
    child.on('close', (code) => done({ exitCode: code ?? -1, stderr: Buffer.concat(err).toString() })),
  )
  for (;;) {
    const { stdout } = await stateOf(child.pid!)
    if (stdout.startsWith('T')) break
    if (child.exitCode !== null) throw new Error(`${args.join(' ')} never came to "${point}": ${Buffer.concat(err)}`)
    await sleep(20)
  }
  return () => {
    child.kill('SIGCONT')
    return end
  }
}

async function stateOf(pid: number): Promise<{ stdout: string }> {
  const { run } = await import('../helpers/repo.ts')
  return run('ps', ['-o', 'stat=', '-p', String(pid)], { cwd: '/', env: process.env })
}

/** Lets days pass for all files of a folder. */
function pass(folder: string, days: number): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const time = statSync(path).mtimeMs / 1000 - days * 24 * 3600
    utimesSync(path, time, time)
  }
}

/** `old` and what it needs lies on the remote, and only a clone's work tree still refers to it. */
async function makeWorld(): Promise<{ repo: Repo; clone: Repo; remote: string }> {
  const remote = join(makeFolder().dir, 'remote')
  const repo = await makeRepo({ 'data/a': 'old a', 'data/b': 'old b' }, { init: true, commit: true })
  await ok(repo, 'remote', 'add', 'origin', remote, '--local')
  await ok(repo, 'add', 'data')
  await repo.commit('Data')
  await ok(repo, 'push')
  const clone = await repo.clone()
  await ok(clone, 'remote', 'add', 'origin', remote, '--local')
  await ok(clone, 'pull')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  clone.write('new', 'new')
  await ok(clone, 'add', 'new')
  return { repo, clone, remote }
}

describe.skipIf(process.platform === 'win32')('beside a collection', () => {
  it('a push that counted on what both passes delete sends it again', async () => {
    const { repo, clone, remote } = await makeWorld()
    const goOn = await halted(clone, 'blob: open', 'push')
    const done = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--grace', '0', '--force'))
    expect(done.done.deleted).toBeGreaterThan(0)
    expect(await goOn()).toEqual({ exitCode: 0, stderr: '' })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('a push beside the first pass sends again what was condemned, and the second pass leaves that', async () => {
    const { repo, clone, remote } = await makeWorld()
    pass(remote, 31)
    const goOn = await halted(clone, 'blob: open', 'push')
    const first = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force'))
    expect(first.condemn.packs).toBe(1)
    expect(await goOn()).toEqual({ exitCode: 0, stderr: '' })
    pass(remote, 31)
    const second = JSON.parse(await ok(clone, 'gc', '-r', '--yes', '--json', '--force'))
    expect(second.delete.packs).toBe(1)
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('a push beside the second pass finds what it needs condemned before, and sends it', async () => {
    const { repo, clone, remote } = await makeWorld()
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--yes', '--force')
    pass(remote, 31)
    const goOn = await halted(clone, 'blob: open', 'push')
    const second = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force'))
    expect(second.done.deleted).toBeGreaterThan(0)
    expect(await goOn()).toEqual({ exitCode: 0, stderr: '' })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('a collection that halts between its listing and its deletion takes nothing that was pushed meanwhile', async () => {
    const { repo, clone, remote } = await makeWorld()
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--yes', '--force')
    pass(remote, 31)
    const goOn = await halted(repo, 'blob: delete', 'gc', '-r', '--yes', '--force')
    await ok(clone, 'push')
    expect(await goOn()).toMatchObject({ exitCode: 0 })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('an add that counted on what is deleted from the cache stores it again before its pointer names it', async () => {
    const { clone } = await makeWorld()
    await clone.git('reset', '-q', '--hard', 'HEAD~1')
    await clone.git('clean', '-fdq', '-e', 'data')
    clone.write('data/c', 'new c')
    const goOn = await halted(clone, 'blob: open', 'add', 'data')
    const { done } = JSON.parse(await ok(clone, 'gc', '--yes', '--json', '--grace', '0', '--force'))
    expect(done.deleted).toBeGreaterThan(0)
    expect(await goOn()).toMatchObject({ exitCode: 0 })
    expect(clone.exists('data.mlv')).toBe(true)
    expect(await unreadable(clone.path('.git/mlv/store'), 'cache', await pointedAt(clone.dir))).toEqual([])
  })

  it('two collections at once leave what is needed', async () => {
    const { repo, clone, remote } = await makeWorld()
    await ok(clone, 'push')
    const results = await Promise.all(
      [repo, clone, clone].map((one) => one.mlv('gc', '-r', '--yes', '--grace', '0', '--force', '--projects', clone.dir)),
    )
    for (const result of results) expect(result).toMatchObject({ exitCode: 0 })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })
})
