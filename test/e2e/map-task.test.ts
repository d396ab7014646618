import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { BIN, makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'

const NODE = process.env.MLV_TEST_NODE || process.execPath

/** Two datums a batch, and code that all share; counts its runs outside of the pipeline. */
const BATCHES = `stages:
  upper:
    each: {input: raw, glob: "**/*.txt"}
    batch: 2
    deps: [up.sh]
    env: [RUNS]
    cmd: sh up.sh {list}
    outs: [out/upper]
`
/** Reads the list as a shell can: each line of JSON has one input and one folder. */
const SCRIPT = `while read -r line; do
  in=$(echo "$line" | sed 's/.*"raw":."\\([^"]*\\)".*/\\1/')
  out=$(echo "$line" | sed 's/.*"out":"\\([^"]*\\)".*/\\1/')
  ! grep -q bad "$in" || exit 3
  tr a-z A-Z < "$in" > "$out/$(basename "$in" .txt).up"
done < "$1"
echo "$MLV_LIST" >> "$RUNS"
`
const FILES = { 'raw/a.txt': 'a\n', 'raw/b c.txt': 'b\n', 'raw/d/e.txt': 'e\n', 'up.sh': SCRIPT }

async function makeWorld(yaml = BATCHES, files: Record<string, string> = FILES) {
  const { dir } = makeFolder()
  const runs = join(dir, 'runs')
  writeFileSync(runs, '')
  const repo = await makeRepo({ 'mlv.yaml': yaml, ...files }, { init: true, env: { RUNS: runs } })
  await repo.mlv('remote', 'add', 'team', join(dir, 'remote'), '--local')
  await repo.commit()
  const jobs = join(dir, 'jobs')
  const made = await repo.mlv('stage', 'task', 'upper', '--push', '--out-dir', jobs)
  return { dir, repo, jobs, made, ran: () => readFileSync(runs, 'utf8').split('\n').length - 1 }
}

/** Another machine, without the repository and its cache. */
function exec(dir: string, repo: Repo, ...args: string[]) {
  const { dir: cwd } = makeFolder()
  return run(NODE, [BIN, 'exec', ...args], { cwd, env: { ...repo.env, RUNS: join(dir, 'runs'), GIT_DIR: '/nowhere' } })
}

const outs = (repo: Repo) =>
  readdirSync(repo.path('out/upper'))
    .sort()
    .map((name) => `${name} ${repo.read(`out/upper/${name}`).trim()}`)

it('makes a task of each batch, runs it anywhere, and takes what it gave', async () => {
  const { dir, repo, jobs, made, ran } = await makeWorld()
  expect(made).toMatchObject({ exitCode: 0, stderr: '' })
  expect(made.stdout).toBe(`wrote 2 tasks of 3 datums: ${jobs}/0.task … ${jobs}/1.task; team has all they read\n`)
  expect(readdirSync(jobs).sort()).toEqual(['0.task', '1.task'])
  for (const name of ['0.task', '1.task']) expect(await exec(dir, repo, join(jobs, name))).toMatchObject({ exitCode: 0 })
  expect(ran()).toBe(2)
  expect((await repo.mlv('repro')).stdout).toMatch(/ran {9}upper {2}[0-9.]+s, 0 datums of 3, 3 from tasks/)
  expect(ran()).toBe(2)
  expect(outs(repo)).toEqual(['a.up A', 'b c.up B', 'e.up E'])
  expect((await repo.mlv('repro')).stdout).toBe('unchanged   upper\n')
  const again = await repo.mlv('stage', 'task', 'upper', '--out-dir', join(dir, 'more'))
  expect(again.stdout).toBe('all 3 datums of upper have run: there is nothing to do\n')
  repo.write('raw/new.txt', 'n\n')
  const more = await repo.mlv('stage', 'task', 'upper', '--json', '--out-dir', join(dir, 'more'))
  expect(JSON.parse(more.stdout)).toMatchObject({ stage: 'upper', datums: 4, tasks: [{ datums: 1 }] })
  expect((await repo.mlv('repro')).stdout).toContain('1 datum of 4')
  expect(outs(repo)).toEqual(['a.up A', 'b c.up B', 'e.up E', 'new.up N'])
})

it('runs here what no task has given, and gives the same out', async () => {
  const { dir, repo, jobs, ran } = await makeWorld()
  expect(await exec(dir, repo, join(jobs, '1.task'))).toMatchObject({ exitCode: 0 })
  expect((await repo.mlv('repro')).stdout).toContain('2 datums of 3')
  expect(ran()).toBe(2)
  const alone = await makeRepo({ 'mlv.yaml': BATCHES, ...FILES }, { init: true, env: { RUNS: join(dir, 'runs') } })
  await alone.mlv('repro')
  expect(repo.read('mlv.lock')).toBe(alone.read('mlv.lock'))
})

it('fails with the status of its command, and is run here', async () => {
  const { dir, repo, jobs } = await makeWorld(BATCHES, { ...FILES, 'raw/a.txt': 'bad\n' })
  expect(await exec(dir, repo, join(jobs, '0.task'))).toMatchObject({ exitCode: 8 })
  expect(await exec(dir, repo, join(jobs, '1.task'))).toMatchObject({ exitCode: 0 })
  expect((await repo.mlv('repro')).stderr).toContain('2 of 3 datums failed')
  repo.write('raw/a.txt', 'good\n')
  expect((await repo.mlv('repro')).stdout).toContain('2 datums of 3')
  expect(outs(repo)).toEqual(['a.up GOOD', 'b c.up B', 'e.up E'])
})

it('gives a command of one datum its names, quoted, in the folder it runs in', async () => {
  const yaml = `stages:
  upper:
    wdir: code
    each: {group: [{input: ../raw, glob: "(*)", on: $1}]}
    cmd: cat $(find {in} -type f | sort | tr ' ' '?') > {out}/{1}.all; echo "$MLV_DATUM $MLV_OUT $MLV_IN" > {out}/{1}.env
    outs: [../all]
`
  const files = { 'raw/x y/1': 'a\n', 'raw/x y/2': 'b\n', 'raw/z/sub/3': 'c\n', 'raw/z/4': 'd\n', 'code/.keep': '' }
  const { dir, repo, jobs, made } = await makeWorld(yaml, files)
  expect(made).toMatchObject({ exitCode: 0, stderr: '' })
  for (const name of readdirSync(jobs)) expect(await exec(dir, repo, join(jobs, name))).toMatchObject({ exitCode: 0 })
  expect((await repo.mlv('repro')).stdout).toContain('0 datums of 2')
  expect(repo.read('all/z.all')).toBe('d\nc\n')
  expect(repo.read('all/x y.all')).toBe('a\nb\n')
  expect(repo.read('all/x y.env')).toBe('raw/x y ../all/0 ../raw/x y\n')
})

it('passes over a record that lies about sizes', async () => {
  const { repo, jobs, ran } = await makeWorld()
  const oidOf = (text: string) => createHash('sha256').update(text).digest('hex')
  const page = `mlv-tree 1 leaf\nfile ${oidOf('A\n')} 999\ta.up\n`
  const root = `mlv-tree 1 leaf\ntree ${oidOf(page)} 999 1\t0\n`
  for (const [name, text] of Object.entries({ page, root, file: 'A\n' })) repo.write(`objects/${name}`, text)
  expect(await repo.mlv('add', 'objects')).toMatchObject({ exitCode: 0 })
  const { key } = JSON.parse(readFileSync(join(jobs, '0.task'), 'utf8')) as { key: string }
  const entry = `"files": 1, "kind": "tree", "oid": "${oidOf(root)}", "path": "out/upper", "size": 999`
  const record = `{"key": "${key}", "mlv_run": 1, "outs": [{${entry}}]}\n`
  repo.write(`.git/mlv/store/runs/${key.slice(0, 2)}/${key}/${oidOf(record)}`, record)
  const result = await repo.mlv('repro')
  expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('passed over') })
  expect(result.stdout).toContain('3 datums of 3')
  // What no task was believed to have given, then all.
  expect(ran()).toBe(3)
  expect(outs(repo)).toEqual(['a.up A', 'b c.up B', 'e.up E'])
})

