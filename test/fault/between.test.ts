import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { BIN, type CommandResult, makeRepo, type Repo } from '../helpers/repo.ts'

/** Starts a command that stops itself at a point. @returns once it has stopped: how to let it go on to its end */
async function startStopped(
  repo: Repo,
  point: string,
  ...args: string[]
): Promise<(...signals: NodeJS.Signals[]) => Promise<CommandResult>> {
  const env = { ...repo.env, MLV_FAULT: `stop:1@${point}` } as NodeJS.ProcessEnv
  const child = spawn(process.execPath, [BIN, ...args], { cwd: repo.dir, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = Promise.all([child.stdout.toArray(), child.stderr.toArray()])
  const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)))
  let hasEnded = false
  void ended.then(() => {
    hasEnded = true
  })
  const isStopped = () => /^\d+ \(.*\) T/s.test(readFileSync(`/proc/${child.pid}/stat`, 'latin1'))
  while (!hasEnded && !isStopped()) await sleep(10)
  if (hasEnded) throw new Error(`it ended before ${point}: ${await output}`)
  return async (...signals) => {
    for (const signal of [...signals, 'SIGCONT'] as const) child.kill(signal)
    const [exitCode, [stdout, stderr]] = await Promise.all([ended, output])
    return { exitCode: exitCode ?? -1, stdout: stdout.join(''), stderr: stderr.join('') }
  }
}

/** A tracked folder of which a newer version is checked out than the pointer's. */
async function outdated(): Promise<Repo> {
  const repo = await makeRepo({ 'data/a': 'old', 'data/gone': 'gone' }, { init: true })
  await repo.mlv('add', 'data')
  await repo.commit('old')
  repo.write('data/a', 'newer')
  repo.write('data/b', 'b')
  repo.write('data/c', 'c')
  rmSync(repo.path('data/gone'))
  await repo.mlv('add', 'data')
  await repo.commit('new')
  await repo.git('checkout', '-q', 'HEAD~1')
  return repo
}

describe.runIf(process.platform === 'linux')('between the plan of a checkout and its end', () => {
  it.each([
    ['a file that it would replace', 'data/a'],
    ['a file that it would delete', 'data/c'],
    ['a file where it would write one', 'data/gone'],
  ])('%s is written to, and kept', async (_what, path) => {
    const repo = await outdated()
    // data/b goes first; files are placed once folders are made.
    const goOn = await startStopped(repo, path === 'data/c' ? 'file: delete' : 'folder: make', 'checkout')
    repo.write(path, 'work')
    const { exitCode, stderr } = await goOn()
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 4, stderr: expect.stringContaining(`${path} was `) })
    expect(repo.read(path)).toBe('work')
    // Now it is seen, and refused or passed over as any work.
    await repo.mlv('checkout')
    expect(repo.read(path)).toBe('work')
    expect(await repo.mlv('checkout', '--force')).toMatchObject({ exitCode: 0 })
    expect(repo.read('data/a')).toBe('old')
  })
})

describe.runIf(process.platform === 'linux')('a status that is slow to write down what it saw', () => {
  it('does not undo what an add has recorded meanwhile', async () => {
    const repo = await makeRepo({ 'data/a': 'a' }, { init: true })
    await repo.mlv('add', 'data')
    repo.write('data/b', 'b')
    writeFileSync(repo.path('data/a'), 'newer')
    const goOn = await startStopped(repo, 'text: name', 'status')
    const adding = repo.mlv('add', 'data')
    // The add has ended, or waits for the other one's rows.
    await Promise.race([adding, sleep(1500)])
    expect(await goOn()).toMatchObject({ exitCode: 0 })
    expect(await adding).toMatchObject({ exitCode: 0 })
    rmSync(repo.path('data/b'))
    // Only what is known to have been here counts as deleted.
    expect((await repo.mlv('status')).stdout).toMatch(/deleted|−1/)
  })
})

describe.runIf(process.platform === 'linux')('a collection between what an import has stored and its pointer', () => {
  it('is seen: what the cache had, and has no longer, is stored again', async () => {
    const source = await makeRepo({ 'data/known': 'known here', 'data/new': 'new' }, { init: true })
    await source.mlv('add', 'data')
    await source.commit()
    const here = await makeRepo({ known: 'known here' }, { init: true })
    await here.mlv('add', 'known')
    rmSync(here.path('known.mlv'))
    // Before the index of what was missing: then it knows what the cache has.
    const goOn = await startStopped(here, 'blob: name', 'import', source.dir, 'data')
    expect(await here.mlv('gc', '--yes', '--grace', '0')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('deleted'),
    })
    expect(await goOn()).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await here.mlv('fsck', '--read-data')).toMatchObject({ exitCode: 0 })
    expect(here.read('data/known')).toBe('known here')
  })
})

describe.runIf(process.platform === 'linux')('a second signal', () => {
  it.each(['object: write', 'object: flush', 'blob: flush'])(
    'at %s ends an add at once, and nothing half-written stays',
    async (point) => {
      const repo = await makeRepo({ large: Buffer.alloc(20 << 20, 'x'), small: 's' }, { init: true })
      const goOn = await startStopped(repo, point, 'add', 'large', 'small')
      expect(readdirSync(repo.path('.git/mlv/store/tmp'))).not.toEqual([])
      expect(await goOn('SIGINT', 'SIGTERM')).toMatchObject({ exitCode: 130, stdout: '' })
      expect(readdirSync(repo.path('.git/mlv/store/tmp'))).toEqual([])
      expect((await repo.mlv('add', 'large', 'small')).exitCode).toBe(0)
      expect((await repo.mlv('fsck', '--read-data')).exitCode).toBe(0)
    },
  )
})
