import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NODE_ALONE, type Section, timed } from './bench.ts'
import { timeInTurns, timeOnce } from './measure.ts'
import { ratioRow, valueRow } from './row.ts'
import { commitAll, initMlv, remove, writeOldFile } from './worlds.ts'

const BATCH = 100

/** Copies the files of a list of datums: what the measured program is. */
const COPY = `import { copyFileSync, readFileSync } from 'node:fs'
for (const line of readFileSync(process.argv[2], 'utf8').trim().split('\\n')) {
  const { in: inputs, out } = JSON.parse(line)
  const [path] = Object.values(inputs)[0]
  copyFileSync(path, out + '/' + path.split('/').pop())
}
`

/** Map stages, stages side by side, large graphs, and what one stage costs. */
export const section: Section = {
  name: 'map',
  async *measure(bench) {
    const count = bench.scaled(10_000)
    const repo = initMlv(bench, 'map')
    mkdirSync(join(repo, 'raw'))
    for (let i = 0; i < count; i++) writeOldFile(join(repo, 'raw', `${String(i).padStart(5, '0')}.txt`), `${i}\n`)
    writeFileSync(join(repo, 'copy.mjs'), COPY)
    writeFileSync(
      join(repo, 'mlv.yaml'),
      `stages:\n  copy: {each: {input: raw, glob: "*.txt"}, batch: ${BATCH}, cmd: "node copy.mjs {list}", deps: [copy.mjs], outs: [copied]}\n`,
    )
    // The same batches by a plain loop of the shell.
    const lists = join(bench.dir, 'lists')
    const plain = join(bench.dir, 'plain')
    mkdirSync(lists)
    mkdirSync(plain)
    for (let at = 0; at < count; at += BATCH) {
      const names = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => `raw/${String(at + i).padStart(5, '0')}.txt`)
      const lines = names.map((path) => JSON.stringify({ in: { raw: [path] }, out: plain }))
      writeFileSync(join(lists, String(at)), `${lines.join('\n')}\n`)
    }
    // Both make new files: writing over those of the round before would cost less.
    const loop = timed(bench, repo, ['sh', '-c', `for list in ${lists}/*; do node copy.mjs $list; done`], () => {
      remove(plain)
      mkdirSync(plain)
    })
    const anew = () => remove(...['.git/mlv', 'copied', 'mlv.lock', '.gitignore'].map((path) => join(repo, path)))
    const [shell, first] = await timeInTurns(bench.runs, loop, timed(bench, repo, bench.mlv('repro'), anew))
    const what = `map stage of ${count} datums`
    yield ratioRow(`${what}, first run`, first!.seconds, { what: 'the batches in a shell loop', seconds: shell!.seconds }, 1.2)
    commitAll(bench, repo)
    let added = 0
    const addOne = () => writeOldFile(join(repo, 'raw', `new-${added++}.txt`), `new ${added}\n`)
    const [again, one] = await timeInTurns(
      bench.runs,
      timed(bench, repo, bench.mlv('repro')),
      timed(bench, repo, bench.mlv('repro'), addOne),
    )
    yield ratioRow(`${what}, one file added`, one!.seconds, { what: 'nothing changed', seconds: again!.seconds }, 2)
    remove(repo, lists, plain)

    const side = initMlv(bench, 'side')
    const sleeps = Array.from({ length: 8 }, (_, i) => `  s${i}: {cmd: sleep 1}\n`).join('')
    writeFileSync(join(side, 'mlv.yaml'), `stages:\n${sleeps}`)
    const eight = await timeOnce(timed(bench, side, bench.mlv('repro', '-j', '8')))
    yield valueRow('8 stages of sleep 1 with -j 8', eight.seconds, 's', { atMost: 1.5 })
    remove(side)

    const large = bench.scaled(10_000)
    const graph = initMlv(bench, 'graph')
    const keys = Array.from({ length: large }, (_, i) => i).join(', ')
    writeFileSync(
      join(graph, 'mlv.yaml'),
      `stages:\n  s:\n    foreach: [${keys}]\n    do: {cmd: "echo \${item} > \${item}.txt", outs: ["\${item}.txt"]}\n`,
    )
    const [alone, planned] = await timeInTurns(
      bench.runs,
      timed(bench, graph, NODE_ALONE),
      timed(bench, graph, bench.mlv('repro', '--dry-run', '--quiet')),
    )
    yield ratioRow(`plan of ${large} stages by foreach`, planned!.seconds, { what: 'node -e 0', seconds: alone!.seconds }, 30)
    remove(graph)
  },
}
