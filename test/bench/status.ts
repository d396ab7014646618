import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, NODE_ALONE, type Section, timed } from './bench.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { peerRow, type Row, ratioRow } from './row.ts'
import { commitAll, initGit, initMlv, prepare, remove, type TreeShape, treeShapes, writeTree } from './worlds.ts'

/** Looking again at what was added: no file's content is read. */
export const section: Section = {
  name: 'status',
  async *measure(bench) {
    const { photos, labels } = treeShapes(bench)
    yield* measureTree(bench, photos)
    yield* measureTree(bench, labels)
  },
}

async function* measureTree(bench: Bench, shape: TreeShape): AsyncIterable<Row> {
  const repo = addedTree(bench, 'status', shape)
  const edited = addedTree(bench, 'edited', shape)
  const oneFile = join(edited, 'data', '000', '000000.bin')
  appendFileSync(oneFile, 'changed')

  const [floor, status, changed, add] = await timeInTurns(
    bench.runs,
    { commands: [['find', 'data', '-printf', '%s %T@ %p\n'], NODE_ALONE], cwd: repo, env: bench.env },
    timed(bench, repo, bench.mlv('status')),
    timed(bench, edited, bench.mlv('status')),
    timed(bench, repo, bench.mlv('add', 'data')),
  )
  const reference = { what: 'find + node -e 0', seconds: floor!.seconds }
  const asStatus = { what: 'status', seconds: status!.seconds }
  yield ratioRow(`status, nothing changed, ${shape.label}`, status!.seconds, reference, 4)
  yield ratioRow(`add again, nothing changed, ${shape.label}`, add!.seconds, reference, 4)
  yield ratioRow(`status, one file changed, ${shape.label}`, changed!.seconds, asStatus, 1.3)
  const [addOne] = await timeInTurns(
    bench.runs,
    timed(bench, edited, bench.mlv('add', 'data'), () => appendFileSync(oneFile, 'x')),
  )
  yield ratioRow(`add, one file changed, ${shape.label}`, addOne!.seconds, asStatus)
  remove(repo, edited)
  if (bench.has('dvc')) yield* measureDvc(bench, shape, { status: status!.seconds, add: add!.seconds })
}

function addedTree(bench: Bench, name: string, shape: TreeShape): string {
  const repo = initMlv(bench, name)
  writeTree(join(repo, 'data'), shape)
  prepare(bench, repo, bench.mlv('add', 'data'))
  commitAll(bench, repo)
  return repo
}

async function* measureDvc(bench: Bench, shape: TreeShape, ours: { status: number; add: number }): AsyncIterable<Row> {
  const repo = initGit(bench, 'dvc-status')
  prepare(bench, repo, ['dvc', 'init', '-q'])
  writeTree(join(repo, 'data'), shape)
  prepare(bench, repo, ['dvc', 'add', '-q', 'data'])
  const status = await timeOnce(timed(bench, repo, ['dvc', 'status', '-q']))
  yield peerRow(`dvc status ${shape.label}`, status.seconds, ours.status)
  const add = await timeOnce(timed(bench, repo, ['dvc', 'add', '-q', 'data']))
  yield peerRow(`dvc add again ${shape.label}`, add.seconds, ours.add)
  remove(repo)
}
