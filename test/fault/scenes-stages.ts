import { existsSync, readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { parseLock } from '../../src/pipeline/lock.ts'
import { LOCK_FILE } from '../../src/pipeline/stage.ts'
import { expectData, expectUpToDate, LARGE, OLD, ok, type Scene, start, storesOf, type World } from './scenes.ts'
import { unreadable } from './soundness.ts'

const STAGES = `stages:
  copy:
    cmd: cp src out && wc -c < src > size.json
    deps: [src]
    outs: [out]
    metrics: [size.json]
`

async function ran(texts: readonly string[]): Promise<Awaited<ReturnType<typeof start>>> {
  const repo = await start({ 'mlv.yaml': STAGES, src: texts[0]! })
  for (const text of texts) {
    repo.write('src', text)
    await ok(repo, 'repro')
    await repo.commit(text.slice(0, 10))
  }
  return repo
}

/** What the lock names can be read. */
async function expectLocked(repo: World): Promise<void> {
  const lock = repo.path(LOCK_FILE)
  if (!existsSync(lock)) return
  const { stages } = await parseLock(readFileSync(lock, 'utf8'))
  const entries = [...stages.values()].flatMap(({ outs }) => outs.map(({ entry }) => entry))
  expect(await unreadable(repo.path('.git/mlv/store'), 'cache', entries)).toEqual([])
}

/** Commands that run stages, take their results, and give back the room of what a remote holds. */
export const STAGED: Scene[] = [
  {
    name: 'repro of a stage that has run before',
    args: ['repro'],
    force: ['--force'],
    killsOnly: true,
    async prepare() {
      const repo = await ran([`old ${LARGE}`])
      repo.write('src', `new ${LARGE}`)
      return repo
    },
    always: expectLocked,
    durably: expectLocked,
    async after(repo) {
      expect(repo.read('out')).toBe(`new ${LARGE}`)
      expect(repo.read('size.json').trim()).toBe(String(LARGE.length + 4))
      await expectUpToDate(repo)
      expect((await repo.mlv('repro')).stdout).toMatch(/^unchanged +copy\n$/)
    },
  },
  {
    name: 'repro that takes a result from the run cache',
    args: ['repro'],
    force: ['--force'],
    killsOnly: true,
    async prepare() {
      const repo = await ran([`old ${LARGE}`, `new ${LARGE}`])
      repo.write('src', `old ${LARGE}`)
      return repo
    },
    always: expectLocked,
    async after(repo) {
      expect(repo.read('out')).toBe(`old ${LARGE}`)
      await expectUpToDate(repo)
    },
  },
  ...['drop of the local copies', 'drop of the local copies and the files'].map(
    (name, i): Scene => ({
      name,
      args: ['drop', ...(i === 1 ? ['--workspace'] : []), 'data'],
      killsOnly: true,
      // What is dropped is what the cache lacks.
      cacheLags: true,
      async prepare() {
        const repo = await start(OLD, 'hardlink')
        await ok(repo, 'add', 'data')
        await repo.commit()
        await ok(repo, 'push')
        return repo
      },
      async always(repo, committed) {
        const [, [remote, role]] = storesOf(repo)
        expect(await unreadable(remote, role, committed)).toEqual([])
      },
      async after(repo) {
        if (i === 0) expectData(repo, OLD)
        await ok(repo, 'pull')
        await expectUpToDate(repo)
        expectData(repo, OLD)
      },
    }),
  ),
]