it('takes what tasks gave though another record of one names what nobody has', async () => {
  const { dir, repo, jobs, ran } = await makeWorld()
  for (const name of ['0.task', '1.task']) expect(await exec(dir, repo, join(jobs, name))).toMatchObject({ exitCode: 0 })
  const { key } = JSON.parse(readFileSync(join(jobs, '0.task'), 'utf8')) as { key: string }
  const folder = join(dir, 'remote/runs', key.slice(0, 2), key)
  const [true_] = readdirSync(folder)
  // The lowest oid is looked at first.
  for (let size = 1; readdirSync(folder).length < 2; size++) {
    const entry = `"kind": "file", "oid": "${'0'.repeat(64)}", "path": "out/upper", "size": ${size}`
    const record = `{"key": "${key}", "mlv_run": 1, "outs": [{${entry}}]}\n`
    const oid = createHash('sha256').update(record).digest('hex')
    if (oid < true_!) writeFileSync(join(folder, oid), record)
  }
  expect((await repo.mlv('repro')).stdout).toContain('0 datums of 3, 3 from tasks')
  expect(ran()).toBe(2)
})

it('takes what one task gave although what another gave cannot be read', async () => {
  const { dir, repo, jobs, ran } = await makeWorld()
  for (const name of ['0.task', '1.task']) expect(await exec(dir, repo, join(jobs, name))).toMatchObject({ exitCode: 0 })
  const { key } = JSON.parse(readFileSync(join(jobs, '0.task'), 'utf8')) as { key: string }
  const folder = join(dir, 'remote/runs', key.slice(0, 2), key)
  rmSync(folder, { recursive: true })
  symlinkSync(folder, folder)
  const result = await repo.mlv('repro')
  expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('run cache cannot be asked') })
  expect(result.stdout).toContain('2 datums of 3, 1 from tasks')
  expect(ran()).toBe(3)
})

