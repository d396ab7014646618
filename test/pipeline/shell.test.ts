import { expect, test } from 'vitest'
import { createShell } from '../../src/pipeline/executor/shell.ts'

test('a command whose process group cannot be noted does not go on', async () => {
  let group = 0
  const running = createShell().run({
    command: 'sleep 60',
    shell: '',
    cwd: '/',
    env: process.env,
    onStart(started) {
      group = started
      throw new Error('no room to note it')
    },
    onOutput: () => {},
  })
  await expect(running).rejects.toThrow('no room to note it')
  expect(() => process.kill(-group, 0)).toThrow('ESRCH')
})
