import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { mapBounded } from '../../src/base/concurrency.ts'
import type { Repo } from '../helpers/repo.ts'
import { committedEntries, runAgain, SCENES, type Scene, start } from './scenes.ts'
import { expectSound, faultsOfStore } from './soundness.ts'

/** The points a command passes, in order. */
async function pointsOf(scene: Scene, world: Repo): Promise<string[]> {
  const repo = await world.copy()
  const list = join(repo.dir, '..', 'points')
  const result = await repo.mlvWith({ env: { MLV_FAULT: `list:${list}` } }, ...scene.args)
  expect(result).toMatchObject({ exitCode: 0 })
  await scene.after(repo)
  const points = existsSync(list) ? readFileSync(list, 'utf8').trim().split('\n') : []
  repo.cleanup()
  return points
}

/** Makes each point fail once, or die, in a copy of the world; then all that was committed is read, and the command is run again. */
async function tryEach(scene: Scene, world: Repo, faults: string[]): Promise<void> {
  const committed = await committedEntries(world)
  await mapBounded(faults, 2, async (fault) => {
    const repo = await world.copy()
    const { exitCode, stderr } = await repo.mlvWith({ env: { MLV_FAULT: fault } }, ...scene.args)
    const said = { fault, exitCode, stderr }
    if (fault.startsWith('kill')) expect(said).toMatchObject({ exitCode: -1, stderr: '' })
    // Some failures do no harm, such as that of noting what was seen. No other may be taken for a bug.
    else if (exitCode !== 0) {
      expect([7, 9], JSON.stringify(said)).toContain(exitCode)
      expect(stderr, JSON.stringify(said)).toMatch(/^(warning: .*\n.*)*error: .*(disk|Disk).*\n {2}\S/)
    }
    try {
      if (scene.cacheLags) expect(faultsOfStore(repo.path('.git/mlv/store'))).toEqual([])
      else await expectSound(repo.dir, committed)
      await scene.always?.(repo)
      await runAgain(scene, repo)
    } catch (error) {
      throw new Error(`after ${fault}: ${(error as Error).message}`, { cause: error })
    }
    repo.cleanup()
  })
}

/** Which points to die at: the first and the last of each kind, and of the rest one in so many (MLV_TEST_EVERY_POINT=1 tries all: half an hour). */
const ONE_IN = process.env.MLV_TEST_EVERY_POINT ? 1 : 4

function chosen(points: readonly string[]): number[] {
  return [...points.keys()].filter(
    (i) => i % ONE_IN === 0 || points.indexOf(points[i]!) === i || points.lastIndexOf(points[i]!) === i,
  )
}

describe.each(SCENES)('$name', (scene) => {
  it('killed at each point, or failing or met by a full disk at a point of each kind, loses nothing and can be run again', async () => {
    const world = await scene.prepare()
    const points = await pointsOf(scene, world)
    expect(points.length).toBeGreaterThan(2)
    // Files may be deleted on a full disk, too.
    const kinds = scene.killsOnly ? [] : [...new Set(points)].filter((name) => !/: (delete|give back)$/.test(name))
    await tryEach(scene, world, [
      ...chosen(points).map((i) => `kill:${i + 1}`),
      ...kinds.map((name) => `ENOSPC:${points.indexOf(name) + 1}+`),
      ...kinds.map((name) => `EIO:1@${name}`),
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
