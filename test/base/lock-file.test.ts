import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { acquireLock } from '../../src/base/lock-file.ts'
import { makeFolder } from '../helpers/repo.ts'
import { until } from '../helpers/until.ts'

const mine = { timeout: 0, command: 'mlv test' }

const owner = (pid: number) =>
  `${JSON.stringify({ pid, host: hostname(), command: 'mlv add', since: '2026-01-01T00:00:00.000Z', nonce: 'a' })}\n`

/** A process that has ended and that nobody collects. */
async function makeZombie(): Promise<number> {
  const child = spawn('/bin/sh', ['-c', 'sleep 600 & echo $!; exec sleep 600'], { stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const pid = await new Promise<number>((done) => child.stdout.once('data', (text) => done(Number(String(text)))))
  // The shell would collect it; what it becomes does not.
  await until(() => readFileSync(`/proc/${child.pid}/comm`, 'latin1') === 'sleep\n', 'the shell has become another program')
  process.kill(pid, 'SIGKILL')
  await until(() => /\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1')), 'the process has ended')
  return pid
}

it.runIf(process.platform === 'linux')('breaks the lock of an owner that has ended and was not collected', async () => {
  const path = join(makeFolder().dir, 'lock')
  writeFileSync(path, owner(await makeZombie()))
  const release = await acquireLock(path, mine)
  expect(JSON.parse(readFileSync(path, 'utf8')).pid).toBe(process.pid)
  release()
})

it('leaves the lock of another container that bears the same name: its numbers of processes are others', async () => {
  const path = join(makeFolder().dir, 'lock')
  const text = JSON.stringify({ ...JSON.parse(owner(2 ** 30)), machine: '00000000' })
  writeFileSync(path, text)
  await expect(acquireLock(path, mine)).rejects.toMatchObject({ code: 'LOCK_HELD', hint: expect.stringContaining('container') })
  expect(readFileSync(path, 'utf8')).toBe(text)
})

it('breaks the lock of an owner that ended, and that of one of whom only the name of the machine is known', async () => {
  const path = join(makeFolder().dir, 'lock')
  const release = await acquireLock(path, mine)
  const { machine } = JSON.parse(readFileSync(path, 'utf8'))
  release()
  for (const known of [machine, undefined]) {
    writeFileSync(path, JSON.stringify({ ...JSON.parse(owner(2 ** 30)), machine: known }))
    const give = await acquireLock(path, mine)
    give()
  }
})

it('waits for an owner that lives', async () => {
  const path = join(makeFolder().dir, 'lock')
  writeFileSync(path, owner(process.pid))
  await expect(acquireLock(path, mine)).rejects.toMatchObject({ code: 'LOCK_HELD', message: expect.stringContaining('mlv add') })
})

it.each(['null', '5', '{"pid":"x"}'])('names the file to delete when a lock says nothing: %j', async (text) => {
  const path = join(makeFolder().dir, 'lock')
  writeFileSync(path, text)
  await expect(acquireLock(path, mine)).rejects.toMatchObject({
    code: 'LOCK_HELD',
    hint: `If no mlv is at work here, delete ${path}.`,
  })
  expect(readFileSync(path, 'utf8')).toBe(text)
})

it.each(['', '\0\0\0\0', '{"pid'])('takes a lock whose text a crash of the machine has cut: %j', async (text) => {
  const path = join(makeFolder().dir, 'lock')
  writeFileSync(path, text)
  const release = await acquireLock(path, mine)
  expect(JSON.parse(readFileSync(path, 'utf8')).pid).toBe(process.pid)
  release()
  expect(readdirSync(dirname(path))).toEqual([])
})

it.runIf(process.platform === 'linux')(
  'takes the lock of an earlier start of the machine, whoever has its number now',
  async () => {
    const path = join(makeFolder().dir, 'lock')
    const boot = '00000000-0000-4000-8000-000000000000'
    writeFileSync(path, JSON.stringify({ ...JSON.parse(owner(process.pid)), boot }))
    const release = await acquireLock(path, mine)
    expect(JSON.parse(readFileSync(path, 'utf8')).boot).not.toBe(boot)
    release()
  },
)

it('deletes what processes that have ended left beside the lock, and nothing else', async () => {
  const { dir } = makeFolder()
  const path = join(dir, 'lock')
  const nonce = '0123456789abcdef'
  const left = [`lock.${nonce}`, 'lock.breaks-b', 'lock.breaks-b.breaks-c', 'lock.00000000000000aa']
  for (const name of left) writeFileSync(join(dir, name), name.endsWith('aa') ? '' : owner(2 ** 30))
  utimesSync(join(dir, left.at(-1)!), 1, 1)
  const kept = {
    'lock.fedcba9876543210': owner(process.pid),
    'lock.00000000000000bb': '',
    [`other.${nonce}`]: owner(2 ** 30),
    'lock.md': '',
  }
  for (const [name, text] of Object.entries(kept)) writeFileSync(join(dir, name), text)
  const release = await acquireLock(path, mine)
  release()
  expect(readdirSync(dir).sort()).toEqual(Object.keys(kept).sort())
})
