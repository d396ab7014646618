import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { BIN, type CommandResult, makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

const ok = { exitCode: 0, stderr: '' }
const LARGE = 'x'.repeat(2 << 20)

/** Nobody's numbers, so that a test never meets a real user's files. */
const GROUP = 54_000
const USERS = [54_001, 54_002] as const

/** What a cache holds, without the notes of who uses it. */
function stored(cache: string): string[] {
  return filesBelow(cache).filter((path) => /(?:^|\/)(?:packs|index|objects)\//.test(path))
}

/** Runs mlv as a user of the group, with a umask that keeps everybody else out. */
function mlvAs(user: number, repo: Repo, ...args: string[]): Promise<CommandResult> {
  return new Promise((done, fail) => {
    const child = spawn('sh', ['-c', 'umask 077; exec "$@"', 'sh', NODE!, BIN, ...args], {
      cwd: repo.dir,
      env: repo.env as NodeJS.ProcessEnv,
      uid: user,
      gid: GROUP,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (piece) => {
      stdout += piece
    })
    child.stderr.on('data', (piece) => {
      stderr += piece
    })
    child.on('error', fail)
    child.on('close', (code) => done({ exitCode: code ?? -1, stdout, stderr }))
  })
}

function giveAway(path: string, user: number): void {
  chownSync(path, user, GROUP)
  if (statSync(path).isDirectory()) for (const name of readdirSync(path)) giveAway(join(path, name), user)
}

/** A repository of one user, with the home folder its commands use. */
async function repoOf(user: number, cache: string, files: Record<string, string>): Promise<Repo> {
  const repo = await makeRepo(files, { init: true })
  await repo.mlv('config', 'set', 'cache.dir', cache, '--local')
  const outer = join(repo.dir, '..')
  giveAway(outer, user)
  return repo
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((item) =>
    item.isDirectory() ? filesBelow(join(folder, item.name)) : [join(folder, item.name)],
  )

// Only root may act for others.
/** A Node and a build that other users may run, too; none where they lie in a folder of root's own, or this is not root. */
const NODE = [process.env.MLV_TEST_NODE, process.execPath].find(
  (node) =>
    node && process.getuid?.() === 0 && spawnSync(node, [BIN, '--version'], { uid: USERS[0], gid: GROUP, env: {} }).status === 0,
)

describe.skipIf(!NODE)('a cache that users share', () => {
  function sharedFolder(): string {
    const { dir } = makeFolder()
    chmodSync(dir, 0o755)
    const cache = join(dir, 'cache')
    mkdirSync(cache)
    chownSync(cache, 0, GROUP)
    chmodSync(cache, 0o2770)
    return cache
  }

  it('takes objects of all, whatever their umask, and gives them to all', async () => {
    const cache = sharedFolder()
    const files = { 'data/large': LARGE, 'data/small': 'small' }
    const [ada, bob] = [await repoOf(USERS[0], cache, files), await repoOf(USERS[1], cache, { ...files, 'data/own': 'own' })]
    expect(await mlvAs(USERS[0], ada, 'add', 'data')).toMatchObject({ exitCode: 0 })
    const after = stored(cache).length
    expect(await mlvAs(USERS[1], bob, 'add', 'data')).toMatchObject({ exitCode: 0 })
    // What Ada stored is not stored again: a pack with the new file and the new tree, and its index.
    expect(stored(cache).length).toBe(after + 2)
    for (const [user, repo] of [
      [USERS[0], ada],
      [USERS[1], bob],
    ] as const) {
      rmSync(repo.path('data'), { recursive: true })
      expect(await mlvAs(user, repo, 'checkout')).toMatchObject({ exitCode: 0 })
      expect(repo.read('data/large')).toBe(LARGE)
      expect((await mlvAs(user, repo, 'status')).stdout).toBe('up to date\n')
    }
  })

  it.each(['copy', 'hardlink', 'symlink'])('hashes what another user wrote before it is placed by %s', async (type) => {
    const cache = sharedFolder()
    const ada = await repoOf(USERS[0], cache, { large: LARGE })
    expect(await mlvAs(USERS[0], ada, 'add', 'large')).toMatchObject({ exitCode: 0 })
    const object = filesBelow(join(cache, 'objects'))[0]!
    const bob = await repoOf(USERS[1], cache, {})
    await bob.mlvWith({}, 'config', 'set', 'cache.link', type, '--local')
    giveAway(join(bob.dir, '..'), USERS[1])
    bob.write('large.mlv', ada.read('large.mlv'))
    // Placed by whatever kind of link the system lets one make to another user's file.
    expect(await mlvAs(USERS[1], bob, 'checkout')).toMatchObject({ exitCode: 0 })
    expect(bob.read('large')).toBe(LARGE)
    rmSync(bob.path('large'))
    const { mtime } = statSync(object)
    rmSync(object)
    writeFileSync(object, 'y'.repeat(2 << 20), { mode: 0o444 })
    utimesSync(object, mtime, mtime)
    chownSync(object, USERS[0], GROUP)
    expectFailure(await mlvAs(USERS[1], bob, 'checkout'), 6, /does not hash to its name|was altered/)
    expect(bob.exists('large')).toBe(false)
    expect(existsSync(object)).toBe(false)
    // Stored again by the one who has it.
    expect(await mlvAs(USERS[0], ada, 'add', 'large')).toMatchObject({ exitCode: 0 })
    expect(await mlvAs(USERS[1], bob, 'checkout')).toMatchObject({ exitCode: 0 })
  })

  it('also hashes what one stored oneself, where others may put a file in its place', async () => {
    const cache = sharedFolder()
    const ada = await repoOf(USERS[0], cache, { large: LARGE })
    expect(await mlvAs(USERS[0], ada, 'add', 'large')).toMatchObject({ exitCode: 0 })
    const object = filesBelow(join(cache, 'objects'))[0]!
    const { mtime } = statSync(object)
    chmodSync(object, 0o600)
    writeFileSync(object, 'y'.repeat(2 << 20))
    chmodSync(object, 0o444)
    utimesSync(object, mtime, mtime)
    rmSync(ada.path('large'))
    expectFailure(await mlvAs(USERS[0], ada, 'checkout'), 6, 'does not hash to its name')
    expect([ada.exists('large'), existsSync(object)]).toEqual([false, false])
  })

  it('that one may only read can be read, and says what it needs when it is written to', async () => {
    const cache = sharedFolder()
    const ada = await repoOf(USERS[0], cache, { large: LARGE, small: 's' })
    expect(await mlvAs(USERS[0], ada, 'add', 'large', 'small')).toMatchObject({ exitCode: 0 })
    const setMode = (folder: string): void => {
      chmodSync(folder, 0o2550)
      for (const item of readdirSync(folder, { withFileTypes: true })) if (item.isDirectory()) setMode(join(folder, item.name))
    }
    setMode(cache)
    const bob = await repoOf(USERS[1], cache, {})
    for (const name of ['large.mlv', 'small.mlv']) bob.write(name, ada.read(name))
    expect(await mlvAs(USERS[1], bob, 'checkout')).toMatchObject({ exitCode: 0 })
    expect([bob.read('large'), bob.read('small')]).toEqual([LARGE, 's'])
    bob.write('new', 'new')
    giveAway(bob.path('new'), USERS[1])
    expectFailure(await mlvAs(USERS[1], bob, 'add', 'new'), 9, 'No permission')
  })
})

/** Another file system than the temp folder's, where there is one that can be written. */
const elsewhere = existsSync('/dev/shm') && statSync('/dev/shm').dev !== statSync(makeFolderOnce()).dev ? '/dev/shm' : undefined

function makeFolderOnce(): string {
  const { dir, cleanup } = makeFolder()
  cleanup()
  return join(dir, '..')
}

describe('a cache elsewhere', () => {
  it.skipIf(!elsewhere).each(['reflink', 'hardlink', 'symlink', 'copy'])(
    'on another disk serves a workspace that asks for %s',
    async (type) => {
      const cache = mkdtempSync(join(elsewhere!, 'mlv-test-'))
      onTestFinished(() => rmSync(cache, { recursive: true, force: true }))
      const repo = await makeRepo({ 'data/large': LARGE, 'data/small': 'small' }, { init: true })
      await repo.mlv('config', 'set', 'cache.dir', cache, '--local')
      await repo.mlv('config', 'set', 'cache.link', type, '--local')
      expect(await repo.mlv('add', 'data')).toMatchObject(ok)
      expect(filesBelow(cache).length).toBeGreaterThan(0)
      rmSync(repo.path('data'), { recursive: true })
      expect(await repo.mlv('checkout')).toMatchObject(ok)
      expect([repo.read('data/large'), repo.read('data/small')]).toEqual([LARGE, 'small'])
      expect((await repo.mlv('status')).stdout).toBe('up to date\n')
      expect(readdirSync(repo.path('data')).sort()).toEqual(['large', 'small'])
    },
  )

  it('that vanished counts as empty: work stays, and what the remote has comes back', async () => {
    const cache = join(makeFolder().dir, 'cache')
    const remote = makeFolder().dir
    const repo = await makeRepo({ 'data/large': LARGE, 'data/small': 'small' }, { init: true })
    await repo.mlv('config', 'set', 'cache.dir', cache, '--local')
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    await repo.mlv('add', 'data')
    await repo.mlv('push')
    renameSync(cache, `${cache} unmounted`)
    expect(await repo.mlv('status')).toMatchObject({ exitCode: 0 })
    repo.write('data/small', 'work')
    expectFailure(await repo.mlv('checkout'), 5, /not in the cache/)
    expect(repo.read('data/small')).toBe('work')
    rmSync(repo.path('data'), { recursive: true })
    expect(await repo.mlv('pull')).toMatchObject({ exitCode: 0 })
    expect([repo.read('data/large'), repo.read('data/small')]).toEqual([LARGE, 'small'])
  })
})
