import { join } from 'node:path'
import { type Bench, type Section, timed } from './bench.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { peerRow, type Row, ratioRow } from './row.ts'
import { commitAll, initGit, initMlv, prepare, remove, type TreeShape, treeShapes, writeTree } from './worlds.ts'

/** From the cache into the workspace. */
export const section: Section = {
  name: 'checkout',
  async *measure(bench) {
    const { photos, labels } = treeShapes(bench)
    yield* measureTree(bench, photos)
    yield* measureTree(bench, labels)
  },
}

async function* measureTree(bench: Bench, shape: TreeShape): AsyncIterable<Row> {
  const repo = initMlv(bench, 'checkout')
  const original = bench.folder('original')
  writeTree(join(original, 'data'), shape)
  prepare(bench, repo, ['cp', '-r', join(original, 'data'), 'data'])
  prepare(bench, repo, bench.mlv('add', 'data'))
  commitAll(bench, repo)
  const copy = join(bench.dir, 'copy')
  const [copied, checkout] = await timeInTurns(
    bench.runs,
    timed(bench, bench.dir, ['cp', '-r', join(original, 'data'), copy], () => remove(copy)),
    timed(bench, repo, bench.mlv('checkout'), () => remove(join(repo, 'data'))),
  )
  yield ratioRow(`checkout ${shape.label}`, checkout!.seconds, { what: 'cp -r', seconds: copied!.seconds }, 1.2)
  if (bench.has('dvc')) {
    const other = initGit(bench, 'dvc-checkout')
    prepare(bench, other, ['dvc', 'init', '-q'])
    prepare(bench, other, ['cp', '-r', join(original, 'data'), 'data'])
    prepare(bench, other, ['dvc', 'add', '-q', 'data'])
    const dvc = await timeOnce(timed(bench, other, ['dvc', 'checkout', '-q'], () => remove(join(other, 'data'))))
    yield peerRow(`dvc checkout ${shape.label}`, dvc.seconds, checkout!.seconds)
    remove(other)
  }
  remove(repo, original, copy)
}
