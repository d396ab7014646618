import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createShell } from '../../src/pipeline/executor/shell.ts'
import { makeFolder } from '../helpers/repo.ts'
import { until } from '../helpers/until.ts'

test('a command whose process group cannot be noted never begins', async () => {
  const cwd = makeFolder().dir
  const running = createShell().run({
    command: 'touch begun; sleep 60',
    shell: '',
    cwd,
    env: process.env,
    onStart() {
      // Time enough to begin, were it not held back.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      throw new Error('no room to note it')
    },
    onOutput: () => {},
  })
  await expect(running).rejects.toThrow('no room to note it')
  await pause(20)
  expect(existsSync(join(cwd, 'begun'))).toBe(false)
})

test.runIf(existsSync('/proc/self/fd'))('a command that has ended leaves nothing open', async () => {
  const shell = createShell()
  const run = () => shell.run({ command: ':', shell: '', cwd: '/', env: process.env, onOutput: () => {} })
  const count = () => readdirSync('/proc/self/fd').length
  await run()
  const before = count()
  for (let i = 0; i < 30; i++) expect(await run()).toEqual({ kind: 'done' })
  await until(() => count() < before + 10, 'the descriptors of 30 commands are closed')
})
