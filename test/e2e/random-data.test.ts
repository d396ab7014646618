import { existsSync, mkdirSync, rmSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { listing } from '../helpers/listing.ts'
import { BRANCHES, ok, pulledClone, RANDOM_STEPS_TIMEOUT, step, switchBranch, takeRandomSteps } from '../helpers/random-steps.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'

type Listing = Record<string, string | null>

/** What the pointer here, and those at the tips of the branches, should hold. */
interface Model {
  branch: string
  recorded: Listing
  committed: Map<string, Listing>
}

const here = (repo: Repo): Listing => listing(repo.path('data'))

const inData = (path: string) => path.slice('data/'.length)

const isWithin = (path: string, above: string) => path === above || path.startsWith(`${above}/`)

/** A tree in which one path is as in another. */
function withPart(tree: Listing, part: string, other: Listing): Listing {
  const kept = Object.entries(tree).filter(([path]) => !isWithin(path, part) && !isWithin(part, path))
  return Object.fromEntries([...kept, ...Object.entries(other).filter(([path]) => isWithin(path, part))])
}

/** Takes away what lies at a path, and files where its folders are to be. */
function clear(repo: Repo, path: string): void {
  const files = here(repo)
  for (const file of Object.keys(files))
    if (files[file] !== null && path.startsWith(`data/${file}/`)) rmSync(repo.path(`data/${file}`))
  rmSync(repo.path(path), { recursive: true, force: true })
}

async function add(model: Model, repo: Repo): Promise<void> {
  await ok(repo, 'add', 'data')
  model.recorded = here(repo)
}

async function commit(model: Model, repo: Repo): Promise<void> {
  await add(model, repo)
  await repo.commit()
  model.committed.set(model.branch, model.recorded)
}

async function expectClone(repo: Repo, branch: string, committed: Listing): Promise<void> {
  const clone = await pulledClone(repo, branch)
  expect(here(clone)).toEqual(committed)
  clone.cleanup()
}

const paths = fc.constantFrom('data/a', 'data/b', 'data/d', 'data/d/a', 'data/d/b', 'data/d/e', 'data/d/e/a', 'data/ü x')
const contents = fc.constantFrom('', '1\n', '2\n', '3\n')

const edits = [
  fc.tuple(paths, contents).map(([path, content]) =>
    step<Model>(`write ${JSON.stringify(content)} to ${path}`, (_, repo) => {
      clear(repo, path)
      repo.write(path, content)
    }),
  ),
  paths.map((path) =>
    step<Model>(`mkdir ${path}`, (_, repo) => {
      clear(repo, path)
      mkdirSync(repo.path(path), { recursive: true })
    }),
  ),
  paths.map((path) =>
    step<Model>(`rm ${path}`, (_, repo) => {
      if (existsSync(repo.path(path))) rmSync(repo.path(path), { recursive: true })
    }),
  ),
]

const looks = [
  step<Model>('status', async (model, repo) => {
    const { paths } = JSON.parse(await ok(repo, 'status', '--json'))
    const sorted = (tree: Listing) => JSON.stringify(Object.entries(tree).sort())
    expect(paths[0].state === 'unchanged').toBe(sorted(here(repo)) === sorted(model.recorded))
  }),
  step<Model>('diff', async (model, repo) => {
    const [before, after] = [model.committed.get(model.branch)!, here(repo)]
    const isFile = (path: string) => before[path] !== null && after[path] !== null
    const { paths } = JSON.parse(await ok(repo, 'diff', '--json'))
    const changes: { path: string; from?: string }[] = paths.flatMap(({ changes }: { changes: object[] }) => changes)
    const named = changes.flatMap(({ path, from }) => (from === undefined ? [path] : [path, from])).map(inData)
    const changed = Object.keys({ ...before, ...after }).filter((path) => before[path] !== after[path])
    expect(named.filter(isFile).sort()).toEqual(changed.filter(isFile).sort())
  }),
  step<Model>('ls', async (model, repo) => {
    const files: { path: string }[] = JSON.parse(await ok(repo, 'ls', '-R', '--json', 'data'))
    const recorded = Object.keys(model.recorded).filter((path) => model.recorded[path] !== null)
    expect(files.map(({ path }) => inData(path)).sort()).toEqual(recorded.sort())
  }),
]

const records = [
  step<Model>('add', add),
  step<Model>('commit', commit),
  step<Model>('switch', async (model, repo) => {
    await commit(model, repo)
    await switchBranch(model, repo)
    model.recorded = model.committed.get(model.branch)!
    expect(here(repo)).toEqual(model.recorded)
  }),
]

const parts = [
  paths.map((path) =>
    step<Model>(`add ${path}`, async (model, repo) => {
      if (!existsSync(repo.path(path))) return
      await ok(repo, 'add', path)
      model.recorded = withPart(model.recorded, inData(path), here(repo))
    }),
  ),
  paths.map((path) =>
    step<Model>(`lose and checkout ${path}`, async (model, repo) => {
      const recorded = model.recorded[inData(path)]
      if (typeof recorded !== 'string') return
      clear(repo, path)
      await ok(repo, 'checkout', path)
      expect(here(repo)[inData(path)]).toBe(recorded)
    }),
  ),
]

const transfers = [
  step<Model>('push', (_, repo) => ok(repo, 'push')),
  step<Model>('drop and pull', async (model, repo) => {
    await commit(model, repo)
    await ok(repo, 'push')
    await ok(repo, 'drop', 'data')
    await ok(repo, 'pull')
    expect(here(repo)).toEqual(model.recorded)
  }),
  step<Model>('clone', async (model, repo) => {
    await ok(repo, 'push')
    await expectClone(repo, model.branch, model.committed.get(model.branch)!)
  }),
  step<Model>('gc', async (_, repo) => {
    await ok(repo, 'gc', '--yes')
    await ok(repo, 'fsck')
  }),
]

const others = [...looks, ...looks, ...records, ...transfers].map((one) => fc.constant(one))

test('whatever is done in which order, what is recorded is what was there, and comes back', {
  timeout: RANDOM_STEPS_TIMEOUT,
}, async () => {
  await takeRandomSteps<Model>(
    [...edits, ...edits, ...parts, ...others],
    async () => {
      const real = await makeRepo({ 'data/a': '1\n', 'data/d/a': '2\n' }, { init: true })
      await ok(real, 'remote', 'add', 'origin', real.path('../remote'))
      const model: Model = { branch: 'main', recorded: {}, committed: new Map() }
      await commit(model, real)
      await real.git('branch', 'next')
      model.committed.set('next', model.recorded)
      return { model, real }
    },
    async (model, repo) => {
      await commit(model, repo)
      await ok(repo, 'push', '--all-branches')
      for (const branch of BRANCHES) await expectClone(repo, branch, model.committed.get(branch)!)
      await ok(repo, 'fsck', '--read-data')
    },
  )
})
