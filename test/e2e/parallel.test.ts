import { existsSync } from 'node:fs'
import { expect, it } from 'vitest'
import { BIN, makeRepo, run } from '../helpers/repo.ts'

/** Two stages that each wait until the other has begun: they end only side by side. */
const MEETING = `stages:
  a: {cmd: "touch a.on; for i in $(seq 1200); do [ -e b.on ] && break; sleep 0.1; done; [ -e b.on ] && echo a > a.txt", outs: [a.txt]}
  b: {cmd: "touch b.on; for i in $(seq 1200); do [ -e a.on ] && break; sleep 0.1; done; [ -e a.on ] && echo b > b.txt", outs: [b.txt]}
  c: {cmd: cat a.txt b.txt > c.txt, deps: [a.txt, b.txt], outs: [c.txt]}
`

it('runs stages side by side that do not wait for each other', async () => {
  const repo = await makeRepo({ 'mlv.yaml': MEETING }, { init: true })
  expect(await repo.mlv('repro', '-j', '2')).toMatchObject({ exitCode: 0, stderr: '' })
  expect(repo.read('c.txt')).toBe('a\nb\n')
  expect((await repo.mlv('repro', '-j', '2')).stdout).toBe('unchanged   a\nunchanged   b\nunchanged   c\n')
})

it('names the stage before each line where several run, and keeps a log of each', async () => {
  const yaml = `stages:
  a: {cmd: "echo one; echo two >&2"}
  b: {cmd: "printf '10\\\\r20\\\\n'"}
`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  const { stdout } = await repo.mlv('repro', '-j', '4')
  for (const line of ['a | one', 'a | two', 'b | 20']) expect(stdout.split('\n')).toContain(line)
  expect((await repo.mlv('logs', 'a')).stdout.split('\n').sort()).toEqual(['', 'one', 'two'])
  expect((await repo.mlv('logs', 'a', '-n', '1')).stdout.split('\n').length).toBe(2)
  expect(await repo.mlv('logs', 'c')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('mlv.yaml has no stage "c"') })
})

it('lets the others end when one fails, starts no more, and says where the last lines are', async () => {
  const yaml = `stages:
  bad: {cmd: "until [ -e .git/slow ]; do sleep 0.05; done; echo why; exit 3"}
  # Ends a moment after mlv has done with it.
  slow: {cmd: "touch .git/slow; while [ -e .git/mlv/aside/main/bad ]; do sleep 0.05; done; sleep 0.2; echo s > s.txt", outs: [s.txt]}
  later: {cmd: "touch later", deps: [s.txt]}
`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  const result = await repo.mlv('repro', '-j', '2')
  expect(result.exitCode).not.toBe(0)
  expect(result.stderr).toContain('Stage "bad" failed: exit status 3')
  expect([repo.read('s.txt'), existsSync(repo.path('later'))]).toEqual(['s\n', false])
  expect((await repo.mlv('logs', 'bad')).stdout).toBe('why\n')
})

it('tells of every stage that fails', async () => {
  const stage = (name: string, other: string) =>
    `  ${name}: {cmd: "touch .git/${name}; until [ -e .git/${other} ]; do sleep 0.05; done; exit 1"}\n`
  const repo = await makeRepo({ 'mlv.yaml': `stages:\n${stage('a', 'b')}${stage('b', 'a')}` }, { init: true })
  const { stdout, stderr } = await repo.mlv('repro', '-j', '2')
  for (const name of ['a', 'b']) expect(stdout + stderr).toContain(`Stage "${name}" failed: exit status 1`)
})

it('keeps apart stages that share a mutex', async () => {
  const cmd = (name: string) => `"[ -e busy ] && exit 1; touch busy; sleep 0.3; rm busy; touch ${name}"`
  const yaml = `stages:\n${['a', 'b', 'c'].map((name) => `  ${name}: {cmd: ${cmd(name)}, outs: [${name}], mutex: disk}\n`).join('')}`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  expect(await repo.mlv('repro', '-j', '3')).toMatchObject({ exitCode: 0 })
})

it('refuses amounts that are none', async () => {
  const repo = await makeRepo({ 'mlv.yaml': 'stages:\n  a: {cmd: "true", resources: {memory: lots}}\n' }, { init: true })
  const result = await repo.mlv('repro')
  expect(result.stderr).toBe(
    'error: mlv.yaml:2:40: stage "a": resources memory is "lots"\n  Write for example resources: {memory: 4GiB}.\n',
  )
})

it('names the logs of the stages that a template makes', async () => {
  const yaml = 'stages:\n  a: {foreach: [us, uk], do: {cmd: "echo ${item}"}}\n'
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  await repo.mlv('repro')
  expect(await repo.mlv('logs', 'a')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('Name one of them: a@us, a@uk.'),
  })
  expect((await repo.mlv('logs', 'a@uk')).stdout).toBe('uk\n')
})

it('passes on much output, and does not wait for what is left in the background', async () => {
  const yaml = `stages:
  much: {cmd: "head -c 40000000 /dev/zero | tr '\\\\0' x"}
  left: {cmd: "sleep 60 & echo done"}
  # Ends a moment after its stage; where nobody collects it, its entry stays.
  late: {cmd: "sleep 0.05 &"}
`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  const result = await repo.mlv('repro')
  expect(result).toMatchObject({ exitCode: 0 })
  expect(result.stdout.length).toBeGreaterThan(40_000_000)
  expect(result.stderr).toMatch(/^warning: stage "left" left processes running; end them with "kill -- -\d+"/)
  expect(result.stderr).not.toContain('"late"')
  process.kill(-Number(/kill -- -(\d+)/.exec(result.stderr)![1]))
  expect((await repo.mlv('logs', 'left')).stdout).toBe('done\n')
})

it('does not wait for what is left in the background and goes on printing', async () => {
  const yaml = `stages:
  chatty: {cmd: "(while :; do echo tick; touch .git/ticks; sleep 0.01; done) & until [ -e .git/ticks ]; do sleep 0.01; done; echo 1 > out", outs: [out]}
  flood: {cmd: "yes & echo 1 > more", outs: [more]}
`
  const repo = await makeRepo({ 'mlv.yaml': yaml }, { init: true })
  // In a second "yes" prints more than a text of Node can hold.
  const { stdout } = await run(
    'sh',
    ['-c', `{ "${process.execPath}" "${BIN}" repro --quiet; echo "exit $?"; } 2>&1 | tr -d 'y\\n'`],
    {
      cwd: repo.dir,
      env: repo.env,
    },
  )
  for (const [, group] of stdout.matchAll(/kill -- -(\d+)/g))
    await run('sh', ['-c', `kill -9 -- -${group}`], { cwd: repo.dir, env: repo.env })
  expect(stdout).toMatch(/tick.*exit 0$/)
  expect([repo.read('out'), repo.read('more')]).toEqual(['1\n', '1\n'])
})
