import { writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { mapBounded } from '../../src/base/concurrency.ts'
import type { CommandResult, Repo } from '../helpers/repo.ts'
import { fillDisk, mountSmallDisk } from '../helpers/small-disk.ts'
import { diskState, statesAtPoints } from './disk-state.ts'
import { killAfter } from './kill-after.ts'
import { committedEntries, copyOf, expectChecked, pointsOf, runAgain, SCENES, type Scene, start, WHOLE } from './scenes.ts'
import { DAMAGED } from './scenes-damaged.ts'
import { ELSEWHERE } from './scenes-elsewhere.ts'
import { STAGED } from './scenes-stages.ts'
import { expectSound, faultsOfStore } from './soundness.ts'

/** Kills at moments that chance chooses. */
const RANDOM = 4
/** Size of a small disk, and KiB that are left on it. */
const DISK_MIB = 48
const LEFT = [0, 40]
/** So many worlds that ended like others are looked at all the same: the tables of file times are not compared. */
const ONE_IN = 5

/** A fault, and what a run that meets it says. */
interface Trial {
  fault: string
  run(scene: Scene, world: Repo): Promise<{ repo: Repo; result?: CommandResult }>
}

const atPoint = (fault: string): Trial => ({
  fault,
  async run(scene, world) {
    const repo = await copyOf(world, scene)
    return { repo, result: await repo.mlvWith({ env: { MLV_FAULT: fault } }, ...scene.args) }
  },
})

const killedAfter = (milliseconds: number): Trial => ({
  fault: `a kill after ${milliseconds} ms`,
  async run(scene, world) {
    const repo = await copyOf(world, scene)
    await killAfter(repo, milliseconds, ...scene.args)
    return { repo }
  },
})

const onSmallDisk = (kibibytes: number): Trial => ({
  fault: `a disk with ${kibibytes} KiB left`,
  async run({ args }, world) {
    let unmount: (() => void) | undefined
    const makeReady = (folder: string) => {
      unmount = mountSmallDisk(folder, DISK_MIB)
      if (unmount) onTestFinished(unmount)
    }
    const repo = await world.copy({ makeReady })
    if (!unmount) return { repo }
    const free = fillDisk(dirname(repo.dir), kibibytes)
    const result = await repo.mlv(...args)
    free()
    const cleanup = () => {
      unmount?.()
      repo.cleanup()
    }
    return { repo: { ...repo, cleanup }, result }
  },
})

/** What a command may say of a fault. */
function expectToldWell(fault: string, { exitCode, stderr }: CommandResult, usual = 0): void {
  const said = { fault, exitCode, stderr }
  if (fault.startsWith('kill')) expect(said).toMatchObject({ exitCode: -1, stderr: '' })
  // Some failures do no harm, such as that of noting what was seen. No other may be taken for a bug.
  else if (exitCode !== usual) {
    expect([7, 9], JSON.stringify(said)).toContain(exitCode)
    expect(stderr, JSON.stringify(said)).toMatch(/^(warning: .*\n.*)*error: .*(disk|Disk).*\n {2}\S/)
  }
}

/** Lets a command meet each fault in a copy of the world; then all that was committed is read, and the command is run again. */
async function tryEach(scene: Scene, world: Repo, trials: Trial[]): Promise<void> {
  const committed = await committedEntries(world)
  const endings = new Set<string>()
  await mapBounded(trials.entries(), 2, async ([number, { fault, run }]) => {
    const { repo, result } = await run(scene, world)
    const isSample = number % ONE_IN === 0
    const isKnown = () => {
      const ending = diskState(dirname(repo.dir))
      const before = endings.size
      return endings.add(ending).size === before && !isSample
    }
    try {
      if (result) expectToldWell(fault, result, scene.exitCode)
      if (scene.cacheLags && !scene.isDamaged) expect(faultsOfStore(repo.path('.git/mlv/store'))).toEqual([])
      if (!scene.cacheLags) await expectSound(repo.dir, committed)
      await scene.always?.(repo, committed)
      if (isSample && !scene.cacheLags) await expectChecked(repo)
      await runAgain(scene, repo, { isKnown })
    } catch (error) {
      throw new Error(`after ${fault}: ${(error as Error).message}`, { cause: error })
    }
    repo.cleanup()
  })
}

/** MLV_TEST_EVERY_POINT=1 tries all points, 2/3 only the second of each three and nothing else. */
const EVERY = process.env.MLV_TEST_EVERY_POINT
const [, PART, PARTS] = /^(\d+)\/(\d+)$/.exec(EVERY ?? '')?.map(Number) ?? []

/** Which points to die at: of those that leave the same on the disk, one, unless all are to be tried. */
async function chosen(scene: Scene, world: Repo, points: readonly string[]): Promise<number[]> {
  if (PART !== undefined && PARTS !== undefined) return [...points.keys()].filter((i) => i % PARTS === PART % PARTS)
  const repo = await copyOf(world, scene)
  const states = EVERY ? undefined : await statesAtPoints(repo, scene.args)
  repo.cleanup()
  return [...points.keys()].filter((i) => states === undefined || states.indexOf(states[i]!) === i || i >= states.length)
}

describe.each([...SCENES, ...WHOLE, ...DAMAGED, ...ELSEWHERE, ...STAGED])('$name', (scene) => {
  it('killed at each point and at random, or failing or met by a full disk at a point of each kind, loses nothing and can be run again', async () => {
    const world = await scene.prepare()
    const { points, milliseconds } = await pointsOf(scene, world)
    expect(points.length).toBeGreaterThan(2)
    // Files may be deleted on a full disk, too.
    const kinds = scene.killsOnly ? [] : [...new Set(points)].filter((name) => !/: (delete|give back)$/.test(name))
    const kills = (await chosen(scene, world, points)).map((i) => atPoint(`kill:${i + 1}`))
    if (PARTS !== undefined) return tryEach(scene, world, kills)
    await tryEach(scene, world, [
      ...kills,
      ...kinds.map((name) => atPoint(`ENOSPC:${points.indexOf(name) + 1}+`)),
      ...kinds.map((name) => atPoint(`EIO:1@${name}`)),
      ...Array.from({ length: RANDOM }, () => killedAfter(Math.round(milliseconds * (0.2 + 0.8 * Math.random())))),
      ...(scene.killsOnly ? [] : LEFT).map(onSmallDisk),
    ])
  }, 600_000)
})

describe('MLV_FAULT', () => {
  it('means nothing when it says nothing that is known', async () => {
    const repo = await start({ a: '1' })
    for (const text of ['', 'x', 'kill', 'kill:0', 'kill:x', 'E:1'])
      expect(await repo.mlvWith({ env: { MLV_FAULT: text } }, 'add', 'a')).toMatchObject({ exitCode: 0, stderr: '' })
    writeFileSync(repo.path('a'), '2')
    expect(await repo.mlvWith({ env: { MLV_FAULT: 'kill:1' } }, 'add', 'a')).toMatchObject({ exitCode: -1 })
  })
})
