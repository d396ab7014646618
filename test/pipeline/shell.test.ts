import { expect, test } from 'vitest'
import { createShell } from '../../src/pipeline/executor/shell.ts'

function isAlive(group: number): boolean {
  try {
    return process.kill(-group, 0)
  } catch {
    return false
  }
}

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
  // What was killed is collected a moment later.
  await expect.poll(() => isAlive(group), { timeout: 5000 }).toBe(false)
})
