import { readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RepoPath } from '../../src/base/paths.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { tablePath } from '../../src/workspace/stat-table-file.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

/** A repository whose remote is a folder. */
async function makeWorld(files: Record<string, string> = {}): Promise<{ repo: Repo; remote: string }> {
  const repo = await makeRepo(files, { init: true, commit: true })
  const remote = join(makeFolder().dir, 'remote')
  await repo.mlv('remote', 'add', 'origin', remote)
  await repo.commit('Remote')
  return { repo, remote }
}

async function ok(repo: Repo, ...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await repo.mlv(...args)
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr })
  return stdout
}

/** Stores a version and commits its pointer. */
async function version(repo: Repo, content: string, path = 'data.txt'): Promise<string> {
  repo.write(path, content)
  await ok(repo, 'add', path)
  return repo.commit(`Version ${content.slice(0, 20)}`)
}

const collect = async (repo: Repo, ...args: string[]) =>
  JSON.parse(await ok(repo, 'gc', '--yes', '--json', '--grace', '0', ...args))

/** Makes all files of a store so many days older. */
function letPass(store: string, days: number): void {
  for (const entry of readdirSync(store, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const time = statSync(path).mtimeMs / 1000 - days * 24 * 3600
    utimesSync(path, time, time)
  }
}

/** Whether the cache can give a revision's file. */
async function holds(repo: Repo, revision: string, content: string, path = 'data.txt'): Promise<boolean> {
  const out = `out-${Math.random().toString(36).slice(2)}`
  const { exitCode } = await repo.mlv('get', path, '--rev', revision, '-o', join('..', out))
  return exitCode === 0 && repo.read(join('..', out)) === content
}

test('without --keep only what nothing reaches goes, and the commits that lose it are named', async () => {
  const { repo } = await makeWorld()
  const first = await version(repo, 'first')
  const second = await version(repo, 'second')
  await repo.git('reset', '-q', '--hard', first)
  const dry = JSON.parse(await ok(repo, 'gc', '--dry-run', '--json', '--grace', '0'))
  expect(dry.lost).toMatchObject([{ commit: second, subject: 'Version second', path: 'data.txt', size: 6 }])
  expect(await holds(repo, second, 'second')).toBe(true)
  const { done } = await collect(repo)
  expect(done.deleted).toBeGreaterThan(0)
  expect(await holds(repo, first, 'first')).toBe(true)
  expect(await holds(repo, second, 'second')).toBe(false)
  expect((await repo.mlv('gc')).stdout).toContain('nothing to collect')
})

test('what is staged, stashed, or in a worktree that is not committed stays', async () => {
  const { repo } = await makeWorld()
  const base = await version(repo, 'base')
  const oids: string[] = []
  const oidNow = () => /oid: ([0-9a-f]{64})/.exec(repo.read('data.txt.mlv'))![1]!
  const add = async (content: string) => {
    repo.write('data.txt', content)
    await ok(repo, 'add', '--force', 'data.txt')
    oids.push(oidNow())
  }
  for (const content of ['stashed below', 'stashed']) {
    await add(content)
    await repo.git('stash', '-q')
  }
  await add('staged')
  await repo.git('add', '-A')
  await add('in the work tree')
  const tree = join(repo.dir, '..', 'linked')
  await repo.git('worktree', 'add', '-q', '--detach', tree, base)
  repo.write(join(tree, 'data.txt'), 'in a worktree')
  expect((await repo.mlvWith({ cwd: tree }, 'add', '--force', 'data.txt')).stderr).toBe('')
  oids.push(/oid: ([0-9a-f]{64})/.exec(repo.read(join(tree, 'data.txt.mlv')))![1]!)
  await add('nobody needs this')
  const gone = oids.pop()!
  await add('in the work tree')
  oids.pop()
  await collect(repo, '--keep', 'workspace')
  const present = await ok(repo, 'gc', '--dry-run', '--json', '--grace', '0')
  expect(JSON.parse(present).lost).toEqual([])
  for (const oid of oids) {
    repo.write('probe.txt.mlv', `mlv: 1\nkind: file\noid: ${oid}\nsize: ${1}\n`)
    const { stderr } = await repo.mlv('checkout', 'probe.txt')
    expect({ oid, missing: stderr.includes('not in') }).toEqual({ oid, missing: false })
  }
  repo.write('probe.txt.mlv', `mlv: 1\nkind: file\noid: ${gone}\nsize: 17\n`)
  expect((await repo.mlv('checkout', '--force', 'probe.txt')).exitCode).not.toBe(0)
})

test('--keep narrows to tips, --keep-days to the last days', async () => {
  const { repo } = await makeWorld()
  const old = await version(repo, 'old')
  const tagged = await version(repo, 'tagged')
  await repo.git('tag', 'v1')
  const tip = await version(repo, 'tip')
  expect((await collect(repo, '--keep-days', '1')).done.deleted).toBe(0)
  const { lost } = await collect(repo, '--keep', 'branches,tags')
  expect(lost).toMatchObject([{ commit: old }])
  expect(await holds(repo, tagged, 'tagged')).toBe(true)
  expect(await holds(repo, tip, 'tip')).toBe(true)
  expect(await holds(repo, old, 'old')).toBe(false)
})

test('asks first; without a terminal and without --yes it refuses', async () => {
  const { repo } = await makeWorld()
  await version(repo, 'kept')
  const gone = await version(repo, 'gone')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  const { exitCode, stderr } = await repo.mlv('gc', '--grace', '0')
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 2 })
  expect(stderr).toContain('--yes')
  expect(await holds(repo, gone, 'gone')).toBe(true)
})

