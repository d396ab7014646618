import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { oidOfBytes } from '../../src/base/oid.ts'
import { BIN, makeFolder, type Repo, run } from '../helpers/repo.ts'
import { findProgram } from '../helpers/server-process.ts'
import { straceProblem } from '../helpers/strace.ts'
import {
  type DiskState,
  materialise,
  pathOf,
  type Recording,
  readTree,
  replay,
  statesAfterPowerLoss,
  TRACED,
} from './power-loss.ts'
import { committedEntries, copyOf, runAgain, SCENES, type Scene, WHOLE } from './scenes.ts'
import { DAMAGED } from './scenes-damaged.ts'
import { ELSEWHERE } from './scenes-elsewhere.ts'
import { STAGED } from './scenes-stages.ts'
import { faultsOfStore, pointedAt, unreadable } from './soundness.ts'

const strace = straceProblem() === undefined ? findProgram('strace') : undefined

/** States in which the command is run again; half as many where another scene's command does the same writes. */
const RERUNS = 12

const ALL = [...SCENES, ...WHOLE, ...DAMAGED, ...ELSEWHERE, ...STAGED].filter(({ isGits }) => !isGits)

/** What is promised to be the old text or the new. */
const TEXT = /^repo\/(?!\.git\/)(.*\/)?([^/]+\.mlv|\.gitignore|mlv\.lock|mlv\.yaml|\.mlv\/config)$|^repo\/\.git\/mlv\/config$/
/** What else the promises speak of: the stores without what has no name yet, and what was exported. */
const PROMISED = /^(repo\/\.git\/mlv\/store\/(?!tmp\/)|remote\/(?!tmp\/)|out\/)/
const isPromised = (path: string) => TEXT.test(path) || PROMISED.test(path)

/** Runs a scene's command under strace and replays what it did to its world. */
async function record(scene: Scene, world: Repo): Promise<Recording> {
  const root = dirname(world.dir)
  const before = readTree(root)
  const trace = join(makeFolder().dir, 'trace')
  const options = { cwd: world.dir, env: { ...world.env, UV_USE_IO_URING: '0' } }
  const args = ['-f', '-y', '-xx', '-s', '100000000', '-e', `trace=${TRACED}`, '-o', trace, process.execPath, BIN, ...scene.args]
  expect(await run(strace!, args, options)).toMatchObject({ exitCode: 0 })
  const recording = replay(readFileSync(trace, 'utf8'), before, { root, cwd: world.dir })
  // The replay must know what the system knows, or it proves nothing.
  const empty = makeFolder().dir
  materialise(recording.files(recording.operations), empty)
  expect(flat(readTree(empty))).toEqual(flat(readTree(root)))
  // Git's files are git's to keep: it does not flush its index.
  for (const operation of recording.operations) if (/\/\.git\/(?!mlv\/)/.test(pathOf(operation))) operation.safe = operation.done
  return recording
}

function emptyFolder(folder: string): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true })
}

function flat(inode: ReturnType<typeof readTree>): unknown {
  if (inode.kind === 'folder')
    return Object.fromEntries([...inode.names].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, below]) => [name, flat(below)]))
  return inode.kind === 'link' ? `→ ${inode.target}` : inode.bytes.toString('latin1')
}

describe.runIf(strace !== undefined).each(ALL)('power loss during $name', (scene) => {
  it('keeps every promise in each state that the disk may be left in', async () => {
    const world = await scene.prepare()
    const committed = await committedEntries(world)
    const recording = await record(scene, world)
    const { operations } = recording
    const [first, last] = [recording.files([]), recording.files(operations)]
    const checked = new Set<string>()
    const states: DiskState[] = []

    const check = async (state: DiskState) => {
      const files = recording.files(state.kept)
      const promised = new Map([...files].filter(([path]) => isPromised(path)))
      for (const [path, text] of promised)
        if (TEXT.test(path) && text !== null)
          expect([first.get(path)?.toString(), last.get(path)?.toString()]).toContain(text.toString())
      for (const path of first.keys()) if (TEXT.test(path) && last.has(path)) expect([...files.keys()]).toContain(path)
      const key = [...promised]
        .map(([path, content]) => `${path} ${content === null ? '' : oidOfBytes(Buffer.from(content))}`)
        .join('\n')
      if (checked.has(key)) return
      checked.add(key)
      const { dir, cleanup } = makeFolder({ inMemory: true })
      materialise(new Map([...files].filter(([path, content]) => content === null || promised.has(path))), dir)
      const [repo, remote] = [join(dir, 'repo'), join(dir, 'remote')]
      if (!scene.isDamaged) expect([...faultsOfStore(join(repo, '.git/mlv/store')), ...faultsOfStore(remote)]).toEqual([])
      await scene.always?.({ dir: repo, path: (path) => join(repo, path) }, committed)
      const entries = [...committed, ...(await pointedAt(repo))]
      if (!scene.cacheLags) expect(await unreadable(join(repo, '.git/mlv/store'), 'cache', entries)).toEqual([])
      cleanup()
    }

    for (const state of statesAfterPowerLoss(operations)) {
      states.push(state)
      try {
        await check(state)
      } catch (error) {
        throw new Error(`${state.what}: ${(error as Error).message}`, { cause: error })
      }
    }
    expect(states.length).toBeGreaterThan(operations.length)

    const step = Math.ceil(states.length / (scene.killsOnly ? RERUNS / 2 : RERUNS))
    for (const state of states.filter((_, i) => i % step === step - 1 || i === states.length - 1)) {
      const repo = await copyOf(world, scene)
      const root = dirname(repo.dir)
      emptyFolder(root)
      materialise(recording.files(state.kept), root)
      // Git, too, leaves a lock when it is cut off; it asks people to delete it.
      rmSync(repo.path('.git/index.lock'), { force: true })
      try {
        await runAgain(scene, repo, { wasCut: true })
      } catch (error) {
        throw new Error(`again, after ${state.what}: ${(error as Error).message}`, { cause: error })
      }
      repo.cleanup()
    }
  }, 600_000)
})

describe.runIf(strace !== undefined).each(ALL.filter(({ durably }) => durably))('power loss after $name', (scene) => {
  it('leaves what the command has said to be done, once it has ended', async () => {
    const world = await scene.prepare()
    const recording = await record(scene, world)
    const kept = recording.operations.filter((operation) => operation.safe < Number.POSITIVE_INFINITY)
    const repo = await world.copy()
    const root = dirname(repo.dir)
    emptyFolder(root)
    materialise(recording.files(kept), root)
    await scene.durably!(repo)
  }, 600_000)
})