it('takes nothing of a task that wrote beside the folders of its datums, and runs them here', async () => {
  const { dir, repo, jobs } = await makeWorld(
    BATCHES.replace('sh up.sh {list}', 'sh up.sh {list}; test ! -d out/upper || echo > out/upper/beside'),
  )
  for (const name of ['0.task', '1.task']) expect(await exec(dir, repo, join(jobs, name))).toMatchObject({ exitCode: 0 })
  const { stdout } = await repo.mlv('repro')
  expect(stdout).toContain('3 datums of 3')
  expect(stdout).not.toContain('from tasks')
  expect(outs(repo)).toEqual(['a.up A', 'b c.up B', 'e.up E'])
})

it('gives another clone what tasks gave, once it has made the same ones', async () => {
  const { dir, repo, jobs, ran } = await makeWorld()
  for (const name of ['0.task', '1.task']) expect(await exec(dir, repo, join(jobs, name))).toMatchObject({ exitCode: 0 })
  const other = await makeRepo({ 'mlv.yaml': BATCHES, ...FILES }, { init: true, env: { RUNS: join(dir, 'runs') } })
  await other.mlv('remote', 'add', 'team', join(dir, 'remote'), '--local')
  await other.commit()
  await other.mlv('stage', 'task', 'upper', '--out-dir', join(dir, 'same'))
  expect((await other.mlv('repro')).stdout).toContain('0 datums of 3, 3 from tasks')
  expect(ran()).toBe(2)
  expect(outs(other)).toEqual(['a.up A', 'b c.up B', 'e.up E'])
})

it.each([
  ['no folder for its tasks', ['upper'], 'which makes a task for each batch of its datums'],
  ['a folder that holds something', ['upper', '--out-dir', 'raw'], 'raw is there already and is not an empty folder'],
  ['a file', ['upper', '--out-dir', 'up.sh'], 'up.sh is there already and is not an empty folder'],
  ['a stage that is one task', ['plain', '--out-dir', 'jobs'], 'is no map stage'],
])('refuses %s', async (_what, args, message) => {
  const repo = await makeRepo({ 'mlv.yaml': `${BATCHES}  plain: {cmd: echo > p, outs: [p]}\n`, ...FILES }, { init: true })
  const result = await repo.mlv('stage', 'task', ...args)
  expect(result.exitCode).not.toBe(0)
  expect(result.stderr).toContain(message)
  expect(existsSync(repo.path('jobs'))).toBe(false)
})

it('says which input is not in the workspace', async () => {
  const repo = await makeRepo({ 'mlv.yaml': BATCHES, ...FILES }, { init: true })
  await repo.mlv('add', 'raw')
  rmSync(repo.path('raw'), { recursive: true })
  const result = await repo.mlv('stage', 'task', 'upper', '--out-dir', 'jobs')
  expect(result.stderr).toContain('Stage "upper" cuts raw into datums, which is not in the workspace')
  expect(result.stderr).toContain('mlv checkout raw')
})
