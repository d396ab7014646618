import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { expect, it } from 'vitest'
import { BIN, makeRepo, type Repo } from '../helpers/repo.ts'

const UPPER = `stages:
  upper:
    each: {input: raw, glob: "(*)/(*).txt"}
    cmd: echo {datum} >> "$RUNS"; mkdir {out}/{1} && tr a-z A-Z < {in} > {out}/{1}/{2}.up
    outs: [upper]
`

async function makeMap(yaml = UPPER, files: Record<string, string> = {}) {
  const all = { 'mlv.yaml': yaml, 'raw/x/one.txt': 'a\n', 'raw/x/two.txt': 'b\n', 'raw/y/three.txt': 'c\n', ...files }
  const repo = await makeRepo(all, { init: true })
  const runs = repo.path('.git/runs')
  const seen = () => {
    const text = existsSync(runs) ? readFileSync(runs, 'utf8') : ''
    if (text !== '') repo.write('.git/runs', '')
    return text.split('\n').filter(Boolean).sort()
  }
  const repro = (...args: string[]) => repo.mlvWith({ env: { RUNS: runs } }, 'repro', ...args)
  return { repo, repro, seen }
}

const below = (repo: Repo, folder: string) =>
  readdirSync(repo.path(folder), { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => `${item.parentPath.slice(repo.path(folder).length + 1)}/${item.name}`)
    .sort()

it('runs its command for each file, and again only for what is new or changed', async () => {
  const { repo, repro, seen } = await makeMap()
  await repo.mlv('add', 'raw')
  expect((await repro()).stdout).toMatch(/ran {9}upper {2}[0-9.]+s, 3 datums of 3/)
  expect(seen()).toEqual(['raw/x/one.txt', 'raw/x/two.txt', 'raw/y/three.txt'])
  expect(below(repo, 'upper')).toEqual(['x/one.up', 'x/two.up', 'y/three.up'])
  expect((await repro()).stdout).toBe('unchanged   upper\n')
  repo.write('raw/x/two.txt', 'bb\n')
  repo.write('raw/x/new.txt', 'n\n')
  rmSync(repo.path('raw/y'), { recursive: true })
  expect((await repro('-j', '2')).stdout).toMatch(/2 datums of 3/)
  expect(seen()).toEqual(['raw/x/new.txt', 'raw/x/two.txt'])
  expect(below(repo, 'upper')).toEqual(['x/new.up', 'x/one.up', 'x/two.up'])
  expect(repo.read('upper/x/two.up')).toBe('BB\n')
})

it('puts the out together anew when its inputs change after one that changed by hand was accepted', async () => {
  const { repo, repro, seen } = await makeMap()
  await repro()
  seen()
  repo.write('upper/x/one.up', 'mine\n')
  expect(await repo.mlv('accept', 'upper')).toMatchObject({ exitCode: 0 })
  expect((await repro()).stdout).toBe('unchanged   upper\n')
  expect(repo.read('upper/x/one.up')).toBe('mine\n')
  repo.write('raw/x/two.txt', 'bb\n')
  await repro()
  expect(seen()).toEqual(['raw/x/two.txt'])
  expect(repo.read('upper/x/one.up') + repo.read('upper/x/two.up')).toBe('A\nBB\n')
})

it('puts its folder in the place of a file that was accepted there', async () => {
  const { repo, repro } = await makeMap()
  await repro()
  rmSync(repo.path('upper'), { recursive: true })
  repo.write('upper', 'mine\n')
  expect(await repo.mlv('accept', 'upper')).toMatchObject({ exitCode: 0 })
  repo.write('raw/x/two.txt', 'bb\n')
  expect(await repro()).toMatchObject({ exitCode: 0, stderr: '' })
  expect(below(repo, 'upper')).toEqual(['x/one.up', 'x/two.up', 'y/three.up'])
})

it('makes the same tree by edits as from nothing', async () => {
  const files = { 'raw/z/new.txt': 'n\n', 'raw/x/two.txt': 'bb\n' }
  const outOf = (repo: Repo) => /"outs": \[\s*(.*)\n/.exec(repo.read('mlv.lock'))![1]
  const { repo, repro } = await makeMap()
  await repro()
  for (const [path, text] of Object.entries(files)) repo.write(path, text)
  await repro()
  const added = await makeMap(UPPER, files)
  await added.repro()
  expect(outOf(repo)).toBe(outOf(added.repo))
  rmSync(repo.path('raw/z'), { recursive: true })
  await repro()
  const fresh = await makeMap(UPPER, { 'raw/x/two.txt': 'bb\n' })
  await fresh.repro()
  expect(outOf(repo)).toBe(outOf(fresh.repo))
  expect(existsSync(repo.path('upper/z'))).toBe(false)
})

it('lists each datum on one line, whatever its name', async () => {
  const { repo } = await makeMap(UPPER, { 'raw/x/a\nb\u001b[31m.txt': 'x\n' })
  expect((await repo.mlv('datum', 'list', 'upper')).stdout.split('\n')).toHaveLength(5)
  expect((await repo.mlv('datum', 'list', 'upper')).stdout).toMatch(/raw\/x\/a\\nb[^\u001b]*\.txt/)
})

it('runs all again with --force', async () => {
  const { repro, seen } = await makeMap()
  await repro()
  seen()
  expect((await repro('--force')).stdout).toMatch(/3 datums of 3/)
  expect(seen()).toHaveLength(3)
})

it('runs all again when what they share changes', async () => {
  const { repo, repro, seen } = await makeMap(UPPER.replace('cmd:', 'deps: [code.py]\n    params: [lr]\n    cmd:'), {
    'code.py': '1',
    'params.yaml': 'lr: 1\n',
  })
  await repro()
  seen()
  repo.write('code.py', '2')
  await repro()
  expect(seen()).toHaveLength(3)
  repo.write('params.yaml', 'lr: 2\n')
  await repro()
  expect(seen()).toHaveLength(3)
})

it('keeps what succeeded, names what failed, and retries that alone', async () => {
  const failing = UPPER.replace('mkdir', '! grep -q bad {in} && mkdir')
  const { repo, repro, seen } = await makeMap(failing, { 'raw/x/two.txt': 'bad\n' })
  const result = await repro()
  expect(result.exitCode).not.toBe(0)
  expect(result.stderr).toContain('Stage "upper": 1 of 3 datums failed: raw/x/two.txt')
  expect(result.stderr).toContain('mlv repro --retry-failed upper')
  expect(existsSync(repo.path('upper'))).toBe(false)
  expect((await repo.mlv('datum', 'list', 'upper')).stdout).toBe(
    'done    raw/x/one.txt  2 B\nfailed  raw/x/two.txt  4 B\ndone    raw/y/three.txt  2 B\n',
  )
  seen()
  expect((await repro('--retry-failed')).stderr).toContain('1 of 3 datums failed')
  expect(seen()).toEqual(['raw/x/two.txt'])
  // With other bytes it is another datum, and yet the one that failed; what is new as well is left.
  repo.write('raw/x/two.txt', 'good\n')
  repo.write('raw/x/new.txt', 'new\n')
  expect((await repro('--retry-failed')).stderr).toContain('1 datum has not run yet')
  expect(seen()).toEqual(['raw/x/two.txt'])
  rmSync(repo.path('raw/x/new.txt'))
  expect(await repro()).toMatchObject({ exitCode: 0 })
  expect(seen()).toEqual([])
  expect(below(repo, 'upper')).toEqual(['x/one.up', 'x/two.up', 'y/three.up'])
})

it('gives a batch its datums as a list', async () => {
  const yaml = `stages:
  upper:
    each: {input: raw, glob: "**/*.txt"}
    batch: 2
    deps: [up.mjs]
    cmd: node up.mjs {list}
    outs: [upper]
`
  const script = `import { readFileSync, writeFileSync } from 'node:fs'
const lines = readFileSync(process.argv[2], 'utf8').trim().split('\\n').map((line) => JSON.parse(line))
console.log('batch of', lines.length)
for (const { in: { raw }, out } of lines) writeFileSync(out + '/' + raw[0].split('/').pop(), readFileSync(raw[0], 'utf8').toUpperCase())
`
  const { repo, repro } = await makeMap(yaml, { 'up.mjs': script })
  const { stdout } = await repro()
  expect(stdout.match(/batch of \d/g)).toEqual(['batch of 2', 'batch of 1'])
  expect(readdirSync(repo.path('upper')).sort()).toEqual(['one.txt', 'three.txt', 'two.txt'])
  repo.write('raw/z.txt', 'z\n')
  expect((await repro()).stdout.match(/batch of \d/g)).toEqual(['batch of 1'])
})

it('joins the parts of two inputs', async () => {
  const yaml = `stages:
  pair:
    each:
      join:
        - {input: img, glob: "(*).img", on: $1}
        - {input: lab, name: label, glob: "(*).lab", on: $1}
    cmd: cat {in.img} {in.label} > {out}/{1}.both
    outs: [both]
`
  const files = { 'img/a.img': 'A\n', 'img/b.img': 'B\n', 'lab/a.lab': 'la\n', 'lab/c.lab': 'lc\n' }
  const { repo, repro } = await makeMap(yaml, files)
  expect(await repro()).toMatchObject({ exitCode: 0 })
  expect(readdirSync(repo.path('both'))).toEqual(['a.both'])
  expect(repo.read('both/a.both')).toBe('A\nla\n')
})

it.each([
  ['two datums that write one path', UPPER.replace('{out}/{1}/{2}.up', '{out}/{1}/same.up'), 'both write x/same.up'],
  ['two outs', UPPER.replace('[upper]', '[upper, more]'), 'needs exactly one out'],
  ['a batch without its list', UPPER.replace('cmd:', 'batch: 2\n    cmd:'), 'never reads its list of datums'],
  ['a broken pattern', UPPER.replace('(*)/(*).txt', '(*/a'), 'has "(" without its end'],
  [
    'join without on',
    UPPER.replace('{input: raw, glob: "(*)/(*).txt"}', '{join: [{input: raw}]}'),
    'has no "on", which join needs',
  ],
  ['an unknown key', UPPER.replace('glob:', 'blob:'), 'is no key of an input'],
  ['a group that its glob does not have', UPPER.replace('{2}', '{3}'), 'nothing would stand for {3}'],
  [
    'an input that it does not have',
    UPPER.replace('{in}', '{in.rew}'),
    'nothing would stand for {in.rew}\n  The inputs are {in.raw}.',
  ],
])('refuses %s', async (_what, yaml, message) => {
  const { repo, repro } = await makeMap(yaml)
  const result = await repro()
  expect(result.exitCode).not.toBe(0)
  expect(result.stderr).toContain(message)
  expect(existsSync(repo.path('upper'))).toBe(false)
})

it('keeps to its folder whatever its inputs are called', async () => {
  const names = ['a b', "it's", '$(touch pwned)', '`touch pwned`', '-n', ';touch pwned', '{in}']
  const files = Object.fromEntries(names.map((name) => [`raw/x/${name}.txt`, `${name}\n`]))
  const { repo, repro } = await makeMap(UPPER, files)
  expect(await repro()).toMatchObject({ exitCode: 0 })
  expect(existsSync(repo.path('pwned'))).toBe(false)
  expect(readdirSync(repo.path('upper/x'))).toHaveLength(names.length + 2)
})

it('lets a colleague go on where the first left off', async () => {
  const { repo, repro } = await makeMap()
  const remote = repo.path('.git/remote')
  await repo.mlv('remote', 'add', 'team', remote)
  await repo.mlv('add', 'raw')
  await repro()
  await repo.commit('first')
  await repo.mlv('push')
  const other = await repo.clone()
  await other.mlv('remote', 'add', 'team', remote)
  await other.mlv('pull')
  other.write('raw/x/new.txt', 'n\n')
  const { stdout } = await other.mlvWith({ env: { RUNS: '/dev/null' } }, 'repro')
  expect(stdout).toMatch(/1 datum of 4/)
})

it('runs a datum again that changed while it ran, whatever it changes to', async () => {
  const { repo, repro } = await makeMap(`stages:
  copy:
    each: {input: raw, glob: "**/*.txt"}
    cmd: test ! -e .git/late || echo late > raw/x/one.txt; rm -f .git/late; cat {in} > {out}/$(basename {in})
    outs: [copy]
`)
  repo.write('.git/late', '')
  expect((await repro()).stdout).toContain('changed while it ran')
  expect(repo.read('copy/one.txt')).toBe('late\n')
  repo.write('raw/x/one.txt', 'a\n')
  expect((await repro()).stdout).toContain('1 datum of 3')
  expect(repo.read('copy/one.txt')).toBe('a\n')
})

it('fails the datum alone whose folder holds what cannot be stored, or is no folder', async () => {
  const { repo, repro } = await makeMap(`stages:
  odd:
    each: {input: raw, glob: "**/*.txt"}
    cmd: |
      case {in} in
        *one.txt) test -e .git/ok || mkfifo {out}/pipe ;;
        *two.txt) test -e .git/ok || { rm -r {out} && cp {in} {out}; } ;;
      esac
      test ! -d {out} || cp {in} {out}/
    outs: [odd]
`)
  const failed = await repro()
  expect(failed.stderr).toMatch(/2 of 3 datums failed: raw\/x\/\w+.txt, raw\/x\/\w+.txt/)
  expect((await repo.mlv('datum', 'list', 'odd')).stdout).toMatch(/^failed .*one.txt.*\nfailed .*two.txt.*\ndone .*three.txt/)
  repo.write('.git/ok', '')
  expect((await repro('--retry-failed')).stdout).toContain('2 datums of 3')
  expect(below(repo, 'odd')).toEqual(['/one.txt', '/three.txt', '/two.txt'])
})

it('fails the datum alone that writes what was purged', async () => {
  const { repo, repro } = await makeMap()
  await repro()
  await repo.commit('ran')
  expect(await repo.mlv('purge', 'upper/x/two.up', '--all-commits', '--yes')).toMatchObject({ exitCode: 0 })
  for (const path of ['mlv.lock', 'upper']) rmSync(repo.path(path), { recursive: true })
  const { stderr, exitCode } = await repro()
  expect(stderr).toContain('Stage "upper": 1 of 3 datums failed: raw/x/two.txt')
  expect(stderr).toContain('{out}/x/two.up holds data that was purged')
  expect(exitCode).toBe(8)
  expect((await repo.mlv('datum', 'list', 'upper')).stdout).toMatch(/^done .*one.txt.*\nfailed .*two.txt.*\ndone .*three.txt/)
})

it.each(['git', 'mlv'])('keeps what has run when it is interrupted, of an input that %s keeps', async (keeper) => {
  const { repo, repro, seen } = await makeMap(
    UPPER.replace('mkdir', 'case {in} in *three*) test -e .git/ok || { kill -INT $PPID; sleep 60; } ;; esac; mkdir'),
  )
  if (keeper === 'mlv') await repo.mlv('add', 'raw')
  expect(await repro()).toMatchObject({ exitCode: 130, stderr: expect.stringContaining('Interrupted') })
  expect((await repo.mlv('datum', 'list', 'upper')).stdout).toMatch(/^done .*one.txt.*\ndone .*two.txt.*\nnew .*three.txt/)
  expect(existsSync(repo.path('upper'))).toBe(false)
  repo.write('.git/ok', '')
  seen()
  expect((await repro()).stdout).toContain('1 datum of 3')
  expect(seen()).toEqual(['raw/y/three.txt'])
  expect(below(repo, 'upper')).toEqual(['x/one.up', 'x/two.up', 'y/three.up'])
  expect((await repo.mlv('fsck')).exitCode).toBe(0)
})

it('killed by the system, keeps what had run ten seconds before', async () => {
  // It is noted while the next one runs.
  const noted = `${process.execPath} ${BIN} datum list upper | grep -q "^done .*two"`
  const { repo, repro, seen } = await makeMap(
    UPPER.replace(
      'mkdir',
      `case {in} in *two*) sleep 11 ;; *three*) test -e .git/ok || { until ${noted}; do sleep 0.2; done; kill -9 $PPID; exit 1; } ;; esac; mkdir`,
    ),
  )
  expect(await repro()).toMatchObject({ exitCode: -1 })
  expect((await repo.mlv('datum', 'list', 'upper')).stdout).toMatch(/^done .*one.txt.*\ndone .*two.txt.*\nnew .*three.txt/)
  expect((await repo.mlv('fsck')).exitCode).toBe(0)
  repo.write('.git/ok', '')
  seen()
  expect((await repro()).stdout).toContain('1 datum of 3')
  expect(seen()).toEqual(['raw/y/three.txt'])
  expect(below(repo, 'upper')).toEqual(['x/one.up', 'x/two.up', 'y/three.up'])
})

it('does not run beside what a killed run left, and takes nothing that this writes', async () => {
  const { repo, repro } = await makeMap(`stages:
  slow:
    each: {input: raw, glob: "**/*.txt"}
    cmd: test -e .git/go || sleep 60; cp {in} {out}/
    outs: [slow]
`)
  const { spawn } = await import('node:child_process')
  const { hostname } = await import('node:os')
  const children = [0, 1].map(() => spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }))
  const ends = children.map((child) => new Promise((done) => child.once('exit', done)))
  const aside = '.git/mlv/aside/main/slow'
  repo.write(`${aside}/command`, children.map(({ pid }) => pid).join('\n'))
  repo.write(`${aside}/manifest.json`, JSON.stringify({ pid: 2 ** 30, host: hostname(), since: '', outs: [] }))
  repo.write('.git/go', '')
  try {
    expect((await repro()).stderr).toContain(`kill -- -${children[0]!.pid} -${children[1]!.pid}`)
    process.kill(-children[1]!.pid!)
    await ends[1]
    expect((await repro()).stderr).toContain(`still runs (process ${children[0]!.pid})`)
  } finally {
    process.kill(-children[0]!.pid!)
  }
  await ends[0]
  expect(await repro()).toMatchObject({ exitCode: 0 })
})

