import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { oidOfFile } from '../../src/base/oid.ts'
import { listing } from '../helpers/listing.ts'
import { BIN, makeFolder, makeRepo } from '../helpers/repo.ts'
import { until } from '../helpers/until.ts'
import { killAfter } from './kill-after.ts'

/** Times a command is killed in each test. */
const KILLS = 6

function noise(bytes: number, seed: string): string {
  let text = ''
  for (let i = 0; text.length < bytes; i++) text += createHash('sha256').update(`${seed} ${i}`).digest('hex')
  return text.slice(0, bytes)
}

/** Many small files and a few large ones: enough work to be killed in. */
function manyFiles(): Record<string, string> {
  const files: Record<string, string> = {}
  for (let i = 0; i < 400; i++) files[`data/${i % 20}/file${i}`] = noise(500 + i, `small ${i}`)
  for (let i = 0; i < 4; i++) files[`data/large${i}`] = noise(3 << 20, `large ${i}`)
  return files
}

/** Milliseconds a whole run takes, so that kills can be spread over it. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Nothing in a store may carry a name that its bytes do not hash to. */
function checkStore(store: string): void {
  for (const kind of ['objects', 'packs'])
    for (const fan of existsSync(join(store, kind)) ? readdirSync(join(store, kind)) : [])
      for (const name of readdirSync(join(store, kind, fan))) expect(oidOfFile(join(store, kind, fan, name))).toBe(name)
  for (const name of existsSync(join(store, 'index')) ? readdirSync(join(store, 'index')) : [])
    expect(
      createHash('sha256')
        .update(readFileSync(join(store, 'index', name)))
        .digest('hex'),
    ).toBe(name.slice(0, 64))
}

const ok = { exitCode: 0, stderr: '' }

describe('kill -9, then the same command again', () => {
  it('add', async () => {
    const repo = await makeRepo(manyFiles(), { init: true })
    const before = listing(repo.path('data'))
    const whole = await timed(async () => {
      const trial = await makeRepo(manyFiles(), { init: true })
      expect(await trial.mlv('add', 'data')).toMatchObject(ok)
    })
    for (let i = 1; i <= KILLS; i++) {
      await killAfter(repo, (whole * i) / (KILLS + 1), 'add', 'data')
      checkStore(repo.path('.git/mlv/store'))
      // A pointer, once there, refers to objects that are there.
      if (repo.exists('data.mlv')) expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    }
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0 })
    rmSync(repo.path('data'), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject(ok)
    expect(listing(repo.path('data'))).toEqual(before)
  })

  it('checkout', async () => {
    const repo = await makeRepo(manyFiles(), { init: true })
    const before = listing(repo.path('data'))
    await repo.mlv('add', 'data')
    const empty = () => rmSync(repo.path('data'), { recursive: true, force: true })
    empty()
    const whole = await timed(() => repo.mlv('checkout'))
    empty()
    for (let i = 1; i <= KILLS; i++) {
      const killed = await killAfter(repo, (whole * i) / (KILLS + 1), 'checkout')
      // Without --force: what the killed one left is not mistaken for work.
      if (i % 2 === 0) {
        expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
        expect(listing(repo.path('data'))).toEqual(before)
        empty()
      } else if (!killed) empty()
    }
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0 })
    expect(listing(repo.path('data'))).toEqual(before)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    checkStore(repo.path('.git/mlv/store'))
  })

  it('push, then pull', async () => {
    const repo = await makeRepo(manyFiles(), { init: true })
    const before = listing(repo.path('data'))
    const remote = makeFolder().dir
    const spare = makeFolder().dir
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    await repo.mlv('remote', 'add', 'spare', spare, '--local')
    await repo.mlv('add', 'data')
    await repo.commit()
    const pushing = await timed(() => repo.mlv('push', '-r', 'spare'))
    for (let i = 1; i <= KILLS; i++) {
      await killAfter(repo, (pushing * i) / (KILLS + 1), 'push', '-r', 'origin')
      checkStore(remote)
    }
    expect(await repo.mlv('push', '-r', 'origin')).toMatchObject(ok)
    const clone = await repo.clone()
    await clone.mlv('remote', 'add', 'origin', remote, '--local')
    const pulling = await timed(async () => {
      const trial = await repo.clone()
      await trial.mlv('remote', 'add', 'origin', remote, '--local')
      expect(await trial.mlv('pull')).toMatchObject(ok)
    })
    for (let i = 1; i <= KILLS; i++) {
      await killAfter(clone, (pulling * i) / (KILLS + 1), 'pull')
      checkStore(clone.path('.git/mlv/store'))
    }
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0 })
    expect(listing(clone.path('data'))).toEqual(before)
    expect((await clone.mlv('status')).stdout).toBe('up to date\n')
  })

  it('the lock of a killed command is broken, and an interrupted one ends clean', async () => {
    const repo = await makeRepo(manyFiles(), { init: true })
    await repo.mlv('add', 'data')
    rmSync(repo.path('data'), { recursive: true })
    const child = spawn(process.execPath, [BIN, 'checkout'], {
      cwd: repo.dir,
      env: repo.env as NodeJS.ProcessEnv,
      stdio: 'ignore',
    })
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)))
    let hasEnded = false
    void ended.then(() => {
      hasEnded = true
    })
    // A process that has hardly begun would end by the signal itself.
    await until(() => hasEnded || repo.exists('.git/mlv/lock'), 'the checkout has the lock')
    child.kill('SIGINT')
    expect([0, 130]).toContain(await ended)
    expect(repo.exists('.git/mlv/lock')).toBe(false)
    expect(await repo.mlv('checkout', '--lock-timeout', '1')).toMatchObject({ exitCode: 0 })
  })
})
