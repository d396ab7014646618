import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Limits, type Need, NO_NEED, schedule, type Work } from '../../src/pipeline/schedule.ts'

const LIMITS: Limits = { jobs: 4, cpus: 4, memory: 100, gpus: 1 }
const work = (name: string, after: string[] = [], need: Partial<Need> = {}): Work => ({
  name,
  after,
  need: { ...NO_NEED, ...need },
})

/** Runs works that each take some turns of the event loop, and writes down when each began and ended. */
async function play(works: Work[], limits: Limits, turns: (name: string) => number = () => 1) {
  const events: string[] = []
  await schedule(works, limits, async ({ name }) => {
    events.push(`+${name}`)
    for (let i = 0; i < turns(name); i++) await new Promise((done) => setImmediate(done))
    events.push(`-${name}`)
  })
  return events
}

it('keeps the given order with one job', async () => {
  expect(await play([work('a'), work('b', ['a']), work('c')], { ...LIMITS, jobs: 1 })).toEqual([
    '+a',
    '-a',
    '+b',
    '-b',
    '+c',
    '-c',
  ])
})

it('runs at once what waits for nothing, and after it what waits', async () => {
  const events = await play([work('a'), work('b'), work('c', ['a', 'b'])], LIMITS)
  expect(events.slice(0, 2)).toEqual(['+a', '+b'])
  expect(events.slice(-2)).toEqual(['+c', '-c'])
})

it('lets one holder of a name run at a time, and others meanwhile', async () => {
  const events = await play([work('a', [], { mutex: ['db'] }), work('b', [], { mutex: ['db'] }), work('c')], LIMITS)
  expect(events.slice(0, 2)).toEqual(['+a', '+c'])
  expect(events.indexOf('+b')).toBeGreaterThan(events.indexOf('-a'))
})

it('runs alone what needs more than there is', async () => {
  const events = await play([work('a'), work('big', [], { memory: 1000 }), work('c')], LIMITS)
  expect(events.indexOf('-big')).toBe(events.indexOf('+big') + 1)
})

it('starts nothing after a failure, and waits for what runs', async () => {
  const started: string[] = []
  let ended = false
  const run = schedule([work('a'), work('slow'), work('c', ['slow'])], LIMITS, async ({ name }) => {
    started.push(name)
    if (name === 'a') throw new Error('no')
    await new Promise((done) => setTimeout(done, 20))
    ended = true
  })
  await expect(run).rejects.toThrow('no')
  expect({ started, ended }).toEqual({ started: ['a', 'slow'], ended: true })
})

it('never goes over a limit, never before what it waits for, and leaves nothing out', async () => {
  const graph = fc.array(
    fc.record({ waits: fc.array(fc.nat(20)), cpus: fc.nat(6), mutex: fc.subarray(['x', 'y']), turns: fc.nat(3) }),
    {
      maxLength: 20,
    },
  )
  await fc.assert(
    fc.asyncProperty(graph, fc.integer({ min: 1, max: 5 }), async (nodes, jobs) => {
      const works = nodes.map(({ waits, cpus, mutex }, at) =>
        work(`${at}`, waits.filter((before) => before < at).map(String), { cpus, mutex }),
      )
      const events = await play(works, { ...LIMITS, jobs }, (name) => nodes[Number(name)]!.turns)
      const running = new Set<string>()
      const done = new Set<string>()
      for (const event of events) {
        const name = event.slice(1)
        const { after } = works[Number(name)]!
        if (event[0] === '-') {
          running.delete(name)
          done.add(name)
          continue
        }
        expect(after.every((before) => done.has(before))).toBe(true)
        running.add(name)
        expect(running.size).toBeLessThanOrEqual(jobs)
        const needs = [...running].map((one) => works[Number(one)]!.need)
        if (running.size > 1) expect(needs.reduce((sum, { cpus }) => sum + cpus, 0)).toBeLessThanOrEqual(LIMITS.cpus)
        const held = needs.flatMap(({ mutex }) => mutex)
        expect(new Set(held).size).toBe(held.length)
      }
      expect(done.size).toBe(works.length)
    }),
    { numRuns: 200 },
  )
})