it('leaves its out as the datums wrote it, whatever else was written there meanwhile', async () => {
  const { repo, repro } = await makeMap(`stages:
  copy:
    each: {input: raw, glob: "*/*.txt"}
    cmd: if test -d copy; then echo odd > copy/x/one.txt; echo odd > copy/stray; fi; mkdir {out}/$(basename $(dirname {in})); cp {in} {out}/$(basename $(dirname {in}))
    outs: [copy]
`)
  await repro()
  repo.write('raw/x/new.txt', 'n\n')
  expect((await repro()).stdout).toContain('1 datum of 4')
  expect(below(repo, 'copy')).toEqual(['x/new.txt', 'x/one.txt', 'x/two.txt', 'y/three.txt'])
  expect(repo.read('copy/x/one.txt')).toBe('a\n')
  expect((await repro()).stdout).toBe('unchanged   copy\n')
})

it('runs a datum again whose row nobody can take at its word', async () => {
  const { repo, repro, seen } = await makeMap()
  await repro()
  seen()
  const datums = JSON.parse((await repo.mlv('datum', 'list', 'upper', '--json')).stdout) as { datum: string; key: string }[]
  const rows = datums.map(({ datum, key }) => {
    const [, folder, name] = /raw\/(.)\/(.*)\.txt/.exec(datum)!
    const path = folder === 'y' ? '../y/three.up' : `${folder}/${name}.up`
    const oid = createHash('sha256')
      .update(repo.read(`upper/${folder}/${name}.up`))
      .digest('hex')
    return `${key} [["${path}", "file", "${oid}", 2]]\n`
  })
  repo.write('table/0', rows.sort().join(''))
  await repo.mlv('add', 'table')
  const [, oid, size] = /oid: (\S+)\nsize: (\d+)/.exec(repo.read('table.mlv'))!
  const lock = repo.read('mlv.lock')
  repo.write('mlv.lock', lock.replace(/("datums": ?\{[^}]*"oid": ?")[0-9a-f]+(", ?"size": ?)\d+/, `$1${oid}$2${size}`))
  expect(repo.read('mlv.lock')).toContain(oid)
  repo.write('raw/x/new.txt', 'n\n')
  expect((await repro()).stdout).toContain('2 datums of 4')
  expect(seen()).toEqual(['raw/x/new.txt', 'raw/y/three.txt'])
  expect(below(repo, 'upper')).toEqual(['x/new.up', 'x/one.up', 'x/two.up', 'y/three.up'])
  expect((await repro()).stdout).toBe('unchanged   upper\n')
})

