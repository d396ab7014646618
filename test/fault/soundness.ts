import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { isOid, type Oid, oidOfBytes, oidOfFile } from '../../src/base/oid.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open-store.ts'
import { openIndex, parseIndexKey } from '../../src/store/pack-index.ts'
import { walkTree } from '../../src/store/tree-walk.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import type { Entry } from '../../src/workspace/entry.ts'
import { parsePointer } from '../../src/workspace/pointer.ts'

/** What is wrong with the files of a store: a final name whose bytes are others, an index over a pack that is not there. */
export function faultsOfStore(store: string): string[] {
  const wrong: string[] = []
  const names = (folder: string) => (existsSync(join(store, folder)) ? readdirSync(join(store, folder)) : [])
  for (const kind of ['objects', 'packs'])
    for (const fan of names(kind))
      for (const name of names(`${kind}/${fan}`))
        if (isOid(name) && oidOfFile(join(store, kind, fan, name)) !== name) wrong.push(`${kind}/${fan}/${name} has other bytes`)
  for (const name of names('index')) {
    const index = parseIndexKey(`index/${name}`)
    const bytes = readFileSync(join(store, 'index', name))
    if (!index) wrong.push(`index/${name} is no index`)
    else if (oidOfBytes(bytes) !== index.oid) wrong.push(`index/${name} has other bytes`)
    else
      for (const pack of openIndex(bytes, index.oid).packs)
        if (!existsSync(join(store, 'packs', pack.slice(0, 2), pack))) wrong.push(`index/${name} names a pack that is not there`)
  }
  return wrong
}

async function isReadable(store: ObjectStore, oid: Oid): Promise<boolean> {
  try {
    // Ends with an error where the whole does not hash to the oid.
    for await (const _ of store.stream(oid));
    return store.has(oid)
  } catch {
    return false
  }
}

/** Every object that entries need and that a store cannot give, read through. */
export async function unreadable(folder: string, role: 'cache' | 'remote', entries: readonly Entry[]): Promise<string[]> {
  const wrong: string[] = []
  const store = await openStore(createDirBlobs({ root: folder }), { role, purpose: 'read' })
  for (const entry of entries) {
    if (!(await isReadable(store, entry.oid))) wrong.push(`${entry.kind} ${entry.oid}`)
    else if (entry.kind === 'tree')
      try {
        for await (const { path, entry: below } of walkTree(entry.oid, (oid) => store.read(oid)))
          if (below.kind !== 'tree' && !(await isReadable(store, below.oid))) wrong.push(`${path} ${below.oid}`)
      } catch (error) {
        wrong.push(`${entry.oid}: ${(error as Error).message}`)
      }
  }
  store.close()
  return wrong
}

/** What the pointers in a project's top folder stand for; each must be a whole text. */
export async function pointedAt(root: string): Promise<Entry[]> {
  const names = readdirSync(root).filter((name) => /^[^.].*\.mlv$/.test(name))
  return Promise.all(names.map(async (name) => (await parsePointer(readFileSync(join(root, name), 'utf8'), name)).entry))
}

/** Everything that the pointers here, and those of a commit, stand for can be read from the cache, and the cache's files are what they say. */
export async function expectSound(root: string, committed: readonly Entry[]): Promise<void> {
  const store = join(root, '.git', 'mlv', 'store')
  expect(faultsOfStore(store)).toEqual([])
  expect(await unreadable(store, 'cache', [...committed, ...(await pointedAt(root))])).toEqual([])
}
