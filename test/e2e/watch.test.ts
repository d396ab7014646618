import { spawn } from 'node:child_process'
import { expect, it } from 'vitest'
import { BIN, makeRepo } from '../helpers/repo.ts'
import { until } from '../helpers/until.ts'

it('runs again when an input changes, goes on after an error, and ends with Ctrl-C', async () => {
  const repo = await makeRepo(
    { 'mlv.yaml': 'stages:\n  copy: {cmd: cp in.txt out.txt, deps: [in.txt], outs: [out.txt], speed: 3}\n', 'in.txt': '1\n' },
    { init: true },
  )
  const child = spawn(process.execPath, [BIN, 'repro', '--watch'], {
    cwd: repo.dir,
    env: repo.env as NodeJS.ProcessEnv,
    stdio: 'pipe',
  })
  let text = ''
  child.stdout.on('data', (bytes) => (text += bytes))
  child.stderr.on('data', (bytes) => (text += bytes))
  const ended = new Promise<number | null>((done) => child.once('exit', done))
  /** Until it has watched that often, and says so. */
  const watching = async (times: number, what: string) => {
    await until(() => text.split('watching 2 paths').length > times && text.includes(what), `it says ${what}`)
  }
  try {
    await watching(1, 'ran         copy')
    repo.write('in.txt', '2\n')
    await watching(2, 'in.txt changed')
    expect(repo.read('out.txt')).toBe('2\n')
    expect(text.split('unknown key "speed"')).toHaveLength(3)
    repo.write('mlv.yaml', 'stages: {')
    await watching(2, 'error: mlv.yaml')
  } finally {
    child.kill('SIGINT')
  }
  expect(await ended).not.toBe(2)
})
