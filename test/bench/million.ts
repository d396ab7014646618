import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, type Section, timed } from './bench.ts'
import { measureMemory, median, type Timed } from './measure.ts'
import { type Row, ratioRow, valueRow } from './row.ts'
import { commitAll, initMlv, prepare, remove, writeTree } from './worlds.ts'

/** No command on a tree may need more, however many files it has. */
const MOST_MIB = 1024

/** A tree of so many files that whatever is done for each of them counts. */
export const section: Section = {
  name: 'million',
  async *measure(bench) {
    const files = bench.scaled(1_000_000)
    const label = `${files.toLocaleString('en')} × 7 B`
    const repo = initMlv(bench, 'million')
    writeTree(join(repo, 'data'), { label, files, bytes: 7, perFolder: 1000 })
    const add = await measureMemory(timed(bench, repo, bench.mlv('add', 'data')))
    yield valueRow(`add ${label}`, add.seconds, 's')
    yield valueRow('… peak memory', add.peak ?? Number.NaN, 'MiB', { atMost: MOST_MIB })
    commitAll(bench, repo)
    yield* measureWork(bench, repo, label)
    remove(repo)
  },
}

async function* measureWork(bench: Bench, repo: string, label: string): AsyncIterable<Row> {
  const folder = join('data', '007')
  const file = join(folder, '007007.bin')
  const command = (...args: string[]) => timed(bench, repo, bench.mlv(...args))
  const change = () => appendFileSync(join(repo, file), 'x')
  // Once, so that its rows are of an earlier command, as in daily work.
  prepare(bench, repo, bench.mlv('status'))
  const status = await medianOf(bench, command('status'))
  yield valueRow(`status, nothing changed, ${label}`, status.seconds, 's')
  yield valueRow('… peak memory', status.peak, 'MiB', { atMost: MOST_MIB })

  async function* hold(what: string, work: Timed, limit?: number): AsyncIterable<Row> {
    const { seconds, peak } = await medianOf(bench, work)
    yield ratioRow(`${what} of ${label}`, seconds, { what: 'status', seconds: status.seconds }, limit)
    yield valueRow('… peak memory', peak, 'MiB', { atMost: MOST_MIB })
  }
  yield* hold('add of one changed file', { ...command('add', file), before: change }, 1)
  yield* hold('checkout of one folder', { ...command('checkout', folder), before: () => remove(join(repo, folder)) }, 1)
  commitAll(bench, repo)
  yield* hold('diff of two commits', command('diff', 'HEAD~1', 'HEAD'), 1)
  // This one has to look at every file, as status does.
  yield* hold('diff with the workspace', { ...command('diff'), before: change })
}

async function medianOf(bench: Bench, work: Timed): Promise<{ seconds: number; peak: number }> {
  const seconds: number[] = []
  let peak = Number.NaN
  for (let run = 0; run < Math.min(bench.runs, 3); run++) {
    const taken = await measureMemory(work)
    seconds.push(taken.seconds)
    peak = Math.max(taken.peak ?? Number.NaN, Number.isNaN(peak) ? 0 : peak)
  }
  return { seconds: median(seconds), peak }
}
