/** What one piece of work takes while it runs. */
export interface Need {
  /** cores */
  cpus: number
  /** bytes */
  memory: number
  gpus: number
  /** names of which one holder runs at a time */
  mutex: string[]
}

/** What there is. */
export interface Limits {
  /** pieces at once */
  jobs: number
  cpus: number
  memory: number
  gpus: number
}

export interface Work {
  name: string
  /** names of what must be done before; those that are not scheduled count as done */
  after: readonly string[]
  need: Need
}

export const NO_NEED: Need = { cpus: 0, memory: 0, gpus: 0, mutex: [] }
const AMOUNTS = ['cpus', 'memory', 'gpus'] as const

/** Runs each piece once all before it are done: in the given order where it is free to choose, as many at once as the limits allow. What needs
 *  more than there is runs alone. The first failure keeps the rest from starting, and is thrown once what runs has ended. */
export async function schedule<W extends Work>(
  works: readonly W[],
  limits: Limits,
  run: (work: W) => Promise<void>,
): Promise<void> {
  const index = new Map(works.map((work, at) => [work.name, at]))
  const waits = works.map((work) => new Set(work.after.filter((name) => index.has(name))).size)
  const next: number[][] = works.map(() => [])
  for (const [at, work] of works.entries())
    for (const name of new Set(work.after)) {
      const before = index.get(name)
      if (before !== undefined) next[before]!.push(at)
    }
  const ready = waits.flatMap((count, at) => (count === 0 ? [at] : []))
  const running = new Set<Promise<void>>()
  const used = { cpus: 0, memory: 0, gpus: 0 }
  const held = new Set<string>()
  let failure: { error: unknown } | undefined

  const fits = ({ need }: W) =>
    running.size === 0 ||
    (running.size < limits.jobs &&
      AMOUNTS.every((amount) => used[amount] + need[amount] <= limits[amount] || used[amount] + need[amount] === 0) &&
      !need.mutex.some((name) => held.has(name)))

  function start(at: number): void {
    const work = works[at]!
    for (const amount of AMOUNTS) used[amount] += work.need[amount]
    for (const name of work.need.mutex) held.add(name)
    const done: Promise<void> = run(work)
      .catch((error) => {
        failure ??= { error }
      })
      .then(() => {
        running.delete(done)
        for (const amount of AMOUNTS) used[amount] -= work.need[amount]
        for (const name of work.need.mutex) held.delete(name)
        for (const after of next[at]!) if (--waits[after]! === 0) insert(ready, after)
      })
    running.add(done)
  }

  for (;;) {
    for (let i = 0; i < ready.length && !failure && running.size < Math.max(1, limits.jobs); ) {
      if (fits(works[ready[i]!]!)) start(ready.splice(i, 1)[0]!)
      else i++
    }
    if (running.size === 0) break
    await Promise.race(running)
  }
  if (failure) throw failure.error
}

/** Keeps the numbers sorted. */
function insert(sorted: number[], value: number): void {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < value) low = middle + 1
    else high = middle
  }
  sorted.splice(low, 0, value)
}
