import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, type Section, timed } from './bench.ts'
import { type Bucket, openBucket } from './bucket.ts'
import { measureMemory, timeInTurns, timeOnce } from './measure.ts'
import { peerRow, type Row, ratioRow, valueRow } from './row.ts'
import {
  commitAll,
  initGit,
  initMlv,
  prepare,
  remove,
  setAside,
  type TreeShape,
  treeShapes,
  writeLargeFile,
  writeTree,
} from './worlds.ts'

/** Many small files to a bucket and back. */
export const section: Section = {
  name: 'push',
  async *measure(bench) {
    const { photos, labels } = treeShapes(bench)
    const bucket = await openBucket(bench)
    try {
      yield* measureTree(bench, bucket, photos, { peer: 'rclone', factor: 5 })
      yield* measureTree(bench, bucket, labels, { peer: 'dvc', factor: 20 })
      yield* measureMany(bench, bucket)
    } finally {
      await bucket.stop()
    }
  },
}

const MIB = 1 << 20
/** Much more data than memory may be used: large files of 1 GiB each. */
async function* measureMany(bench: Bench, bucket: Bucket): AsyncIterable<Row> {
  const repo = initMlv(bench, 'push-many')
  const each = bench.scaled(1024) * (1 << 20)
  mkdirSync(join(repo, 'data'))
  for (let i = 0; i < 10; i++) writeLargeFile(join(repo, 'data', `${i}.bin`), each, 0, `many ${i}`)
  prepare(bench, repo, bench.mlv('add', 'data'))
  commitAll(bench, repo)
  remove(join(repo, 'data'))
  bucket.connect(repo, freshPrefix('many'))
  const { seconds, peak } = await measureMemory({ ...timed(bench, repo, bench.mlv('push')), env: bucket.env })
  const label = `${(10 * each) / 2 ** 30} GiB in 10 files`
  yield valueRow(`push ${label}`, seconds, 's')
  yield valueRow(`push ${label}, peak memory`, peak ?? Number.NaN, 'MiB', { atMost: 300 })
  remove(repo)
}

interface Rival {
  peer: 'rclone' | 'dvc'
  /** how many times as fast mlv must be */
  factor: number
}

let prefixes = 0
const freshPrefix = (name: string) => `${name}-${++prefixes}`

async function* measureTree(bench: Bench, bucket: Bucket, shape: TreeShape, rival: Rival): AsyncIterable<Row> {
  const repo = initMlv(bench, 'push')
  writeTree(join(repo, 'data'), shape)
  prepare(bench, repo, bench.mlv('add', 'data'))
  commitAll(bench, repo)

  // A new place in the bucket each time, because what is there is not sent again.
  const [push] = await timeInTurns(Math.min(bench.runs, 3), {
    ...timed(bench, repo, bench.mlv('push'), () => bucket.connect(repo, freshPrefix('mlv'))),
    env: bucket.env,
  })
  const peers = await pushWithPeers(bench, bucket, join(repo, 'data'))
  const seconds = peers[rival.peer]
  yield ratioRow(`push ${shape.label}`, push!.seconds, { what: PEER_WORDS[rival.peer], seconds }, 1 / rival.factor)
  for (const [name, taken] of Object.entries(peers))
    yield peerRow(`${PEER_WORDS[name as Rival['peer']]} ${shape.label}`, taken, push!.seconds)

  yield* measurePull(bench, bucket, repo, shape)
  yield* measureOneChange(bench, bucket, repo, shape)
  remove(repo)
}

const PEER_WORDS = { rclone: 'rclone copy --transfers 64', dvc: 'dvc push' }

async function pushWithPeers(bench: Bench, bucket: Bucket, data: string): Promise<{ rclone?: number; dvc?: number }> {
  const taken: { rclone?: number; dvc?: number } = {}
  if (bench.has('rclone')) {
    const command = ['rclone', 'copy', '--transfers', '64', data, `s:${bucket.name}/${freshPrefix('rclone')}`]
    taken.rclone = (await timeOnce({ ...timed(bench, bench.dir, command), env: bucket.env })).seconds
  }
  if (bench.has('dvc')) {
    const repo = initGit(bench, 'dvc-push')
    for (const command of [
      ['dvc', 'init', '-q'],
      ['dvc', 'remote', 'add', '-q', '-d', 'bench', `s3://${bucket.name}/${freshPrefix('dvc')}`],
      ['dvc', 'remote', 'modify', '-q', 'bench', 'endpointurl', bucket.server.endpoint],
      ['cp', '-r', data, 'data'],
      ['dvc', 'add', '-q', 'data'],
    ])
      prepare(bench, repo, command)
    taken.dvc = (await timeOnce({ ...timed(bench, repo, ['dvc', 'push', '-q']), env: bucket.env })).seconds
    remove(repo)
  }
  return taken
}

async function* measurePull(bench: Bench, bucket: Bucket, repo: string, shape: TreeShape): AsyncIterable<Row> {
  const prefix = freshPrefix('pull')
  bucket.connect(repo, prefix)
  await timeOnce({ ...timed(bench, repo, bench.mlv('push')), env: bucket.env })
  const clone = join(bench.dir, 'clone')
  const cloneAgain = () => {
    setAside(bench, clone)
    prepare(bench, bench.dir, ['git', 'clone', '-q', repo, clone])
    bucket.connect(clone, prefix)
  }
  const [pull, checkout] = await timeInTurns(
    Math.min(bench.runs, 3),
    { ...timed(bench, bench.dir, bench.mlv('-C', clone, 'pull'), cloneAgain), env: bucket.env },
    timed(bench, bench.dir, bench.mlv('-C', clone, 'checkout'), () => setAside(bench, join(clone, 'data'))),
  )
  yield ratioRow(`pull ${shape.label}`, pull!.seconds, { what: 'checkout', seconds: checkout!.seconds }, 1.3)
  remove(clone)
}

async function* measureOneChange(bench: Bench, bucket: Bucket, repo: string, shape: TreeShape): AsyncIterable<Row> {
  bucket.connect(repo, freshPrefix('one'), 'counted')
  const push = { ...timed(bench, repo, bench.mlv('push')), env: bucket.env }
  await timeOnce(push)
  const first = bucket.meter.read()
  yield valueRow(`first push ${shape.label}`, first.requests.length, 'requests')
  yield valueRow(`… sends of ${Math.round((shape.files * shape.bytes) / MIB)} MiB`, first.bytesSent / MIB, 'MiB')
  appendFileSync(join(repo, 'data', '000', '000000.bin'), 'changed')
  prepare(bench, repo, bench.mlv('add', 'data'))
  commitAll(bench, repo)
  bucket.meter.reset()
  await timeOnce(push)
  const { requests, bytesSent } = bucket.meter.read()
  yield valueRow(`push of one changed file of ${shape.label}`, requests.length, 'requests', { atMost: 5 })
  yield valueRow('… sends', bytesSent / 1024, 'KiB')
  bucket.meter.reset()
  await timeOnce(push)
  yield valueRow(`push again, nothing changed, ${shape.label}`, bucket.meter.read().requests.length, 'requests')
}
