import { join } from 'node:path'
import { type Bench, type Section, timed } from './bench.ts'
import { type Bucket, openBucket } from './bucket.ts'
import { measureMemory, timeInTurns, timeOnce } from './measure.ts'
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
  const push = { ...timed(bench, repo, bench.mlv('push')), env: bucket.env }
  bucket.connect(repo, 'large')
  const peers = await copyWithPeers(bench, bucket, join(repo, 'model.bin'))
  const first = await measureMemory(push)
  yield ratioRow(`push ${label}`, first.seconds, bestOf(peers, 'push'), 1 / 0.8)
  for (const peer of peers) yield peerRow(`${peer.words}, up, ${label}`, peer.push, first.seconds)
  yield valueRow(`push ${label}, peak memory`, first.peak ?? Number.NaN, 'MiB', { atMost: 250 })

  const clone = join(bench.dir, 'large-clone')
  prepare(bench, bench.dir, ['git', 'clone', '-q', repo, clone])
  bucket.connect(clone, 'large')
  const pull = await measureMemory({ ...timed(bench, clone, bench.mlv('pull')), env: bucket.env })
  yield ratioRow(`pull ${label}`, pull.seconds, bestOf(peers, 'pull'), 1 / 0.8)
  for (const peer of peers) yield peerRow(`${peer.words}, down, ${label}`, peer.pull, pull.seconds)
  yield valueRow(`pull ${label}, peak memory`, pull.peak ?? Number.NaN, 'MiB', { atMost: 250 })

  writeLargeFile(join(repo, 'model.bin'), size, MIB)
  prepare(bench, repo, bench.mlv('add', 'model.bin'))
  commitAll(bench, repo)
  bucket.connect(repo, 'large', 'counted')
  bucket.meter.reset()
  const again = await measureMemory(push)
  const share = (100 * bucket.meter.read().bytesSent) / size
  yield valueRow('push again after 1 MiB inserted in the middle', again.seconds, 's')
  yield valueRow('… sends of the file', share, '%', { atMost: 1 })
  prepare(bench, clone, ['git', 'pull', '-q'])
  bucket.connect(clone, 'large', 'counted')
  bucket.meter.reset()
  const edited = await measureMemory({ ...timed(bench, clone, bench.mlv('pull')), env: bucket.env })
  const received = (100 * bucket.meter.read().bytesReceived) / size
  yield valueRow('pull of that version where the old one is in the cache', edited.seconds, 's')
  yield valueRow('… receives of the file', received, '%', { atMost: 1 })
  remove(clone)
}

interface PeerTimes {
  words: string
  push: number
  pull: number
}

/** One large file up and down with programs that copy, in parts and with many of them at once. */
async function copyWithPeers(bench: Bench, bucket: Bucket, file: string): Promise<PeerTimes[]> {
  const peers: PeerTimes[] = []
  const down = join(bench.dir, 'peer.bin')
  async function measure(words: string, push: string[], pull: string[]): Promise<void> {
    const run = (command: string[]) => timeOnce({ ...timed(bench, bench.dir, command), env: bucket.env })
    const times = { push: (await run(push)).seconds, pull: (await run(pull)).seconds }
    peers.push({ words, ...times })
    remove(down)
  }
  if (bench.has('rclone')) {
    const up = ['rclone', 'copyto', '--s3-upload-concurrency', '8', '--s3-chunk-size', '32M']
    const remote = `s:${bucket.name}/rclone-large/model.bin`
    await measure('rclone copyto', [...up, file, remote], ['rclone', 'copyto', '--multi-thread-streams', '8', remote, down])
  }
  if (bench.has('aws')) {
    const copy = ['aws', '--endpoint-url', bucket.server.endpoint, 's3', 'cp', '--quiet']
    const remote = `s3://${bucket.name}/aws-large/model.bin`
    await measure('aws s3 cp', [...copy, file, remote], [...copy, remote, down])
  }
  return peers
}

function bestOf(peers: PeerTimes[], way: 'push' | 'pull'): { what: string; seconds: number | undefined } {
  const best = peers.reduce<PeerTimes | undefined>((least, peer) => (least && least[way] <= peer[way] ? least : peer), undefined)
  return { what: best?.words ?? 'rclone or aws s3 cp', seconds: best?.[way] }
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
