import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { type Bench, NODE_ALONE, type Section, timed } from './bench.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { peerRow, ratioRow } from './row.ts'
import { commitAll, initMlv, prepare, remove } from './worlds.ts'

/** A long history, in which each commit changed a parameter and a metric. */
export const section: Section = {
  name: 'exp',
  async *measure(bench) {
    const count = bench.scaled(1000)
    const repo = initMlv(bench, 'exp')
    commitAll(bench, repo)
    writeHistory(bench, repo, count)
    const show = bench.mlv('exp', 'show', '--all-commits', '--json')
    const forget = () => remove(join(repo, '.git', 'mlv', 'state'))
    const [floor, first, again] = await timeInTurns(
      bench.runs,
      { commands: [['git', 'log', '--raw'], NODE_ALONE], cwd: repo, env: bench.env },
      timed(bench, repo, show, forget),
      timed(bench, repo, show),
    )
    const reference = { what: 'git log --raw + node -e 0', seconds: floor!.seconds }
    yield ratioRow(`exp show of ${count} commits`, first!.seconds, reference, 6)
    yield ratioRow(`exp show of ${count} commits, again`, again!.seconds, reference, 6)
    if (bench.has('dvc')) {
      prepare(bench, repo, ['dvc', 'init', '-q'])
      const command = ['dvc', 'exp', 'show', '-A', '--json']
      yield peerRow('dvc exp show -A', (await timeOnce(timed(bench, repo, command))).seconds, first!.seconds)
      yield peerRow('dvc exp show -A, again', (await timeOnce(timed(bench, repo, command))).seconds, again!.seconds)
    }
    remove(repo)
  },
}

function writeHistory(bench: Bench, repo: string, count: number): void {
  const pipeline = `stages:
  train:
    cmd: node train.mjs
    deps: [train.mjs]
    params: [train]
    metrics: [metrics/eval.json]
`
  const commits = Array.from({ length: count }, (_, i) => {
    const files: Record<string, string> = {
      'params.yaml': `train:\n  lr: ${(i + 1) / 1000}\n  epochs: ${10 + (i % 7)}\n  seed: 1\n`,
      'metrics/eval.json': `${JSON.stringify({ accuracy: 1 - 1 / (i + 2), log_loss: 1 / (i + 2), classes: { a: { recall: i / count } } }, null, 2)}\n`,
    }
    if (i === 0) Object.assign(files, { 'mlv.yaml': pipeline, 'dvc.yaml': pipeline, 'train.mjs': '// trains\n' })
    const changes = Object.entries(files).map(([name, text]) => `M 100644 inline ${name}\n${data(text)}`)
    const parent = i === 0 ? 'from refs/heads/main^0\n' : ''
    const when = `${1_700_000_000 + i * 60} +0000`
    return `commit refs/heads/main\ncommitter Bench <bench@example.org> ${when}\n${data(`Try ${i}`)}${parent}${changes.join('')}\n`
  })
  const input = commits.join('')
  execFileSync('git', ['fast-import', '--quiet'], { cwd: repo, env: bench.env as NodeJS.ProcessEnv, input })
  prepare(bench, repo, ['git', 'reset', '-q', '--hard'])
}

/** One block of git's fast-import format. */
function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`
}