test('within the grace period nothing is deleted', async () => {
  const { repo } = await makeWorld()
  await version(repo, 'kept')
  const gone = await version(repo, 'gone')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  const told = await ok(repo, 'gc', '--yes')
  expect(told).toMatch(/^young .* that nothing needs/m)
  expect(told).toContain('nothing to collect')
  expect(await holds(repo, gone, 'gone')).toBe(true)
})

test('a remote: refused for a short grace period, a shallow or a stale clone, and while another repository pushes there', async () => {
  const { repo, remote } = await makeWorld()
  await version(repo, 'one')
  await ok(repo, 'push')
  const short = await repo.mlv('gc', '-r', '--yes', '--grace', '1d')
  expect(short).toMatchObject({ exitCode: 2 })
  expect(short.stderr).toContain('--force')
  expect(await ok(repo, 'gc', '-r', '--yes')).toContain('nothing to collect')

  const shallow = await repo.clone('--depth', '1')
  await shallow.mlv('remote', 'add', 'origin', remote)
  expect((await shallow.mlv('gc', '-r', '--yes', '--projects', repo.dir)).stderr).toContain('shallow')
  expect(await shallow.mlv('gc', '--yes')).toMatchObject({ exitCode: 3 })

  const other = await makeRepo({ 'x.txt': 'x' }, { init: true, commit: true })
  await other.mlv('remote', 'add', 'origin', remote)
  await ok(other, 'add', 'x.txt')
  await other.commit('X')
  await ok(other, 'push')
  const refused = await repo.mlv('gc', '-r', 'origin', '--yes')
  expect(refused).toMatchObject({ exitCode: 4 })
  expect(refused.stderr).toContain(other.path('.git'))
  expect(refused.stderr).toContain('--projects')
  await ok(repo, 'gc', '-r', '--yes', '--projects', other.dir)
  const counted = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--grace', '0', '--force', '--projects', other.dir))
  expect(counted.done.deleted).toBe(0)
})

