import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import type { Entry } from '../../src/workspace/entry.ts'
import { listing } from '../helpers/listing.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { expectSound, faultsOfStore, pointedAt, unreadable } from './soundness.ts'

/** Where a world lies. After a power loss there is no git in it. */
export type World = Pick<Repo, 'dir' | 'path'>

/** One command, and a world to run it in. */
export interface Scene {
  name: string
  args: string[]
  /** its exit status, where that is not 0 */
  exitCode?: number
  /** made once; each run has a copy */
  prepare(): Promise<Repo>
  /** the command fetches what the cache lacks of what the pointers stand for */
  cacheLags?: boolean
  /** the stores are damaged before, for the command to mend */
  isDamaged?: boolean
  /** is only killed: its writes fail as those of another scene do */
  killsOnly?: boolean
  /** beside what holds for every command: true at every moment, also after a kill or a power loss
   *  @param committed what the pointers of all commits stand for */
  always?(repo: World, committed: readonly Entry[]): Promise<void>
  /** writes past the page cache, which a disk in memory does not have */
  onDisk?: true
  /** what replaces files of the workspace that a power loss cut: not flushed, they are told as changed by hand */
  force?: string[]
  /** what it writes is git's to keep: what a power loss leaves of that is not ours to say */
  isGits?: boolean
  /** nothing was left to do: then the command may say that there is nothing to do it to */
  isDone?(repo: Repo): boolean
  /** true after its end even if the power is lost then */
  durably?(repo: Repo): Promise<void>
  /** true once the command has run to its end */
  after(repo: Repo): Promise<void>
}

export const LARGE = 'large enough to lie whole in a cache that links\n'.repeat(2000)
export const OLD = {
  'data/a': 'old a',
  'data/sub/b': 'old b',
  'data/gone': 'gone',
  'data/big': `old ${LARGE}`,
  'data/was/c': 'a folder',
}
const NEW = { 'data/a': 'new a', 'data/sub/b': 'new b', 'data/more/d': 'd', 'data/big': `new ${LARGE}`, 'data/was': 'a file' }

type Link = 'copy' | 'hardlink'

/** @param link with hardlinks, objects lie whole from 64 KiB on; with copies, from 1 MiB on, which no file here has */
export async function start(files: Record<string, string> = {}, link: Link = 'copy'): Promise<Repo> {
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('config', 'set', 'cache.link', link, '--local')
  await repo.mlv('remote', 'add', 'origin', '../remote', '--local')
  // Relative again, so that each copy of the world has a remote of its own.
  repo.write('.git/mlv/config', repo.read('.git/mlv/config').replace(dirname(repo.dir), '..'))
  return repo
}

const SECRET = 'what the law wants gone'

export const storesOf = (repo: World) =>
  [
    [repo.path('.git/mlv/store'), 'cache'],
    [join(repo.dir, '..', 'remote'), 'remote'],
  ] as const

/** A commit with OLD, one with NEW; the workspace is at the second. */
async function twoVersions(link?: Link): Promise<Repo> {
  const repo = await start(OLD, link)
  await ok(repo, 'add', 'data')
  await repo.commit('old')
  rmSync(repo.path('data'), { recursive: true })
  for (const [path, text] of Object.entries(NEW)) repo.write(path, text)
  await ok(repo, 'add', 'data')
  await repo.commit('new')
  return repo
}

/** Only the first of two versions is reached; of a third add, one pack is mostly needless. */
async function withGarbage(link?: Link): Promise<Repo> {
  const repo = await twoVersions(link)
  for (const [name, text] of [
    ['keep', 'kept'],
    ['waste', 'w'.repeat(50_000)],
  ] as const)
    repo.write(name, text)
  await ok(repo, 'add', 'keep', 'waste')
  await ok(repo, 'push')
  await ok(repo, 'push', '--all-commits')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  rmSync(repo.path('waste.mlv'))
  await repo.git('add', 'keep.mlv')
  await repo.git('commit', '-q', '-m', 'Keep')
  return repo
}

