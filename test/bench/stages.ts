import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, type Section, timed } from './bench.ts'
import { type Sample, timeInTurns } from './measure.ts'
import { valueRow } from './row.ts'
import { commitAll, initMlv, prepare, remove } from './worlds.ts'

/** Stages that stand for what every repro costs, whatever it does. */
const FEW = 20

/** What a stage costs beside its command: the time that more stages of one chain take, per stage. */
export const section: Section = {
  name: 'stages',
  async *measure(bench) {
    const more = bench.scaled(300)
    const [few, many] = [writeChain(bench, FEW), writeChain(bench, FEW + more)]
    const bare = join(bench.dir, 'bare.sh')
    writeFileSync(bare, Array.from({ length: more }, (_, i) => `sh -c 'echo ${i} | cat salt.txt - > out/${i}.txt'\n`).join(''))
    const each = (fewer: Sample, longer: Sample, commands = 0) => (1000 * (longer.seconds - fewer.seconds - commands)) / more
    const pair = (before: (repo: string) => void) =>
      [few, many].map((repo) => timed(bench, repo, bench.mlv('repro', '--quiet'), () => before(repo)))

    let salt = 0
    const changeAll = (repo: string) => writeFileSync(join(repo, 'salt.txt'), `salt ${++salt}\n`)
    const [commands, ...ran] = await timeInTurns(bench.runs, timed(bench, many, ['sh', bare]), ...pair(changeAll))
    yield valueRow('a stage that runs, over its command', each(ran[0]!, ran[1]!, commands!.seconds), 'ms a stage', { atMost: 10 })

    const fromLock = await timeInTurns(bench.runs, ...pair((repo) => remove(join(repo, 'out'))))
    yield valueRow('… restored as mlv.lock says', each(fromLock[0]!, fromLock[1]!), 'ms a stage', { atMost: 10 })

    const forget = (repo: string) => {
      remove(join(repo, 'out'))
      rmSync(join(repo, 'mlv.lock'))
    }
    const fromRuns = await timeInTurns(bench.runs, ...pair(forget))
    yield valueRow('… restored from the run cache', each(fromRuns[0]!, fromRuns[1]!), 'ms a stage', { atMost: 10 })
    remove(few, many, bare)
  },
}

/** Stages in a chain, each with an out, all of which run again when one file changes. */
function writeChain(bench: Bench, count: number): string {
  const repo = initMlv(bench, `chain-${count}`)
  mkdirSync(join(repo, 'out'))
  writeFileSync(join(repo, 'salt.txt'), 'salt\n')
  const stages = Array.from({ length: count }, (_, i) => {
    const deps = i === 0 ? 'salt.txt' : `salt.txt, out/${i - 1}.txt`
    return `  s${i}: {cmd: "echo ${i} | cat salt.txt - > out/${i}.txt", deps: [${deps}], outs: [out/${i}.txt]}\n`
  })
  writeFileSync(join(repo, 'mlv.yaml'), `stages:\n${stages.join('')}`)
  prepare(bench, repo, bench.mlv('repro', '--quiet'))
  commitAll(bench, repo)
  return repo
}
