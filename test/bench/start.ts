import { join } from 'node:path'
import { NODE_ALONE, type Section, timed } from './bench.ts'
import { timeInTurns } from './measure.ts'
import { ratioRow } from './row.ts'
import { commitAll, initMlv, prepare, writeOldFile } from './worlds.ts'

/** What every command costs before it does anything. */
export const section: Section = {
  name: 'start',
  async *measure(bench) {
    const repo = initMlv(bench, 'start')
    const names = Array.from({ length: 100 }, (_, i) => `model-${i}.bin`)
    for (const name of names) writeOldFile(join(repo, name), `the bytes of ${name}\n`)
    prepare(bench, repo, bench.mlv('add', ...names))
    commitAll(bench, repo)

    const [alone, version, status] = await timeInTurns(
      bench.runs * 3,
      timed(bench, repo, NODE_ALONE),
      timed(bench, repo, bench.mlv('--version')),
      timed(bench, repo, bench.mlv('status')),
    )
    const reference = { what: 'node -e 0', seconds: alone!.seconds }
    yield ratioRow('mlv --version', version!.seconds, reference, 2)
    yield ratioRow('status, 100 pointers, nothing changed', status!.seconds, reference, 4)
  },
}