test('a stale clone is refused for a remote until it has fetched', async () => {
  const { repo, remote } = await makeWorld()
  await version(repo, 'one')
  await ok(repo, 'push')
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', remote)
  await ok(clone, 'pull')
  await version(repo, 'two')
  const { exitCode, stderr } = await clone.mlv('gc', '-r', '--yes', '--projects', repo.dir)
  expect(exitCode).toBe(3)
  expect(stderr).toContain('git fetch')
  await clone.git('fetch', '-q')
  await ok(clone, 'gc', '-r', '--yes', '--projects', repo.dir)
})

test('what a clone has staged or only added, and pushed nowhere, is known from its cache', async () => {
  const { repo, remote } = await makeWorld({ 'data/a': 'a' })
  await ok(repo, 'add', 'data')
  await repo.commit('Data')
  await ok(repo, 'push')
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', remote)
  await ok(clone, 'pull')
  clone.write('data/b', 'b')
  await ok(clone, 'add', 'data')
  const gc = ['gc', '-r', '--yes', '--projects', clone.dir]
  await ok(repo, ...gc)
  await clone.git('add', '-A')
  await ok(repo, ...gc)
  rmSync(clone.path('.git/mlv/store'), { recursive: true })
  const { exitCode, stderr } = await repo.mlv(...gc)
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('nowhere to be had') })
})

test('--not-in-remote frees what can be fetched again', async () => {
  const [a, b] = ['a'.repeat(20_000), 'b'.repeat(20_000)]
  const { repo } = await makeWorld({ 'data/a': a!, 'data/b': b! })
  await ok(repo, 'add', 'data')
  const pushed = await repo.commit('Data')
  await ok(repo, 'push')
  const unpushed = await version(repo, 'not pushed')
  const { done } = await collect(repo, '--not-in-remote')
  expect(done.deleted).toBeGreaterThan(0)
  rmSync(repo.path('data'), { recursive: true })
  expect((await repo.mlv('checkout', 'data')).exitCode).not.toBe(0)
  await ok(repo, 'pull')
  expect(repo.read('data/b')).toBe(b)
  await ok(repo, 'fsck')
  expect(await holds(repo, unpushed, 'not pushed')).toBe(true)
  repo.write('data/c', 'c')
  await ok(repo, 'add', 'data')
  await ok(repo, 'push')
  await ok(repo, 'fetch', '--all-commits')
  expect(await holds(repo, pushed, a!, 'data/a')).toBe(true)
})

test('outs in locks of earlier commits and of the workspace stay', async () => {
  const { repo } = await makeWorld({
    'mlv.yaml': 'stages:\n  make:\n    cmd: cp in.txt out.txt\n    deps: [in.txt]\n    outs: [out.txt]\n',
    'in.txt': 'one',
  })
  await ok(repo, 'repro')
  const first = await repo.commit('One')
  repo.write('in.txt', 'two')
  await ok(repo, 'repro')
  const { done } = await collect(repo)
  expect(done.deleted).toBe(0)
  expect(await holds(repo, first, 'one', 'out.txt')).toBe(true)
  await repo.commit('Two')
  const narrow = await collect(repo, '--keep', 'workspace')
  expect(narrow.lost).toMatchObject([{ commit: first, path: 'out.txt' }])
  expect(await ok(repo, 'status')).not.toContain('missing')
})

test('on a remote deletion takes two runs a grace period apart, and --undo takes the first one back', async () => {
  const { repo, remote } = await makeWorld()
  for (const content of ['kept', 'gone']) {
    await version(repo, content)
    await ok(repo, 'push')
  }
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  const pass = (days: number) => letPass(remote, days)
  const run = async () => JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json'))
  expect((await run()).condemn.bytes).toBe(0)
  pass(31)
  expect((await run()).condemn.bytes).toBeGreaterThan(0)
  expect((await run()).delete.bytes).toBe(0)
  // A dry run tells the same and takes nothing back.
  expect(await ok(repo, 'gc', '-r', '--undo', '--dry-run')).toBe('what was condemned would count as present again\n')
  expect(JSON.parse(await ok(repo, 'gc', '-r', '--undo', '--dry-run', '--json'))).toEqual({ undone: 1 })
  expect(JSON.parse(await ok(repo, 'gc', '-r', '--undo', '--json'))).toEqual({ undone: 1 })
  expect((await run()).condemn.bytes).toBeGreaterThan(0)
  pass(31)
  expect((await run()).done.deleted).toBeGreaterThan(0)
  rmSync(repo.path('.git/mlv/store'), { recursive: true })
  rmSync(repo.path('data.txt'))
  await ok(repo, 'pull')
  expect(repo.read('data.txt')).toBe('kept')
})

