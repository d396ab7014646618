import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { groupRuns } from '../../src/base/process-group.ts'
import { until } from '../helpers/until.ts'

test('a group runs while anything of it does, also when its first process has ended', async () => {
  const child = spawn('/bin/sh', ['-c', 'sleep 300 & exit 0'], { detached: true, stdio: 'ignore' })
  const group = child.pid!
  onTestFinished(() => {
    if (groupRuns(group)) process.kill(-group, 'SIGKILL')
  })
  await once(child, 'exit')
  expect(groupRuns(group)).toBe(true)
  process.kill(-group, 'SIGKILL')
  await until(() => !groupRuns(group), 'the group has ended')
})

test.each([0, 1, -1, Number.NaN])('%s names no group that mlv could have started', (group) => {
  expect(groupRuns(group)).toBe(false)
})
