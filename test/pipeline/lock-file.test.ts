import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import type { Oid } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import { silentProgress } from '../../src/base/progress.ts'
import type { LockedStage } from '../../src/pipeline/lock.ts'
import { createLockRecorder, readLock } from '../../src/pipeline/lock-file.ts'
import { openProject } from '../../src/workspace/open-project.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'

const RUN_KEY = '87f8'.padEnd(64, '0') as Oid
const STAGE: LockedStage = {
  cmd: ['true'],
  wdir: '' as RepoPath,
  shell: '',
  deps: [],
  params: [],
  env: [],
  outs: [],
  runKey: RUN_KEY,
  unsure: false,
  extra: {},
}

const openIn = (repo: Repo) =>
  openProject({ cwd: repo.dir, env: repo.env, progress: silentProgress, warn: () => {}, command: 'test' })

it('spends a twentieth of the time on mlv.lock, however long writing it takes', async () => {
  const repo = await makeRepo({}, { init: true })
  const project = await openIn(repo)
  let time = 0
  let writes = 0
  // Writing takes 200 ms by this clock, and each stage half a second.
  const slow = {
    ...project,
    locked: <T>(work: () => Promise<T>) => {
      time += 200
      writes++
      return project.locked(work)
    },
  }
  const recorder = createLockRecorder(slow, () => time)
  for (let i = 0; i < 100; i++) {
    time += 500
    await recorder.record(`s${i}`, STAGE)
  }
  expect(writes).toBeGreaterThan(5)
  expect(200 * writes).toBeLessThan(time / 20 + 200)
  await recorder.finish()
  expect((await readLock(project)).stages.size).toBe(100)
  await project.close()
})

it('reads what a person has edited with all checks each time', async () => {
  const repo = await makeRepo({ 'mlv.yaml': 'stages:\n  a: {cmd: "true", deps: [x, y]}\n', x: 'x', y: 'y' }, { init: true })
  await repo.mlv('repro')
  const [first, second] = [...readFileSync(repo.path('mlv.lock'), 'utf8').matchAll(/\{"path".*\}/g)].map(([line]) => line)
  const swapped = repo.read('mlv.lock').replace(first!, '#').replace(second!, first!).replace('#', second!)
  repo.write('mlv.lock', swapped)
  const project = await openIn(repo)
  for (let round = 0; round < 2; round++)
    expect((await readLock(project)).stages.get('a')!.deps.map(({ path }) => path)).toEqual(['x', 'y'])
  repo.write('mlv.lock', swapped.replace('"kind": "file"', '"kind": "pipe"'))
  for (let round = 0; round < 2; round++) await expect(readLock(project)).rejects.toMatchObject({ code: 'LOCK_INVALID' })
  await project.close()
})