test('what is condemned in the cache can be read, and a checkout says how to take it back', async () => {
  const { repo } = await makeWorld()
  await version(repo, 'kept')
  const gone = await version(repo, 'gone')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  await ok(repo, 'checkout')
  letPass(repo.path('.git/mlv/store'), 2)
  expect(await ok(repo, 'gc', '--yes')).toMatch(/condemned \d+ B/)
  expect(await ok(repo, 'cat', `${gone}:data.txt`)).toBe('gone')
  await repo.git('checkout', '-q', gone)
  const refused = await repo.mlv('checkout')
  expect(refused).toMatchObject({ exitCode: 5 })
  expect(refused.stderr).toContain('"mlv gc --undo"')
  for (const command of [['pull'], ['push'], ['fsck', '--rev', 'HEAD']])
    expect((await repo.mlv(...command)).stderr).toContain('"mlv gc --undo"')
  expect(repo.read('data.txt')).toBe('kept')
  await ok(repo, 'gc', '--undo')
  await ok(repo, 'checkout')
  expect(repo.read('data.txt')).toBe('gone')
  rmSync(repo.path('.git/mlv/store/packs'), { recursive: true })
  rmSync(repo.path('data.txt'))
  expect((await repo.mlv('checkout')).stderr).not.toContain('--undo')
})

test('what is condemned on a remote counts as missing for pull, push and fsck alike, and they say how to take it back', async () => {
  const { repo, remote } = await makeWorld()
  await version(repo, 'gone')
  await ok(repo, 'push')
  const clone = await repo.clone()
  await clone.mlv('remote', 'add', 'origin', remote, '--local')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  await repo.git('reflog', 'expire', '--expire=now', '--all')
  letPass(remote, 31)
  expect(await ok(repo, 'gc', '-r', '--yes')).toMatch(/condemned \d+ B/)
  for (const command of [['pull'], ['push'], ['fsck', '-r', '--rev', 'HEAD']]) {
    const refused = await clone.mlv(...command)
    expect(refused).toMatchObject({ exitCode: 5 })
    expect(refused.stderr).toContain('"mlv gc --remote origin --undo"')
  }
  await ok(repo, 'gc', '--remote', 'origin', '--undo')
  await ok(clone, 'fsck', '-r', '--rev', 'HEAD')
  await ok(clone, 'pull')
  expect(clone.read('data.txt')).toBe('gone')
})

test('what is announced to be deleted is what is told to be deleted, also where a pack is written again', async () => {
  const { repo } = await makeWorld({ 'data/a': 'a'.repeat(20_000), 'data/b': 'b'.repeat(3000) })
  await ok(repo, 'add', 'data')
  await repo.commit('Data')
  await ok(repo, 'push')
  const args = ['gc', '--not-in-remote', '--grace', '0']
  const bytes = (text: string, verb: string) => new RegExp(`${verb} +([\\d.]+ \\w+)`).exec(text)?.[1]
  const announced = await ok(repo, ...args, '--dry-run')
  expect(announced).toMatch(/rewrite +\d+ B of that: 1 pack is mostly needless/)
  const told = await ok(repo, ...args, '--yes')
  expect(bytes(told, 'deleted')).toBe(bytes(announced, 'delete'))
  expect(bytes(told, 'wrote')).toBe(bytes(announced, 'rewrite'))
})

