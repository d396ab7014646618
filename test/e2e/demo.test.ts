import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { findMlflow, startMlflow } from '../helpers/mlflow-server.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Shown {
  status: number
  stdout: string
  stderr: string
  /** what the demo has left in the temporary folder */
  left: string[]
  temporary: string
}

async function demo(env: Record<string, string | undefined>): Promise<Shown> {
  const temporary = realpathSync(mkdtempSync(join(tmpdir(), 'mlv-test-demo-')))
  onTestFinished(() => rmSync(temporary, { recursive: true, force: true, maxRetries: 3 }))
  const { CI, MLFLOW_TRACKING_URI, ...outer } = process.env
  const options = { env: { ...outer, TMPDIR: temporary, ...env }, encoding: 'utf8' as const }
  return new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, 'examples', 'demo.mjs')], options, (error, stdout, stderr) => {
      const status = error ? Number(error.code) : 0
      resolve({ status, stdout, stderr, left: readdirSync(temporary).filter((name) => name.startsWith('mlv-demo-')), temporary })
    })
  })
}

/** What one command of the demo printed, by its line. */
function outputOf(stdout: string, command: string, nth = 0): string {
  const after = stdout.split(`$ ${command}\n`)[nth + 1]
  if (after === undefined) throw new Error(`The demo did not run "${command}" ${nth + 1} times:\n${stdout}`)
  return after.split(/\n(?:\S+ )?\$ |\n# /)[0]!
}

test('the demo runs to its end, reruns only what changed, and removes its folder in CI', { timeout: 400_000 }, async () => {
  const { status, stdout, stderr, left } = await demo({ CI: 'true' })
  expect(stderr).not.toMatch(/error|bug/)
  expect(status).toBe(0)

  for (const stage of ['prepare', 'train', 'evaluate'])
    expect(outputOf(stdout, 'mlv repro')).toMatch(new RegExp(`^ran +${stage}`, 'm'))
  const onBranch = outputOf(stdout, 'mlv repro', 1)
  expect(onBranch).toMatch(/^unchanged +prepare$/m)
  expect(onBranch).toContain('params.yaml: train.lr 0.1 → 0.2')
  expect(onBranch).toMatch(/^ran +train/m)
  expect(onBranch).toMatch(/^ran +evaluate/m)

  expect(outputOf(stdout, 'mlv metrics diff main')).toMatch(/accuracy +0\.95146 +0\.98058 .*better/)
  const experiments = outputOf(stdout, 'mlv exp show --all-branches')
  expect(experiments).toMatch(/^main .* 0\.95146 /m)
  expect(experiments).toMatch(/^exp\/faster-learning .* 0\.98058 /m)
  expect(stdout).toMatch(/would export to experiment "penguins".*: 2 to create/)

  expect(outputOf(stdout, 'mlv pull')).toMatch(/fetched \d+ objects/)
  const inClone = outputOf(stdout, 'mlv repro', 2)
  expect(inClone).not.toMatch(/^ran|^running/m)
  expect(stdout).toContain('# Done')
  // No colours where nobody looks.
  expect(stdout).not.toContain('\u001b')
  expect(left).toEqual([])
})

test.skipIf(!findMlflow())(
  'the demo exports to the MLflow server that MLFLOW_TRACKING_URI names',
  { timeout: 400_000 },
  async () => {
    const server = (await startMlflow())!
    onTestFinished(() => server.stop())
    const { status, stdout } = await demo({ CI: 'true', MLFLOW_TRACKING_URI: server.uri })
    expect(status).toBe(0)
    expect(outputOf(stdout, `mlv mlflow export --all-branches --tracking-uri ${server.uri}`)).toMatch(/2 created/)
    const search = JSON.stringify({ filter: "name = 'penguins'", max_results: 10 })
    const found = await fetch(`${server.uri}/api/2.0/mlflow/experiments/search`, {
      ...{ method: 'POST', body: search, headers: { 'content-type': 'application/json' } },
    })
    expect(await found.json()).toMatchObject({ experiments: [{ name: 'penguins' }] })
  },
)

test('the demo stops at the first command that fails, with its status, and says what it leaves', {
  timeout: 400_000,
}, async () => {
  // Port 1 of loopback: nothing listens there.
  const { status, stdout, stderr, left, temporary } = await demo({ MLFLOW_TRACKING_URI: 'http://127.0.0.1:1' })
  expect(status).toBeGreaterThan(2)
  expect(stdout).toContain('$ mlv mlflow export --all-branches --tracking-uri http://127.0.0.1:1\n')
  expect(stdout).not.toContain('$ git clone')
  expect(left).toHaveLength(1)
  expect(stderr).toContain(
    `The demo stops here: mlv: it ended with status ${status}. What there is so far: ${join(temporary, left[0]!)}`,
  )
  expect(readdirSync(join(temporary, left[0]!, 'penguins'))).toContain('data.mlv')
})

test("the example's data is what the npm package vega-datasets ships", () => {
  const ours = readFileSync(join(ROOT, 'examples/penguins/data/penguins.json'))
  expect(ours.equals(readFileSync(join(ROOT, 'node_modules/vega-datasets/data/penguins.json')))).toBe(true)
})