it('says that it has no datums, which is no error', async () => {
  const { repo, repro } = await makeMap(UPPER.replace('(*)/(*).txt', '(*)/(*).jpg'))
  const warning = 'stage "upper" has no datums: nothing in raw matches "(*)/(*).jpg"'
  expect(await repro()).toMatchObject({ exitCode: 0, stderr: expect.stringContaining(`warning: ${warning}\n`) })
  expect(await repro()).toMatchObject({ exitCode: 0, stdout: 'unchanged   upper\n', stderr: '' })
  expect((await repo.mlv('datum', 'list', 'upper')).stdout).toBe(`${warning}\n`)
  expect((await repo.mlv('stage', 'task', 'upper', '--out-dir', 'jobs')).stdout).toBe(`${warning}\n`)
})

const straying = (command: string, batch = '') => `stages:
  upper:
    each: {input: raw, glob: "**/*.txt"}
${batch}    cmd: ${command}
    outs: [upper]
`

it('takes a last batch that is smaller for what it is', async () => {
  const files = Object.fromEntries(Array.from({ length: 13 }, (_, at) => [`raw/n/${at}.txt`, `${at}\n`]))
  const { repo, repro } = await makeMap(
    straying(
      `while read -r line; do out=$(echo "$line" | sed 's/.*"out":"\\([^"]*\\)".*/\\1/'); echo x > $out/$(basename {list})-$(basename $out); done < {list}`,
      '    batch: 3\n',
    ),
    files,
  )
  expect(await repro()).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('16 datums of 16') })
  expect(below(repo, 'upper')).toHaveLength(16)
})

it.each([
  ['beside its folder', straying('if grep -q a {in}; then mkdir {out}/../1 && cp {in} {out}/../1; fi'), `wrote '{out}/../1'`],
  ['a file beside those of a batch', straying('touch $(dirname {list})/x', '    batch: 2\n'), `wrote '{out}/../../x'`],
  ['and removes with the folder around its own', straying('rm -r $(dirname {out})'), 'removed the folder around {out}'],
  ['under a name that is taken for a number', straying('mkdir -p {out}/../0x0 && touch {out}/../0x0/y'), `wrote '{out}/../0x0'`],
])('refuses what a datum writes %s', async (_name, yaml, words) => {
  const { repo, repro } = await makeMap(yaml)
  const { exitCode, stderr } = await repro()
  expect(stderr).toContain(words)
  expect(stderr).toContain('upper')
  expect(exitCode).toBe(8)
  expect(existsSync(repo.path('upper'))).toBe(false)
})
