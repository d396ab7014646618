import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'vitest'
import { parsePointer } from '../../src/workspace/pointer.ts'
import { listing } from '../helpers/listing.ts'
import type { Repo } from '../helpers/repo.ts'
import { committedEntries, expectData, expectUpToDate, LARGE, OLD, ok, type Scene, start, type World } from './scenes.ts'
import { unreadable } from './soundness.ts'

/** A web server with one file in as many versions as its path says. */
const server = createServer((request, response) => {
  const body = `version ${request.url} ${LARGE}`
  response.writeHead(200, { 'content-length': body.length, etag: `"${request.url}"` })
  response.end(request.method === 'HEAD' ? undefined : body)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
server.unref()
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const SOURCE = '../source'
const BRANCH = '.git/refs/heads/mlv/update'

/** Another project beside this one, so that copies have their own. */
async function makeSource(repo: Repo, files: Record<string, string>): Promise<void> {
  mkdirSync(repo.path(SOURCE))
  await repo.git('-C', repo.path(SOURCE), 'init', '-q')
  await repo.mlvWith({ cwd: SOURCE }, 'init')
  await changeSource(repo, files)
}

async function changeSource(repo: Repo, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) repo.write(`${SOURCE}/${path}`, text)
  expect(await repo.mlvWith({ cwd: SOURCE }, 'add', 'data')).toMatchObject({ exitCode: 0 })
  await repo.git('-C', repo.path(SOURCE), 'add', '-A')
  await repo.git('-C', repo.path(SOURCE), 'commit', '-q', '-m', 'Change')
}

async function expectCached(repo: Repo): Promise<void> {
  await repo.commit()
  expect(await unreadable(repo.path('.git/mlv/store'), 'cache', await committedEntries(repo))).toEqual([])
}

/** Commands that take data from elsewhere, or bring it there. */
export const ELSEWHERE: Scene[] = [
  {
    name: 'import of data of another project',
    args: ['import', SOURCE, 'data'],
    async prepare() {
      const repo = await start()
      await makeSource(repo, OLD)
      await repo.commit()
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, OLD)
      expect(repo.read('.gitignore')).toBe('/data\n')
      await expectCached(repo)
    },
  },
  {
    name: 'import of a url',
    args: ['import-url', `${base}/1`, '-o', 'set.csv'],
    async prepare() {
      const repo = await start()
      await repo.commit()
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expect(repo.read('set.csv')).toBe(`version /1 ${LARGE}`)
      expect(repo.read('.gitignore')).toBe('/set.csv\n')
      await expectCached(repo)
    },
  },
  {
    name: 'update of what was imported',
    args: ['update'],
    async prepare() {
      const repo = await start()
      await makeSource(repo, OLD)
      await ok(repo, 'import', SOURCE, 'data')
      await ok(repo, 'import-url', `${base}/1`, '-o', 'set.csv')
      await repo.commit()
      // As if the server had another version by now.
      repo.write('set.csv.mlv', repo.read('set.csv.mlv').replace(`${base}/1`, `${base}/2`))
      await repo.commit()
      await changeSource(repo, { 'data/a': 'newer', 'data/more/d': 'd' })
      return repo
    },
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, { ...OLD, 'data/a': 'newer', 'data/more/d': 'd' })
      expect(repo.read('set.csv')).toBe(`version /2 ${LARGE}`)
      await expectCached(repo)
    },
  },
  {
    name: 'a trigger that commits to a branch and pushes it',
    args: ['trigger', '--commit', '--push'],
    exitCode: 1,
    isGits: true,
    async prepare() {
      const repo = await start()
      await makeSource(repo, OLD)
      await ok(repo, 'import', SOURCE, 'data')
      await repo.commit()
      await repo.git('clone', '-q', '--bare', '.', '../bare.git')
      await repo.git('remote', 'add', 'origin', '../bare.git')
      await ok(repo, 'push')
      await changeSource(repo, { 'data/a': 'second' })
      expect(await repo.mlv('trigger', '--commit', '--push')).toMatchObject({ exitCode: 1, stderr: '' })
      repo.write('../branch', repo.read(BRANCH))
      await changeSource(repo, { 'data/a': 'third', 'data/more/d': 'd' })
      return repo
    },
    async always(repo: Repo) {
      expect(readdirSync(repo.path('.git')).filter((name) => name.startsWith('mlv-'))).toEqual([])
      await repo.git('fsck', '--strict', '--no-dangling')
      for (const [gitDir, store, role] of [
        ['.git', '.git/mlv/store', 'cache'],
        ['../bare.git', '../remote', 'remote'],
      ] as const) {
        const ofBranch = (...args: string[]) => repo.git('--git-dir', repo.path(gitDir), ...args)
        expect(['1', '2']).toContain(await ofBranch('rev-list', '--count', 'main..mlv/update'))
        const { entry } = await parsePointer(await ofBranch('show', 'mlv/update:data.mlv'), 'data.mlv')
        expect(await unreadable(repo.path(store), role, [entry])).toEqual([])
      }
    },
    // Its branch has the commit: then only a push may be left to do.
    isDone: (repo) => repo.read(BRANCH) !== repo.read('../branch'),
    async after(repo) {
      for (const gitDir of ['.git', '../bare.git']) {
        const tip = await repo.git('--git-dir', repo.path(gitDir), 'rev-list', '--count', 'main..mlv/update')
        expect(tip).toBe('2')
      }
      expect((await repo.mlv('cat', 'mlv/update:data/a')).stdout).toBe('third')
      await expectUpToDate(repo)
      expectData(repo, OLD)
    },
  },
  {
    name: 'export to a folder',
    args: ['export', 'data', '../out'],
    async prepare() {
      const repo = await start(OLD)
      await ok(repo, 'add', 'data')
      await repo.commit()
      return repo
    },
    async always(repo) {
      // What has its name is whole.
      for (const [path, text] of Object.entries(exported(repo))) expect(text).toBe(OLD[`data/${path}` as keyof typeof OLD])
    },
    async after(repo) {
      expect(Object.keys(exported(repo)).length).toBe(Object.keys(OLD).length)
    },
  },
]

/** Whole files at the destination; a killed export leaves others, and folders, without their names. */
function exported(repo: World): Record<string, string | null> {
  const files = existsSync(repo.path('../out')) ? listing(repo.path('../out')) : {}
  return Object.fromEntries(Object.entries(files).filter(([path, text]) => text !== null && !path.includes('.mlv-tmp-')))
}
