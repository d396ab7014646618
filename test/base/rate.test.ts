import { describe, expect, test } from 'vitest'
import { createRate, parseRate } from '../../src/base/rate.ts'

describe('a rate', () => {
  test.each([
    ['10M', 10 << 20],
    ['500k', 500 << 10],
    ['1.5G', 1.5 * 2 ** 30],
    ['10MiB/s', 10 << 20],
    ['10MB', 10 << 20],
    ['4096', 4096],
  ])('%s is %i bytes per second', (text, bytes) => expect(parseRate(text)).toBe(bytes))

  test.each(['', '0', '100', '4095', '-1M', '10X', 'fast', '1e9', '10 M M', '99999999999999T'])('"%s" is none', (text) =>
    expect(parseRate(text)).toBeUndefined(),
  )

  test('is shared by all who take from it, and never exceeded', async () => {
    let time = 0
    const rate = createRate(1 << 20, () => time)
    const started = performance.now()
    // 48 KiB at 1 MiB/s, by a clock that stands still: each taker waits behind the ones before.
    await Promise.all([16, 16, 16].map((kib) => rate.take(kib << 10)))
    expect(performance.now() - started).toBeGreaterThan(40)
    time = 1000
    // What was not used meanwhile is not saved up.
    const again = performance.now()
    await rate.take(32 << 10)
    expect(performance.now() - again).toBeGreaterThan(25)
  })

  test('ends its wait when it is aborted', async () => {
    const controller = new AbortController()
    const waiting = createRate(4096).take(1 << 30, controller.signal)
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })
})
