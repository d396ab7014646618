import { writeFileSync } from 'node:fs'
import { cpus, release, type } from 'node:os'
import { parseArgs } from 'node:util'
import { type Bench, openBench, type Section } from './bench.ts'
import { formatRow, formatTable, type Row } from './row.ts'

const SECTIONS: Record<string, () => Promise<{ section: Section }>> = {
  start: () => import('./start.ts'),
  add: () => import('./add.ts'),
  status: () => import('./status.ts'),
  checkout: () => import('./checkout.ts'),
  push: () => import('./push.ts'),
  large: () => import('./large.ts'),
  chunker: () => import('./chunker.ts'),
  repro: () => import('./repro.ts'),
  stages: () => import('./stages.ts'),
  million: () => import('./million.ts'),
  many: () => import('./many.ts'),
  map: () => import('./map.ts'),
  exp: () => import('./exp.ts'),
}

const HELP = `Usage: npm run bench -- [SECTION…] [options]

Whole processes, medians, ratios taken in one run. Sections: ${Object.keys(SECTIONS).join(', ')}; all by default.

  --json FILE   also write the rows as JSON
  --quick       a fiftieth of the sizes, one run each, no limits: checks the bench, not mlv
  --no-peers    leave out dvc, git-lfs, git-annex, rclone and aws
  --dir DIR     work below DIR instead of the temporary folder
`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
      'no-peers': { type: 'boolean', default: false },
      dir: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const unknown = positionals.find((name) => !Object.hasOwn(SECTIONS, name))
  if (values.help || unknown) {
    console.log(unknown ? `There is no section "${unknown}".\n\n${HELP}` : HELP)
    return unknown ? 2 : 0
  }
  const names = positionals.length > 0 ? positionals : Object.keys(SECTIONS)
  const bench = openBench({ quick: values.quick, peers: !values['no-peers'], parent: values.dir })
  process.once('exit', bench.close)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

  const results: { section: string; rows: Row[]; failure?: string }[] = []
  for (const name of names) results.push(await measureSection(name, bench, values.quick))

  const rows = results.flatMap((result) => result.rows)
  console.log(`\n${formatTable(rows)}\n\n${machine()}`)
  for (const { section, failure } of results) if (failure) console.log(`${section}: STOPPED: ${failure.split('\n')[0]}`)
  if (values.json)
    writeFileSync(values.json, `${JSON.stringify({ machine: machine(), quick: values.quick, results }, null, 2)}\n`)
  return results.some((result) => result.failure) || rows.some((row) => row.met === false) ? 1 : 0
}

async function measureSection(
  name: string,
  bench: Bench,
  quick: boolean,
): Promise<{ section: string; rows: Row[]; failure?: string }> {
  const rows: Row[] = []
  try {
    const { section } = await SECTIONS[name]!()
    for await (const measured of section.measure(bench)) {
      const row = quick ? { ...measured, limit: undefined, met: undefined } : measured
      rows.push(row)
      console.log(`${name}: ${formatRow(row)}`)
    }
    return { section: name, rows }
  } catch (error) {
    // The other sections are worth having all the same.
    const failure = error instanceof Error ? error.message : String(error)
    console.log(`${name}: STOPPED: ${failure}`)
    return { section: name, rows, failure }
  }
}

function machine(): string {
  const processors = cpus()
  return `${processors.length} × ${processors[0]?.model ?? 'unknown processor'}, ${type()} ${release()}, Node ${process.version}`
}

process.exitCode = await main()