const collected = (...flags: string[]): Pick<Scene, 'args' | 'prepare' | 'after'> => ({
  args: ['gc', '--yes', '--grace', '0', ...flags],
  prepare: () => withGarbage(),
  async after(repo) {
    // A deletion that a power loss undid leaves a pack that only the next collection finds to be mostly dead.
    await ok(repo, 'gc', '--yes', '--grace', '0', ...flags)
    const { stdout } = await repo.mlv('gc', '--dry-run', '--json', '--grace', '0', ...flags)
    const nothing = { packs: 0, objects: 0, bytes: 0 }
    expect(JSON.parse(stdout)).toMatchObject({ condemn: nothing, delete: nothing, waiting: nothing, rewrite: { packs: 0 } })
    const remote = repo.path('../remote')
    expect(faultsOfStore(remote)).toEqual([])
    expect(await unreadable(remote, 'remote', await committedEntries(repo))).toEqual([])
  },
})

export async function ok(repo: Repo, ...args: string[]): Promise<void> {
  expect({ args, ...(await repo.mlv(...args)) }).toMatchObject({ args, exitCode: 0 })
}

export const expectData = (repo: Repo, files: Record<string, string>) =>
  expect(Object.fromEntries(Object.entries(listing(repo.path('data'))).map(([path, text]) => [`data/${path}`, text]))).toEqual(
    files,
  )

export async function expectUpToDate(repo: Repo): Promise<void> {
  expect(await repo.mlv('status')).toEqual({ exitCode: 0, stdout: 'up to date\n', stderr: '' })
}

const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** What DVC would have written for a folder, and for a stage that ran. */
function dvcFiles(): Record<string, string> {
  const list = JSON.stringify([
    { md5: md5('a'), relpath: 'a' },
    { md5: md5(LARGE), relpath: 'big' },
  ])
  const stage = `  copy:\n    cmd: cp src out\n`
  const object = (name: string) => `.dvc/cache/files/md5/${name.replace(/^../, '$&/')}`
  return {
    '.dvc/config': '',
    '.dvcignore': '*.tmp\n',
    '.gitignore': '/data\n/out\n/.dvc/cache\n',
    'data.dvc': `outs:\n- {md5: ${md5(list)}.dir, hash: md5, path: data}\n`,
    [object(`${md5(list)}.dir`)]: list,
    [object(md5('a'))]: 'a',
    [object(md5(LARGE))]: LARGE,
    src: 'a',
    out: 'a',
    'dvc.yaml': `stages:\n${stage}    deps: [src]\n    outs: [out]\n`,
    'dvc.lock': `schema: '2.0'\nstages:\n${stage}    deps:\n    - {path: src, hash: md5, md5: ${md5('a')}}\n    outs:\n    - {path: out, hash: md5, md5: ${md5('a')}}\n`,
  }
}

/** The pointer has moved on from what is committed, and what it names can be read. */
async function expectNewPointer(repo: Repo): Promise<void> {
  expect(repo.read('data.mlv')).not.toBe(await repo.git('cat-file', '-p', ':data.mlv').catch(() => ''))
  await expectSound(repo.dir, [])
}

async function expectPushed(repo: Repo): Promise<void> {
  expect(await unreadable(join(repo.dir, '..', 'remote'), 'remote', await committedEntries(repo))).toEqual([])
}

