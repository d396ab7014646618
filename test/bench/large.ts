import { join } from 'node:path'
import { type Bench, type Section, timed } from './bench.ts'
import { type Bucket, openBucket } from './bucket.ts'
import { measureMemory, type Sample, type Timed, timeInTurns } from './measure.ts'
import { peerRow, type Row, ratioRow, valueRow } from './row.ts'
import { commitAll, initGit, initMlv, prepare, remove, writeLargeFile } from './worlds.ts'

const MIB = 1 << 20

/** One large file: time, memory, and what an edit sends. */
export const section: Section = {
  name: 'large',
  async *measure(bench) {
    const size = bench.scaled(2048) * MIB
    const label = `${size / MIB} MiB`
    const repo = initMlv(bench, 'large')
    writeLargeFile(join(repo, 'model.bin'), size)
    yield* measureAdd(bench, repo, label)
    const bucket = await openBucket(bench)
    try {
      yield* measureTransfer(bench, bucket, repo, size)
      remove(repo)
      yield* measureHuge(bench, bucket)
      if (bench.has('dvc')) yield* measureDvc(bench, bucket, size)
    } finally {
      await bucket.stop()
    }
  },
}

async function* measureAdd(bench: Bench, repo: string, label: string): AsyncIterable<Row> {
  const copy = join(bench.dir, 'large-copy')
  const startAfresh = () => {
    remove(...['.git/mlv', '.mlv', '.mlvignore', '.gitignore', '.gitattributes', 'model.bin.mlv'].map((name) => join(repo, name)))
    prepare(bench, repo, bench.mlv('init', '--quiet'))
  }
  const file = join(repo, 'model.bin')
  const floor = {
    ...{ cwd: repo, env: bench.env, before: () => remove(copy) },
    commands: [
      ['openssl', 'dgst', '-sha256', file],
      ['cp', file, copy],
    ],
  }
  const add = timed(bench, repo, bench.mlv('add', 'model.bin'), startAfresh)
  const runs = Math.min(bench.runs, 3)
  if (bench.has('openssl')) {
    const [reference, ours] = await timeInTurns(runs, floor, add)
    yield ratioRow(`add ${label}`, ours!.seconds, { what: 'openssl dgst + cp', seconds: reference!.seconds }, 1.1)
  } else {
    const [ours] = await timeInTurns(runs, add)
    yield ratioRow(`add ${label}`, ours!.seconds, { what: 'openssl dgst + cp', seconds: undefined }, 1.1)
  }
  remove(copy)
  const { peak } = await measureMemory(add)
  yield valueRow(`add ${label}, peak memory`, peak ?? Number.NaN, 'MiB', { atMost: 250 })
  commitAll(bench, repo)
}

async function* measureTransfer(bench: Bench, bucket: Bucket, repo: string, size: number): AsyncIterable<Row> {
  const label = `${size / MIB} MiB`
  const file = join(repo, 'model.bin')
  const peers = peersOf(bench, bucket, file)
  const runs = Math.min(bench.runs, 3)
  let pushes = 0
  const push = {
    ...{ ...timed(bench, repo, bench.mlv('push')), env: bucket.env },
    before: () => {
      // A remote that has nothing yet.
      bucket.connect(repo, `large-${++pushes}`)
      warmMemory(bench, size)
    },
  }
  const ups = peers.map(({ up }) => ({ ...up, before: () => warmMemory(bench, size) }))
  const [pushed, ...sent] = await timeInTurns(runs, push, ...ups)
  yield ratioRow(`push ${label}`, pushed!.seconds, bestOf(peers, sent), 1 / 0.8)
  for (const [i, peer] of peers.entries()) yield peerRow(`${peer.words}, up, ${label}`, sent[i]!.seconds, pushed!.seconds)
  const { peak } = await measureMemory(push)
  yield valueRow(`push ${label}, peak memory`, peak ?? Number.NaN, 'MiB', { atMost: 250 })

  const clone = join(bench.dir, 'large-clone')
  const pull = {
    ...{ ...timed(bench, bench.dir, bench.mlv('-C', clone, 'pull')), env: bucket.env },
    before: () => {
      remove(clone, ...peers.map(({ down }) => down))
      prepare(bench, bench.dir, ['git', 'clone', '-q', repo, clone])
      bucket.connect(clone, `large-${pushes}`)
      warmMemory(bench, 2 * size)
    },
  }
  const downs = peers.map(({ fetch, down }) => ({
    ...fetch,
    before: () => {
      remove(clone, down)
      warmMemory(bench, 2 * size)
    },
  }))
  const [pulled, ...received] = await timeInTurns(runs, pull, ...downs)
  yield ratioRow(`pull ${label}`, pulled!.seconds, bestOf(peers, received), 1 / 0.8)
  for (const [i, peer] of peers.entries()) yield peerRow(`${peer.words}, down, ${label}`, received[i]!.seconds, pulled!.seconds)
  for (const { down } of peers) remove(down)
  const pullOnce = await measureMemory(pull)
  yield valueRow(`pull ${label}, peak memory`, pullOnce.peak ?? Number.NaN, 'MiB', { atMost: 250 })

  writeLargeFile(join(repo, 'model.bin'), size, MIB)
  prepare(bench, repo, bench.mlv('add', 'model.bin'))
  commitAll(bench, repo)
  bucket.connect(repo, `large-${pushes}`, 'counted')
  bucket.meter.reset()
  const again = await measureMemory({ ...push, before: undefined })
  const share = (100 * bucket.meter.read().bytesSent) / size
  yield valueRow('push again after 1 MiB inserted in the middle', again.seconds, 's')
  yield valueRow('… sends of the file', share, '%', { atMost: 1 })
  prepare(bench, clone, ['git', 'pull', '-q'])
  bucket.connect(clone, `large-${pushes}`, 'counted')
  bucket.meter.reset()
  const edited = await measureMemory({ ...timed(bench, clone, bench.mlv('pull')), env: bucket.env })
  const shareReceived = (100 * bucket.meter.read().bytesReceived) / size
  yield valueRow('pull of that version where the old one is in the cache', edited.seconds, 's')
  yield valueRow('… receives of the file', shareReceived, '%', { atMost: 1 })
  remove(clone)
}

