import { describe, expect, test } from 'vitest'
import { createRequester, inTime, type Verdict } from '../../src/transport/requester.ts'

const failing = (verdict: Verdict) => Object.assign(new Error(verdict), { verdict })
const judge = (error: unknown) => (error as { verdict: Verdict }).verdict

describe('a requester', () => {
  test('repeats after passing faults and overloads, and gives what final ones say', async () => {
    const requester = createRequester({ judge, most: 8 })
    for (const verdict of ['passing', 'overload', 'silence'] as const) {
      let tries = 0
      expect(
        await requester.send(async () => {
          if (++tries < 3) throw failing(verdict)
          return tries
        }, undefined),
      ).toBe(3)
    }
    let tries = 0
    const final = requester.send(async () => {
      tries++
      throw failing('final')
    }, undefined)
    await expect(final).rejects.toThrow('final')
    expect(tries).toBe(1)
  })

  test('gives up after its tries; sooner when no answer ever came', async () => {
    for (const [verdict, tries, expected] of [
      ['silence', 3, 3],
      ['silence', undefined, 4],
      ['passing', 5, 5],
      ['overload', 5, 5],
    ] as const) {
      const requester = createRequester({ judge, most: 8, tries })
      let count = 0
      const request = async () => {
        count++
        throw failing(verdict)
      }
      await expect(requester.send(request, undefined)).rejects.toThrow(verdict)
      expect(count).toBe(expected)
    }
  })

  test('gives a server that has never answered less time at first, and the usual time once it has', async () => {
    const requester = createRequester({ judge: () => 'silence', most: 8 })
    const limits: (number | undefined)[] = []
    const silent = async (limit: number | undefined) => {
      limits.push(limit)
      throw new DOMException('no answer in time', 'TimeoutError')
    }
    await expect(requester.send(silent, undefined)).rejects.toThrow('no answer in time')
    expect(limits).toEqual([4_000, 10_000, undefined])
    await requester.send(async (limit) => void limits.push(limit), undefined)
    await requester.send(async (limit) => void limits.push(limit), undefined)
    expect(limits.slice(3)).toEqual([4_000, undefined])
  })

  test('waits for the beginning of an answer alone, as long as it is told, and passes on what else ends it', async () => {
    const until = (signal: AbortSignal | undefined) =>
      new Promise<AbortSignal | undefined>((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(new Error('ended')), { once: true })
        if (!signal) resolve(signal)
      })
    await expect(inTime(1, undefined, until)).rejects.toMatchObject({ name: 'TimeoutError' })
    const mine = new AbortController()
    const waiting = inTime(60_000, mine.signal, until)
    mine.abort()
    await expect(waiting).rejects.toThrow('ended')
    expect(await inTime(undefined, undefined, until)).toBe(undefined)
    const answer = await inTime(1, undefined, async (signal) => signal)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(answer?.aborted).toBe(false)
  })

  test('waits as long as the server asks', async () => {
    const requester = createRequester({ judge, most: 8, askedPause: () => 400 })
    const started = performance.now()
    let tries = 0
    await requester.send(async () => {
      if (++tries === 1) throw failing('overload')
    }, undefined)
    expect(performance.now() - started).toBeGreaterThan(390)
  })

  test('halves the number of requests at once after an overload, and widens again with successes', async () => {
    const requester = createRequester({ judge, most: 64 })
    let open = 0
    let most = 0
    const request = async () => {
      most = Math.max(most, ++open)
      await new Promise((resolve) => setTimeout(resolve, 5))
      open--
    }
    const all = (count: number) => Promise.all(Array.from({ length: count }, () => requester.send(request, undefined)))
    await all(100)
    expect(most).toBe(requester.width >= 16 ? most : 0)
    expect(most).toBeLessThanOrEqual(64)
    const before = requester.width
    let refused = 0
    await requester.send(async () => {
      if (refused++ === 0) throw failing('overload')
    }, undefined)
    expect(requester.width).toBeLessThanOrEqual(Math.ceil(before / 2) + 1)
    most = 0
    const narrow = requester.width
    await all(narrow)
    expect(most).toBeLessThanOrEqual(narrow + 1)
    await all(300)
    expect(requester.width).toBeGreaterThan(narrow)
  })

  test('ends at once when it is aborted: while it pauses and while it waits for its turn', async () => {
    const requester = createRequester({ judge, most: 1, askedPause: () => 60_000 })
    const controller = new AbortController()
    const pausing = requester.send(async () => {
      throw failing('passing')
    }, controller.signal)
    const busy = requester.send(() => new Promise((resolve) => setTimeout(resolve, 50)), undefined)
    const waiting = requester.send(async () => {}, controller.signal)
    setTimeout(() => controller.abort(new Error('enough')), 10)
    await expect(pausing).rejects.toThrow('enough')
    await expect(waiting).rejects.toThrow('enough')
    await busy
    await requester.send(async () => {}, undefined)
  })
})
