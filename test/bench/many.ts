import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { RepoPath } from '../../src/base/paths.ts'
import { silentProgress } from '../../src/base/progress.ts'
import { addPaths } from '../../src/workspace/add.ts'
import { openProject } from '../../src/workspace/open-project.ts'
import { push } from '../../src/workspace/sync.ts'
import { type Bench, type Section, timed } from './bench.ts'
import { type Bucket, openBucket } from './bucket.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { type Row, ratioRow, valueRow } from './row.ts'
import { commitAll, initMlv, prepare, remove, writeOldFile } from './worlds.ts'

const FILES = 20

/** A store that was written to in many small steps, against one that got the same data at once. */
export const section: Section = {
  name: 'many',
  async *measure(bench) {
    const bucket = await openBucket(bench)
    try {
      yield* measureMany(bench, bucket, bench.scaled(2000))
    } finally {
      await bucket.stop()
    }
  },
}

async function* measureMany(bench: Bench, bucket: Bucket, count: number): AsyncIterable<Row> {
  const worlds = {
    once: await makeWorld(
      bench,
      bucket,
      'once',
      Array.from({ length: FILES }, (_, file) => lastStep(file, count)),
      FILES,
    ),
    many: await makeWorld(
      bench,
      bucket,
      'many',
      Array.from({ length: count }, (_, step) => step),
      1,
    ),
  }
  const label = `after ${count.toLocaleString('en')} adds and pushes`
  const both = (command: string[], before?: (repo: string) => void) =>
    [worlds.once, worlds.many].map((repo) => ({
      ...timed(bench, repo, command, before && (() => before(repo))),
      env: bucket.env,
    }))
  for (const verb of ['status', 'push']) {
    const [once, many] = await timeInTurns(bench.runs, ...both(bench.mlv(verb)))
    yield ratioRow(`${verb} ${label}`, many!.seconds, { what: 'after one', seconds: once!.seconds }, 1.5)
  }
  const clone = join(bench.dir, 'many-clone')
  const cloneAgain = (repo: string, counted?: 'counted') => {
    remove(clone)
    prepare(bench, bench.dir, ['git', 'clone', '-q', repo, clone])
    bucket.connect(clone, repo === worlds.once ? 'once' : 'many', counted)
  }
  const pull = bench.mlv('-C', clone, 'pull')
  const atTop = (repo: string) => ({ ...timed(bench, bench.dir, pull, () => cloneAgain(repo)), env: bucket.env })
  const [once, many] = await timeInTurns(bench.runs, atTop(worlds.once), atTop(worlds.many))
  yield ratioRow(`pull of a fresh clone ${label}`, many!.seconds, { what: 'after one', seconds: once!.seconds }, 1.5)
  for (const [name, repo] of Object.entries(worlds)) {
    cloneAgain(repo, 'counted')
    bucket.meter.reset()
    await timeOnce({ ...timed(bench, bench.dir, pull), env: bucket.env })
    yield valueRow(`… ${name === 'once' ? 'after one' : label}`, bucket.meter.read().requests.length, 'requests')
  }
  remove(clone, worlds.once, worlds.many)
}

/** The last step of `count` that writes to a file. */
function lastStep(file: number, count: number): number {
  const step = count - 1 - ((count - 1 - file) % FILES)
  return Math.max(step, file)
}

/** Writes a file per step, and adds and pushes after every few of them, as as many commands would, but in this process. */
async function makeWorld(bench: Bench, bucket: Bucket, name: string, steps: number[], perAdd: number): Promise<string> {
  const repo = initMlv(bench, name)
  bucket.connect(repo, name)
  mkdirSync(join(repo, 'data'))
  for (let at = 0; at < steps.length; at += perAdd) {
    for (const step of steps.slice(at, at + perAdd))
      writeOldFile(join(repo, 'data', `${step % FILES}.txt`), `written by step ${step}\n`, step)
    const project = await openProject({
      cwd: repo,
      env: bucket.env,
      progress: silentProgress,
      warn: () => {},
      command: 'mlv bench',
    })
    await addPaths(project, ['data' as RepoPath])
    await push(project)
    await project.mergeIndexes()
    await project.close()
  }
  commitAll(bench, repo)
  return repo
}
