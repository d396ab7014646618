import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Bench, type Section, timed } from './bench.ts'
import { type Timed, timeInTurns, timeOnce } from './measure.ts'
import { peerRow, type Row, ratioRow } from './row.ts'
import { initGit, prepare, remove, type TreeShape, treeShapes, writeTree } from './worlds.ts'

const FLOOR = fileURLToPath(new URL('./floor.mjs', import.meta.url))

/** The first add of many small files. */
export const section: Section = {
  name: 'add',
  async *measure(bench) {
    const { photos, labels } = treeShapes(bench)
    yield* measureTree(bench, photos, 2.5)
    yield* measureTree(bench, labels, 2)
  },
}

async function* measureTree(bench: Bench, shape: TreeShape, limit: number): AsyncIterable<Row> {
  const repo = initGit(bench, 'add')
  writeTree(join(repo, 'data'), shape)
  const target = join(bench.dir, 'floor.bin')
  const startAfresh = () => {
    remove(...['.git/mlv', '.mlv', '.mlvignore', '.gitignore', '.gitattributes', 'data.mlv'].map((name) => join(repo, name)))
    prepare(bench, repo, bench.mlv('init', '--quiet'))
  }
  const [floor, add] = await timeInTurns(
    bench.runs,
    timed(bench, repo, [process.execPath, FLOOR, 'data', target], () => remove(target)),
    timed(bench, repo, bench.mlv('add', 'data'), startAfresh),
  )
  yield ratioRow(`add ${shape.label}`, add!.seconds, { what: 'read, hash, append, flush', seconds: floor!.seconds }, limit)
  for (const peer of peers(bench, join(repo, 'data')))
    yield peerRow(`${peer.what} ${shape.label}`, (await timeOnce(peer.timed)).seconds, add!.seconds)
  remove(repo, target)
}

function peers(bench: Bench, data: string): { what: string; timed: Timed }[] {
  /** A repository of its own with a copy of the data. */
  const world = (name: string, ...setUp: string[][]): string => {
    const repo = initGit(bench, name)
    for (const command of setUp) prepare(bench, repo, command)
    cpSync(data, join(repo, 'data'), { recursive: true, preserveTimestamps: true })
    return repo
  }
  const found: { what: string; timed: Timed }[] = []
  if (bench.has('dvc'))
    found.push({ what: 'dvc add', timed: timed(bench, world('dvc', ['dvc', 'init', '-q']), ['dvc', 'add', '-q', 'data']) })
  if (bench.has('git-lfs')) {
    const repo = world('lfs', ['git', 'lfs', 'install', '--local'], ['git', 'lfs', 'track', 'data/**'])
    found.push({ what: 'git add with git-lfs', timed: timed(bench, repo, ['git', 'add', 'data']) })
  }
  if (bench.has('git-annex')) {
    const repo = world('annex', ['git', 'annex', 'init', '-q'])
    found.push({ what: 'git annex add', timed: timed(bench, repo, ['git', 'annex', 'add', '-q', 'data']) })
  }
  return found
}