/** Memory does not grow with the file. */
async function* measureHuge(bench: Bench, bucket: Bucket): AsyncIterable<Row> {
  const size = bench.scaled(10240) * MIB
  const repo = initMlv(bench, 'huge')
  writeLargeFile(join(repo, 'model.bin'), size)
  prepare(bench, repo, bench.mlv('add', '--quiet', 'model.bin'))
  bucket.connect(repo, 'huge')
  const { seconds, peak } = await measureMemory({ ...timed(bench, repo, bench.mlv('push')), env: bucket.env })
  yield valueRow(`push ${size / MIB} MiB`, seconds, 's')
  yield valueRow(`push ${size / MIB} MiB, peak memory`, peak ?? Number.NaN, 'MiB', { atMost: 300 })
  remove(repo)
}

/** A program that copies one large file up and down, in parts and with many of them at once. */
interface Peer {
  words: string
  up: Timed
  fetch: Timed
  /** the file that it fetches */
  down: string
}

function peersOf(bench: Bench, bucket: Bucket, file: string): Peer[] {
  const peers: Peer[] = []
  const run = (command: string[]): Timed => ({ ...timed(bench, bench.dir, command), env: bucket.env })
  if (bench.has('rclone')) {
    const down = join(bench.dir, 'rclone.bin')
    const remote = `s:${bucket.name}/rclone-large/model.bin`
    const up = run(['rclone', 'copyto', '--ignore-times', '--s3-upload-concurrency', '8', '--s3-chunk-size', '32M', file, remote])
    const fetch = run(['rclone', 'copyto', '--multi-thread-streams', '8', remote, down])
    peers.push({ words: 'rclone copyto', up, fetch, down })
  }
  if (bench.has('aws')) {
    const down = join(bench.dir, 'aws.bin')
    const copy = ['aws', '--endpoint-url', bucket.server.endpoint, 's3', 'cp', '--quiet']
    const remote = `s3://${bucket.name}/aws-large/model.bin`
    peers.push({ words: 'aws s3 cp', up: run([...copy, file, remote]), fetch: run([...copy, remote, down]), down })
  }
  return peers
}

/** A virtual machine may have to ask its host for memory that was not used lately, seconds a GiB: before each run as much was just used. */
function warmMemory(bench: Bench, bytes: number): void {
  const fill = `for (let at = 0; at < ${bytes}; at += ${256 * MIB}) (globalThis.kept ??= []).push(Buffer.alloc(${256 * MIB}, 1))`
  prepare(bench, bench.dir, [process.execPath, '-e', fill])
}

function bestOf(peers: Peer[], samples: Sample[]): { what: string; seconds: number | undefined } {
  const best = peers
    .map(({ words }, i) => ({ what: words, seconds: samples[i]!.seconds }))
    .sort((a, b) => a.seconds - b.seconds)[0]
  return best ?? { what: 'rclone or aws s3 cp', seconds: undefined }
}

async function* measureDvc(bench: Bench, bucket: Bucket, size: number): AsyncIterable<Row> {
  const repo = initGit(bench, 'dvc-large')
  writeLargeFile(join(repo, 'model.bin'), size)
  for (const command of [
    ['dvc', 'init', '-q'],
    ['dvc', 'remote', 'add', '-q', '-d', 'bench', `s3://${bucket.name}/dvc-large`],
    ['dvc', 'remote', 'modify', '-q', 'bench', 'endpointurl', bucket.server.endpoint],
  ])
    prepare(bench, repo, command)
  for (const verb of ['add', 'push'] as const) {
    const command = verb === 'add' ? ['dvc', 'add', '-q', 'model.bin'] : ['dvc', 'push', '-q']
    const { seconds, peak } = await measureMemory({ ...timed(bench, repo, command), env: bucket.env })
    yield peerRow(`dvc ${verb} ${size / MIB} MiB`, seconds)
    yield { ...valueRow(`dvc ${verb} ${size / MIB} MiB, peak memory`, peak ?? Number.NaN, 'MiB'), peer: true }
  }
  remove(repo)
}