test('a cache that clones share is collected only when all of them are counted', async () => {
  const { dir } = makeFolder()
  const repos = await Promise.all([1, 2].map(() => makeRepo({}, { init: true, commit: true })))
  for (const [i, repo] of repos.entries()) {
    await ok(repo, 'config', 'set', 'cache.dir', join(dir, 'cache'), '--local')
    await version(repo, `of repository ${i}`)
  }
  const [one, two] = repos as [Repo, Repo]
  const refused = await one.mlv('gc', '--yes')
  expect(refused).toMatchObject({ exitCode: 4 })
  expect(refused.stderr).toContain(two.path('.git'))
  const { done } = await collect(one, '--force', '--projects', two.dir)
  expect(done.deleted).toBe(0)
  rmSync(two.path('data.txt'))
  await ok(two, 'checkout')
  expect(two.read('data.txt')).toBe('of repository 1')
})

/** Whether an add will take the rows' word for what the cache has of data/. */
async function trustsRows(repo: Repo): Promise<boolean> {
  const bytes = readFileSync(tablePath(repo.path('.git/mlv/state/main'), 'data' as RepoPath))
  const changes = `${tablePath(repo.path('.git/mlv/state/main'), 'data' as RepoPath)}.changes`
  const text = repo.exists(changes) ? readFileSync(changes, 'utf8') : bytes.toString('utf8', 16, 16 + bytes.readUInt32LE(8))
  const store = await openStore(createDirBlobs({ root: repo.path('.git/mlv/store') }), { role: 'cache', purpose: 'read' })
  return !store.isSound() && store.isSound(JSON.parse(text).held)
}

test('the first add after a collection looks at all that the cache has, later ones take its word', async () => {
  const { repo } = await makeWorld({ 'data/a': 'a', 'data/b': 'b', 'data/c': 'c' })
  await ok(repo, 'add', 'data')
  const first = await repo.commit('First')
  repo.write('data/a', 'changed')
  await ok(repo, 'add', 'data')
  await repo.git('add', '-A')
  expect((await collect(repo, '--keep', 'workspace')).done.deleted).toBeGreaterThan(0)
  expect(await trustsRows(repo)).toBe(false)
  repo.write('data/b', 'changed too')
  await ok(repo, 'add', 'data')
  expect(await trustsRows(repo)).toBe(true)
  repo.write('data/c', 'and this')
  await ok(repo, 'add', 'data/c')
  expect(await trustsRows(repo)).toBe(true)
  await repo.commit('Second')
  await ok(repo, 'checkout')
  expect(await trustsRows(repo)).toBe(true)
  await collect(repo, '--keep', 'workspace')
  expect(await trustsRows(repo)).toBe(false)
  // What a collection took comes back with the data.
  for (const path of ['a', 'b', 'c']) repo.write(`data/${path}`, path)
  await ok(repo, 'add', 'data')
  expect(repo.read('data.mlv')).toBe(await repo.git('show', `${first}:data.mlv`).then((text) => `${text}\n`))
  await ok(repo, 'fsck', '--read-data')
  expect(await trustsRows(repo)).toBe(true)
})

test('a list of files that the cache still has is not believed where a collection took pages that it names', async () => {
  const { repo } = await makeWorld()
  const name = (number: number) => `data/sub/${String(number).padStart(6, '0')}.bin`
  for (let number = 0; number < 500; number++) repo.write(name(number), `${number}\n`)
  repo.write('data/junk', 'x'.repeat(50_000))
  await ok(repo, 'add', 'data')
  rmSync(repo.path('data/junk'))
  repo.write(name(0), 'another')
  await ok(repo, 'add', 'data')
  repo.write(name(499), 'another one')
  await ok(repo, 'add', 'data')
  await repo.git('add', '-A')
  // Takes the last page of the second version, and leaves the page above it, which lies beside much that is needed.
  await collect(repo, '--keep', 'workspace')
  repo.write(name(499), '499\n')
  await ok(repo, 'status')
  await ok(repo, 'add', 'data')
  await ok(repo, 'fsck')
})

