/** Runs `work` over `items`, at most `limit` at once. The first failure stops the taking of new items, waits for those under way, and is thrown.
 *  @returns results in the order of the items */
export async function mapBounded<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  let next = 0
  let failure: { error: unknown } | undefined
  // Takes are chained, because an async iterator may not be asked twice at once.
  let taking: Promise<unknown> = Promise.resolve()
  async function worker(): Promise<void> {
    for (;;) {
      const take = taking.then(() => (failure ? { done: true as const, value: undefined } : iterator.next()))
      taking = take.catch(() => {})
      const step = await take
      if (step.done || failure) return
      const index = next++
      try {
        results[index] = await work(step.value, index)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  const workers = Array.from({ length: Math.max(1, limit) }, () => worker())
  const settled = await Promise.allSettled(workers)
  if (failure) throw failure.error
  for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason
  return results
}

/** Lets one piece of work in at a time, in the order of asking. */
export type Turn = <T>(work: () => Promise<T>) => Promise<T>

export function createTurn(): Turn {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const mine = last.then(work, work)
    last = mine
    mine.catch(() => {})
    return mine
  }
}

/** Hands over what `produce` tells, as it is told. Throws what `produce` throws, after the rest was taken. */
export async function* told<T>(produce: (tell: (item: T) => void) => Promise<void>): AsyncGenerator<T> {
  const items: T[] = []
  let wake: (() => void) | undefined
  let ended = false
  const ring = () => {
    wake?.()
    wake = undefined
  }
  const work = produce((item) => {
    items.push(item)
    ring()
  }).finally(() => {
    ended = true
    ring()
  })
  work.catch(() => {})
  for (;;) {
    while (items.length > 0) yield items.shift()!
    if (ended) break
    await new Promise<void>((done) => {
      wake = done
    })
  }
  await work
}
