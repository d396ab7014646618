import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { GRACE_MS } from '../../src/store/merge-indexes.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { addAll } from '../contract/store.ts'
import type { Repo } from '../helpers/repo.ts'
import { committedEntries, expectData, expectUpToDate, OLD, ok, type Scene, start, type World } from './scenes.ts'
import { faultsOfStore, unreadable } from './soundness.ts'

const cacheOf = (repo: World) => repo.path('.git/mlv/store')
const remoteOf = (repo: World) => join(dirname(repo.dir), 'remote')

function filesOf(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath, item.name))
    .sort()
}

/** One pack has a wrong byte, one index is gone, and a whole object is cut short, where there is one. */
function damage(store: string): void {
  const pack = filesOf(join(store, 'packs')).find((path) => readFileSync(path).includes('old a'))!
  const bytes = readFileSync(pack)
  bytes[bytes.indexOf('old a')]! ^= 1
  chmodSync(pack, 0o644)
  writeFileSync(pack, bytes)
  rmSync(filesOf(join(store, 'index'))[0]!)
  // As another file: the workspace may have the same one under a name of its own.
  for (const path of filesOf(join(store, 'objects'))) {
    rmSync(path)
    writeFileSync(path, 'cut short', { mode: 0o444 })
  }
}

async function pushed(): Promise<Repo> {
  const repo = await start(OLD, 'hardlink')
  await ok(repo, 'add', 'data')
  await repo.commit()
  await ok(repo, 'push')
  return repo
}

async function expectWhole(folder: string, role: 'cache' | 'remote', repo: Repo): Promise<void> {
  expect(await unreadable(folder, role, await committedEntries(repo))).toEqual([])
}

const JUNK = Array.from({ length: 14 }, (_, i) => `object ${i}`)

/** A store with an index that repeats seven others, which are still there a grace period later, and six that are not merged: the next one makes
 *  eight. */
async function fillWithIndexes(root: string, role: 'cache' | 'remote'): Promise<void> {
  for (const text of JUNK) {
    const store = await openStore(createDirBlobs({ root }), { role, purpose: 'write' })
    await addAll(store, [text])
    const small = filesOf(join(root, 'index')).map((path) => ({ path, bytes: readFileSync(path) }))
    await store.mergeIndexes()
    for (const { path, bytes } of small) writeFileSync(path, bytes)
    store.close()
  }
  const then = (Date.now() - GRACE_MS) / 1000 - 3600
  for (const path of filesOf(join(root, 'index'))) utimesSync(path, then, then)
}

async function expectJunk(root: string, role: 'cache' | 'remote'): Promise<void> {
  const store = await openStore(createDirBlobs({ root }), { role, purpose: 'read' })
  const oids = JUNK.map((text) => oidOfBytes(text))
  const found: Oid[] = []
  await store.readEach(oids, (oid) => void found.push(oid))
  store.close()
  expect(found.sort()).toEqual(oids.sort())
}

const indexes = (root: string) => readdirSync(join(root, 'index')).length

/** Commands that mend a store, or put its indexes in order. */
export const DAMAGED: Scene[] = [
  {
    name: 'a repair of the cache',
    args: ['fsck', '--read-data', '--repair'],
    cacheLags: true,
    isDamaged: true,
    async prepare() {
      const repo = await pushed()
      damage(cacheOf(repo))
      return repo
    },
    async always(repo, committed) {
      expect(faultsOfStore(remoteOf(repo))).toEqual([])
      expect(await unreadable(remoteOf(repo), 'remote', committed)).toEqual([])
    },
    async after(repo) {
      await expectWhole(cacheOf(repo), 'cache', repo)
      await expectUpToDate(repo)
      expectData(repo, OLD)
    },
  },
  {
    name: 'a repair of a remote',
    args: ['fsck', '--remote', 'origin', '--rev', 'HEAD', '--read-data', '--repair'],
    isDamaged: true,
    async prepare() {
      const repo = await pushed()
      damage(remoteOf(repo))
      return repo
    },
    async after(repo) {
      await expectWhole(remoteOf(repo), 'remote', repo)
      await ok(repo, 'fsck', '--remote', 'origin', '--rev', 'HEAD', '--read-data')
    },
  },
  {
    name: 'an add that merges indexes of the cache, and deletes superseded ones',
    args: ['add', 'data'],
    async prepare() {
      const repo = await start({ 'data/a': 'a' })
      await fillWithIndexes(cacheOf(repo), 'cache')
      expect(indexes(cacheOf(repo))).toBe(15)
      return repo
    },
    always: (repo) => expectJunk(cacheOf(repo), 'cache'),
    async after(repo) {
      await expectUpToDate(repo)
      expectData(repo, { 'data/a': 'a' })
    },
  },
  {
    name: 'a push that merges indexes of a remote, and deletes superseded ones',
    args: ['push'],
    async prepare() {
      const repo = await start(OLD)
      await ok(repo, 'add', 'data')
      await repo.commit()
      await fillWithIndexes(remoteOf(repo), 'remote')
      expect(indexes(remoteOf(repo))).toBe(15)
      return repo
    },
    async always(repo) {
      expect(faultsOfStore(remoteOf(repo))).toEqual([])
      await expectJunk(remoteOf(repo), 'remote')
    },
    after: (repo) => expectWhole(remoteOf(repo), 'remote', repo),
  },
]