test('run records go with their results, here and on a remote; those that somebody needs or that are young stay', async () => {
  const pipeline = 'stages:\n  make:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n'
  const { repo, remote } = await makeWorld({ 'mlv.yaml': pipeline, in: 'first' })
  const runs = (store: string) =>
    readdirSync(store, { recursive: true }).filter((name) => /^runs\/..\/[0-9a-f]{64}\/[0-9a-f]{64}$/.test(String(name)))
  const stores = [repo.path('.git/mlv/store'), remote]
  const makeVersion = async (content: string) => {
    repo.write('in', content)
    await ok(repo, 'repro')
    const id = await repo.commit(content)
    await ok(repo, 'push')
    return id
  }
  await makeVersion('first')
  await makeVersion('second')
  expect(stores.map((store) => runs(store).length)).toEqual([2, 2])
  // All history is needed; and what is young stays, whoever needs it.
  expect((await collect(repo)).done.runs).toBe(0)
  expect(JSON.parse(await ok(repo, 'gc', '--yes', '--json', '--keep', 'workspace', '-r')).done.runs).toBe(0)
  expect((await collect(repo, '--keep', 'workspace')).done.runs).toBe(1)
  // Who has the data may be about to push it: this record of the remote is needed, though its result is gone there.
  for (const folder of ['packs', 'index']) rmSync(join(remote, folder), { recursive: true })
  expect((await collect(repo, '--keep', 'workspace', '-r', '--force')).done.runs).toBe(1)
  expect(stores.map((store) => runs(store).length)).toEqual([1, 1])
  rmSync(repo.path('mlv.lock'))
  rmSync(repo.path('out'))
  expect(await ok(repo, 'repro')).toContain('restored')
  await repo.git('rm', '-q', '--cached', 'mlv.lock')
  rmSync(repo.path('mlv.lock'))
  expect(await ok(repo, 'gc', '--dry-run', '--grace', '0', '--keep', 'workspace', '-r', '--force')).toContain(
    'forget    1 run record whose results are gone',
  )
})

test('an add after --not-in-remote or a drop does not bring back what a remote holds', async () => {
  const { repo } = await makeWorld({ 'data/a': 'a'.repeat(300_000), 'data/b': 'b' })
  await ok(repo, 'add', 'data')
  await repo.commit('Data')
  await ok(repo, 'push')
  await collect(repo, '--not-in-remote')
  const size = async () => {
    let bytes = 0
    for (const folder of ['packs', 'objects'].filter((name) => repo.exists(`.git/mlv/store/${name}`)))
      for (const name of readdirSync(repo.path(`.git/mlv/store/${folder}`), { recursive: true, withFileTypes: true }))
        if (name.isFile()) bytes += statSync(join(name.parentPath, name.name)).size
    return bytes
  }
  repo.write('data/b', 'changed')
  await ok(repo, 'add', 'data')
  expect(await size()).toBeLessThan(10_000)
  await ok(repo, 'fsck')
  await repo.commit('Changed')
  expect(await repo.mlv('push')).toMatchObject({ exitCode: 0, stderr: '' })
  await ok(repo, 'fsck', '-r', 'origin')
  // Unless it is asked to.
  await ok(repo, 'add', '--force', 'data')
  expect(await size()).toBeGreaterThan(300_000)
  await collect(repo, '--not-in-remote')
  expect(await size()).toBeLessThan(10_000)
  // What is new to the pointer is stored, whatever was dropped before.
  repo.write('data/c', 'a'.repeat(300_000))
  await ok(repo, 'add', 'data')
  expect(await size()).toBeGreaterThan(300_000)
})
