import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createProgress, progressLine } from '../../src/cli/progress-bar.ts'

function terminal(isTTY: boolean) {
  const written: string[] = []
  return {
    written,
    stream: { isTTY, columns: 60, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream,
  }
}

describe('the progress line', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
  afterEach(() => void vi.useRealTimers())
  const pass = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds)

  it('says bytes, share, rate and time left, within the width', () => {
    const task = { name: 'push', done: 5 << 20, total: 20 << 20, started: 0, samples: [[0, 0]] as [number, number][] }
    expect(progressLine(task, 1000, 80)).toBe('push  5.0 MiB of 20 MiB (25 %)  5.0 MiB/s  3.0s left')
    expect(progressLine(task, 1000, 20).length).toBeLessThan(20)
    expect(progressLine({ ...task, total: 0 }, 1000, 80)).toBe('push  5.0 MiB  5.0 MiB/s')
  })

  it('is drawn on a terminal after a while, and taken away at the end', () => {
    const { written, stream } = terminal(true)
    const task = createProgress(stream).start('push', 100)
    task.advance(10)
    expect(written).toEqual([])
    pass(350)
    task.advance(10)
    task.advance(10)
    expect(written).toHaveLength(1)
    expect(written[0]).toContain('push')
    task.finish()
    task.finish()
    expect(written).toHaveLength(2)
    expect(written[1]).toBe('\r\u001b[K')
  })

  it('is silent elsewhere', () => {
    const { written, stream } = terminal(false)
    const task = createProgress(stream).start('push', 100)
    pass(350)
    task.advance(10)
    task.finish()
    expect(written).toEqual([])
  })
})