export const SCENES: Scene[] = [
  {
    name: 'migrate dvc',
    args: ['migrate', 'dvc'],
    async prepare() {
      const repo = await start(dvcFiles())
      await repo.commit()
      return repo
    },
    async after(repo) {
      await ok(repo, 'checkout')
      await expectUpToDate(repo)
      expectData(repo, { 'data/a': 'a', 'data/big': LARGE })
      expect(readFileSync(repo.path('mlv.lock'), 'utf8')).toContain('"path": "out"')
    },
  },
  {
    name: 'the first add, of what git tracked until now',
    args: ['add', 'data'],
    async prepare() {
      const repo = await start(OLD)
      await repo.commit()
      return repo
    },
    durably: expectNewPointer,
    async after(repo) {
      expect(repo.read('.gitignore')).toBe('/data\n')
      expect(await repo.git('ls-files', 'data')).toBe('')
      await expectUpToDate(repo)
      expectData(repo, OLD)
    },
  },
  {
    name: 'add where mlv has written nothing yet',
    args: ['add', 'data'],
    killsOnly: true,
    async prepare() {
      const repo = await makeRepo({ 'data/a': 'a' }, { init: true, commit: true })
      rmSync(repo.path('.git/mlv'), { recursive: true, force: true })
      return repo
    },
    durably: expectNewPointer,
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, { 'data/a': 'a' })
    },
  },
  {
    name: 'add of a new version',
    args: ['add', 'data'],
    async prepare() {
      const repo = await start(OLD)
      await ok(repo, 'add', 'data')
      await repo.commit()
      rmSync(repo.path('data'), { recursive: true })
      for (const [path, text] of Object.entries(NEW)) repo.write(path, text)
      return repo
    },
    durably: expectNewPointer,
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, NEW)
    },
  },
  {
    name: 'add of one file of a folder',
    args: ['add', 'data/a'],
    killsOnly: true,
    async prepare() {
      const repo = await start(OLD)
      await ok(repo, 'add', 'data')
      await repo.commit()
      repo.write('data/a', 'new a')
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, { ...OLD, 'data/a': 'new a' })
    },
  },
  {
    name: 'checkout of another version',
    args: ['checkout'],
    async prepare() {
      const repo = await twoVersions()
      await repo.git('checkout', '-q', 'HEAD~1')
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, OLD)
    },
  },
  {
    name: 'push',
    args: ['push', '--all-commits'],
    prepare: () => twoVersions(),
    async always(repo) {
      const remote = join(repo.dir, '..', 'remote')
      expect(faultsOfStore(remote)).toEqual([])
    },
    durably: expectPushed,
    after: expectPushed,
  },
  {
    name: 'pull into a fresh clone',
    args: ['pull'],
    cacheLags: true,
    async prepare() {
      const repo = await twoVersions()
      await ok(repo, 'push')
      for (const path of ['data', '.git/mlv/store', '.git/mlv/state']) rmSync(repo.path(path), { recursive: true })
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, NEW)
    },
  },
  { name: 'a collection of the cache', ...collected() },
  {
    name: 'a collection of a remote',
    ...collected('--remote', '--force'),
    async always(repo, committed) {
      expect(await unreadable(repo.path('../remote'), 'remote', committed)).toEqual([])
    },
  },
  {
    name: 'purge of a file, here and on a remote',
    args: ['purge', 'data/secret', 'secret', '--all-commits', '--yes', '-r', 'origin'],
    // What is purged cannot be read, whatever the pointers say.
    cacheLags: true,
    async prepare() {
      const repo = await start({ ...OLD, 'data/secret': SECRET, secret: `${SECRET}${LARGE}` })
      await ok(repo, 'add', 'data', 'secret')
      await repo.commit()
      await ok(repo, 'push')
      return repo
    },
    async always(repo) {
      const entries = await pointedAt(repo.dir)
      for (const [folder, role] of storesOf(repo)) {
        expect(faultsOfStore(folder)).toEqual([])
        const lost = await unreadable(folder, role, entries)
        expect(lost.filter((line) => !/^(secret|file) /.test(line))).toEqual([])
      }
    },
    async after(repo) {
      for (const [folder] of storesOf(repo))
        for (const item of readdirSync(folder, { withFileTypes: true, recursive: true }))
          if (item.isFile()) expect(readFileSync(join(item.parentPath, item.name), 'latin1')).not.toContain(SECRET)
    },
  },
  {
    name: 'move',
    args: ['move', 'data', 'moved/to'],
    killsOnly: true,
    async prepare() {
      const repo = await twoVersions()
      // Not what the pointer says: a move must not look at the content to know its own.
      repo.write('data/a', 'changed')
      repo.write('moved/other', 'x')
      return repo
    },
    isDone: (repo) => repo.exists('moved/to.mlv') && repo.exists('moved/to'),
    async after(repo) {
      expect([repo.exists('data'), repo.exists('data.mlv')]).toEqual([false, false])
      expect([repo.read('.gitignore'), repo.read('moved/.gitignore')]).toEqual(['', '/to\n'])
      expect((await repo.mlv('status')).stdout).toMatch(/^modified +moved\/to .*~1/)
      repo.write('moved/to/a', NEW['data/a'])
      await expectUpToDate(repo)
    },
  },
  {
    name: 'status, which writes rows alone',
    args: ['status'],
    killsOnly: true,
    async prepare() {
      const repo = await twoVersions()
      repo.write('data/a', 'newer')
      return repo
    },
    async after(repo) {
      expect((await repo.mlv('status')).stdout).toMatch(/modified +data\/a/)
    },
  },
]

