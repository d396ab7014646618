import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Bench, type Section, timed } from './bench.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { peerRow, type Row, ratioRow } from './row.ts'
import { initGit, prepare, remove, type TreeShape, treeShapes, writeLargeFile, writeTree } from './worlds.ts'

const FLOOR = fileURLToPath(new URL('./floor.mjs', import.meta.url))

const COPY_FLOOR = fileURLToPath(new URL('./copy-floor.mjs', import.meta.url))

/** The first add of many small files. */
export const section: Section = {
  name: 'add',
  async *measure(bench) {
    const { photos, labels } = treeShapes(bench)
    yield* measureTree(bench, photos, 1.5)
    yield* measureTree(bench, labels, 2)
    yield* measureLargeFiles(bench)
  },
}

async function* measureTree(bench: Bench, shape: TreeShape, limit: number): AsyncIterable<Row> {
  const repo = initGit(bench, 'add')
  writeTree(join(repo, 'data'), shape)
  const target = join(bench.dir, 'floor.bin')
  const [floor, add] = await timeInTurns(
    bench.runs,
    timed(bench, repo, [process.execPath, FLOOR, 'data', target], () => remove(target)),
    timed(bench, repo, bench.mlv('add', 'data'), () => startAfresh(bench, repo)),
  )
  yield ratioRow(`add ${shape.label}`, add!.seconds, { what: 'read, hash, append, flush', seconds: floor!.seconds }, limit)
  for (const peer of PEERS.filter(({ program }) => bench.has(program)))
    yield peerRow(`${peer.what} ${shape.label}`, await timePeer(bench, peer, join(repo, 'data')), add!.seconds)
  remove(repo, target)
}

/** A few files that are large enough to keep every core busy. */
async function* measureLargeFiles(bench: Bench): AsyncIterable<Row> {
  const repo = initGit(bench, 'add-large')
  const count = 20
  const size = Math.round(bench.scaled(2048) / count) << 20
  for (let i = 0; i < count; i++) {
    mkdirSync(join(repo, 'data'), { recursive: true })
    writeLargeFile(join(repo, 'data', `${i}.bin`), size, 0, `large ${i}`)
  }
  const target = join(bench.dir, 'copies')
  const [loop, add] = await timeInTurns(
    Math.min(bench.runs, 3),
    timed(bench, repo, [process.execPath, COPY_FLOOR, 'data', target], () => remove(target)),
    timed(bench, repo, bench.mlv('add', 'data'), () => startAfresh(bench, repo)),
  )
  const reference = { what: 'read, hash, write on one core', seconds: loop!.seconds }
  yield ratioRow(`add ${count} × ${size >> 20} MiB`, add!.seconds, reference, 1 / 1.7)
  remove(repo, target)
}

/** A repository with data and no trace of mlv but a new project. */
function startAfresh(bench: Bench, repo: string): void {
  remove(...['.git/mlv', '.mlv', '.mlvignore', '.gitignore', '.gitattributes', 'data.mlv'].map((name) => join(repo, name)))
  prepare(bench, repo, bench.mlv('init', '--quiet'))
}

interface Peer {
  program: Parameters<Bench['has']>[0]
  what: string
  setUp: string[][]
  command: string[]
}

const PEERS: Peer[] = [
  { program: 'dvc', what: 'dvc add', setUp: [['dvc', 'init', '-q']], command: ['dvc', 'add', '-q', 'data'] },
  {
    program: 'git-lfs',
    what: 'git add with git-lfs',
    setUp: [
      ['git', 'lfs', 'install', '--local'],
      ['git', 'lfs', 'track', 'data/**'],
    ],
    command: ['git', 'add', 'data'],
  },
  {
    program: 'git-annex',
    what: 'git annex add',
    setUp: [['git', 'annex', 'init', '-q']],
    command: ['git', 'annex', 'add', '-q', 'data'],
  },
]

/** In a repository of its own, with a copy of the data. */
async function timePeer(bench: Bench, peer: Peer, data: string): Promise<number> {
  const repo = initGit(bench, peer.program)
  for (const command of peer.setUp) prepare(bench, repo, command)
  cpSync(data, join(repo, 'data'), { recursive: true, preserveTimestamps: true })
  const { seconds } = await timeOnce(timed(bench, repo, peer.command))
  // git-annex takes the right to write from its folders.
  prepare(bench, repo, ['chmod', '-R', 'u+w', '.'])
  remove(repo)
  return seconds
}
