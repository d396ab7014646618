import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, NODE_ALONE, type Section, timed } from './bench.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { peerRow, ratioRow, valueRow } from './row.ts'
import { commitAll, initMlv, prepare, remove, writeOldFile } from './worlds.ts'

/** A pipeline of many stages that do nothing: what is left is the pipeline's own cost. */
export const section: Section = {
  name: 'repro',
  async *measure(bench) {
    const count = bench.scaled(1000)
    const repo = writePipeline(bench, count, 'mlv')
    const bare = join(bench.dir, 'bare.sh')
    writeFileSync(bare, 'sh -c true\n'.repeat(count))
    const [commands] = await timeInTurns(bench.runs, timed(bench, repo, ['sh', bare]))
    // Not in turns: the first run is made once for each repository.
    const first = await timeOnce(timed(bench, repo, bench.mlv('repro')))
    const over = (1000 * (first.seconds - commands!.seconds)) / count
    yield ratioRow(`first repro of ${count} stages`, first.seconds, { what: 'the commands alone', seconds: commands!.seconds })
    yield valueRow('… over the commands alone', over, 'ms a stage', { atMost: 10 })
    const twice = writePipeline(bench, 2 * count, 'mlv')
    const longer = await timeOnce(timed(bench, twice, bench.mlv('repro')))
    yield ratioRow(`first repro of ${2 * count} stages`, longer.seconds, { what: `of ${count}`, seconds: first.seconds }, 2.5)
    remove(twice)

    commitAll(bench, repo)
    const [alone, again] = await timeInTurns(bench.runs, timed(bench, repo, NODE_ALONE), timed(bench, repo, bench.mlv('repro')))
    yield ratioRow(`repro of ${count} stages, nothing changed`, again!.seconds, { what: 'node -e 0', seconds: alone!.seconds }, 5)
    // DVC takes 1.3 s a stage and more for the first run, so it is asked for a tenth.
    if (bench.has('dvc')) {
      const other = writePipeline(bench, Math.ceil(count / 10), 'dvc')
      yield peerRow(
        `dvc repro, first run of ${Math.ceil(count / 10)} stages`,
        (await timeOnce(timed(bench, other, ['dvc', 'repro', '-q']))).seconds,
      )
      yield peerRow(
        `dvc repro, nothing changed, ${Math.ceil(count / 10)} stages`,
        (await timeOnce(timed(bench, other, ['dvc', 'repro', '-q']))).seconds,
      )
      remove(other)
    }
    remove(repo, bare)

    const many = writeForeach(bench, bench.scaled(10_000))
    const [nothing, planned] = await timeInTurns(
      bench.runs,
      timed(bench, many, NODE_ALONE),
      timed(bench, many, bench.mlv('repro', '--dry-run')),
    )
    yield ratioRow(
      `plan of ${bench.scaled(10_000)} stages by foreach`,
      planned!.seconds,
      { what: 'node -e 0', seconds: nothing!.seconds },
      30,
    )
    remove(many)
  },
}

/** Stages that one template makes, each of a file of its own. */
function writeForeach(bench: Bench, count: number): string {
  const repo = initMlv(bench, 'repro-foreach')
  mkdirSync(join(repo, 'in'))
  const names = Array.from({ length: count }, (_, i) => `s${i}`)
  for (const name of names) writeOldFile(join(repo, 'in', name), name)
  writeFileSync(join(repo, 'params.yaml'), `names:\n${names.map((name) => `  - ${name}\n`).join('')}`)
  writeFileSync(
    join(repo, 'mlv.yaml'),
    'stages:\n  each:\n    foreach: ${names}\n    do:\n      cmd: "true ${item}"\n      deps: ["in/${item}"]\n',
  )
  commitAll(bench, repo)
  return repo
}

/** Stages with two files of their own each, all in one folder. */
function writePipeline(bench: Bench, count: number, program: 'mlv' | 'dvc'): string {
  const repo = initMlv(bench, `repro-${program}`)
  if (program === 'dvc') prepare(bench, repo, ['dvc', 'init', '-q'])
  mkdirSync(join(repo, 'in'))
  const stages = Array.from({ length: count }, (_, i) => {
    const deps = [`in/${i}-a.txt`, `in/${i}-b.txt`]
    for (const name of deps) writeOldFile(join(repo, name), `${name}\n`)
    return `  s${i}:\n    cmd: "true"\n    deps: [${deps.join(', ')}]\n`
  })
  writeFileSync(join(repo, `${program}.yaml`), `stages:\n${stages.join('')}`)
  commitAll(bench, repo)
  return repo
}