/** More than a cache keeps in packs, also where it copies, and enough to be written past the page cache: from 4 MiB on. */
const HUGE = 'large enough to lie whole in any cache, and to be written past the page cache\n'.repeat(60_000)

/** Commands on a cache where large objects lie whole. */
export const WHOLE: Scene[] = [
  {
    name: 'add of what lies whole also where files are copied',
    args: ['add', 'data'],
    killsOnly: true,
    onDisk: true,
    async prepare() {
      const repo = await start({ 'data/huge': HUGE })
      await repo.commit()
      return repo
    },
    durably: expectNewPointer,
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, { 'data/huge': HUGE })
    },
  },
  {
    name: 'checkout of what lies whole by a copy',
    args: ['checkout'],
    killsOnly: true,
    onDisk: true,
    async prepare() {
      const repo = await start({ 'data/huge': `old ${HUGE}` })
      await ok(repo, 'add', 'data')
      await repo.commit('old')
      repo.write('data/huge', HUGE)
      await ok(repo, 'add', 'data')
      await repo.commit('new')
      await repo.git('checkout', '-q', 'HEAD~1')
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, { 'data/huge': `old ${HUGE}` })
    },
  },
  {
    name: 'add of what lies whole',
    args: ['add', 'data'],
    async prepare() {
      const repo = await start(OLD, 'hardlink')
      await repo.commit()
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, OLD)
    },
  },
  {
    name: 'checkout of another version by hardlinks',
    args: ['checkout'],
    async prepare() {
      const repo = await twoVersions('hardlink')
      await repo.git('checkout', '-q', 'HEAD~1')
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, OLD)
    },
  },
  { ...collected(), name: 'a collection of a cache with whole objects', killsOnly: true, prepare: () => withGarbage('hardlink') },
]

/** A copy of a scene's world in which a command may run and die. */
export function copyOf(world: Repo, { onDisk }: Scene): Promise<Repo> {
  return world.copy({ inMemory: !onDisk })
}

/** The pointers' entries of all commits. */
export async function committedEntries(repo: Repo): Promise<Entry[]> {
  const found: Entry[] = []
  for (const commit of (await repo.git('rev-list', '--all')).split('\n').filter(Boolean)) {
    const copy = await repo.copy({ inMemory: true })
    await copy.git('checkout', '-q', '-f', commit)
    found.push(...(await pointedAt(copy.dir)))
    copy.cleanup()
  }
  return found
}

/** The points a command passes, in order, and how long it takes. */
export async function pointsOf(scene: Scene, world: Repo): Promise<{ points: string[]; milliseconds: number }> {
  const repo = await copyOf(world, scene)
  const list = join(repo.dir, '..', 'points')
  const started = performance.now()
  const result = await repo.mlvWith({ env: { MLV_FAULT: `list:${list}` } }, ...scene.args)
  const milliseconds = performance.now() - started
  expect(result).toMatchObject({ exitCode: scene.exitCode ?? 0 })
  await scene.after(repo)
  const points = existsSync(list) ? readFileSync(list, 'utf8').trim().split('\n') : []
  repo.cleanup()
  return { points, milliseconds }
}

/** What a check of all that the workspace needs says. */
export async function expectChecked(repo: Repo): Promise<void> {
  expect(await repo.mlv('fsck', '--read-data')).toMatchObject({ exitCode: 0, stderr: '' })
}

/** Runs a scene's command once more, to its end, after it was cut off.
 *  @param how isKnown: whether worlds that end like this one have been looked at already; others are checked by mlv, too. wasCut: by a loss of power */
export async function runAgain(
  scene: Scene,
  repo: Repo,
  { isKnown, wasCut = false }: { isKnown?: () => boolean; wasCut?: boolean } = {},
): Promise<void> {
  const isDone = scene.isDone?.(repo) ?? false
  let result = await repo.mlv(...scene.args)
  if (wasCut && scene.force && result.exitCode === 4) result = await repo.mlv(...scene.args, ...scene.force)
  expect({ ...result, isDone }, result.stderr).toMatchObject(isDone ? { isDone } : { exitCode: scene.exitCode ?? 0 })
  if (isKnown?.()) return
  await scene.after(repo)
  if (isKnown) await expectChecked(repo)
}
