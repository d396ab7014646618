import { join } from 'node:path'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { LockedDep, LockedOut, LockedParam, LockedStage } from '../pipeline/lock.ts'
import { lockedStage } from '../pipeline/run-stage.ts'
import type { Stage } from '../pipeline/stage.ts'
import type { Entry } from '../workspace/entry.ts'
import type { Ignore } from '../workspace/ignore.ts'
import type { DvcLockedStage } from './dvc-files.ts'
import { kindAt, listFolder, md5OfFile, md5OfListing } from './dvc-hash.ts'
import type { DvcData, DvcEntry, DvcHash } from './dvc-out.ts'

/** The workspace as DVC hashes it; each path once. */
export interface DvcWorkspace {
  list(folder: string, hash: DvcHash): Promise<DvcEntry[]>
  /** whether what lies there now is what DVC says */
  matches(data: DvcData): Promise<boolean>
}

export function openDvcWorkspace(root: string, ignore: Ignore, caches: readonly string[]): DvcWorkspace {
  const hashes = new Map<string, Promise<string | undefined>>()
  const list = (folder: string, hash: DvcHash) => listFolder(root, folder, { hash, ignore, caches })
  async function hashOf({ path, hash }: DvcData): Promise<string | undefined> {
    const kind = kindAt(join(root, path), caches)
    if (kind === undefined) return undefined
    if (kind === 'folder') return `${md5OfListing(await list(path, hash))}.dir`
    return md5OfFile(join(root, path), hash)
  }
  return {
    list,
    async matches(data) {
      const key = `${data.hash} ${data.path}`
      let found = hashes.get(key)
      if (!found) {
        found = hashOf(data)
        hashes.set(key, found)
      }
      return (await found) === `${data.md5}${data.folder ? '.dir' : ''}`
    },
  }
}

/** What mlv makes of paths that dvc.lock names. */
export interface LockView {
  workspace: DvcWorkspace
  /** what was taken over with that MD5 */
  imported(data: DvcData): Entry | undefined
  /** what mlv sees at a path of the workspace, as a dep or as an out */
  dep(path: RepoPath): Promise<Entry | undefined>
  out(path: RepoPath): Promise<Entry | undefined>
}

async function entryOf(data: DvcData, view: LockView, as: 'dep' | 'out'): Promise<Entry | undefined> {
  if (data.md5 !== undefined && (await view.workspace.matches(data))) {
    const here = await view[as](data.path)
    if (here) return here
  }
  return view.imported(data)
}

/** The values a stage ran with, of the params it names now. */
function paramsOf(stage: Stage, ran: DvcLockedStage, fileOf: (name: string) => string | undefined): LockedParam[] {
  const files = new Map([...ran.params].map(([name, values]) => [fileOf(name), values]))
  return stage.params
    .flatMap(({ file, key }): LockedParam[] => {
      const values = files.get(file)
      if (!values) return []
      const value = key === '' ? values : values[key]
      return value === undefined ? [] : [{ file, key, value: lockable(value) }]
    })
    .sort((a, b) => compareUtf8(a.file, b.file) || compareUtf8(a.key, b.key))
}

/** JSON has no word for them; these are YAML's, as in mlv.lock. */
function lockable(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return Number.isNaN(value) ? '.nan' : value > 0 ? '.inf' : '-.inf'
  if (Array.isArray(value)) return value.map(lockable)
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, lockable(item)]))
  return value
}

/** What dvc.lock says of a stage, in mlv's words. @returns the first path whose bytes are known nowhere instead, when there is one */
export async function migrateLocked(
  stage: Stage,
  ran: DvcLockedStage,
  given: { view: LockView; fileOf(name: string): string | undefined },
): Promise<LockedStage | DvcData> {
  const { view } = given
  const deps: LockedDep[] = []
  for (const data of ran.deps) {
    const entry = await entryOf(data, view, 'dep')
    if (!entry) return data
    deps.push({ path: data.path, entry })
  }
  const outs: LockedOut[] = []
  for (const data of ran.outs) {
    const out = stage.outs.find(({ path }) => path === data.path)
    // What was stored goes before what lies there: mlv.lock must not name what no cache has.
    const entry = (out?.git ? undefined : view.imported(data)) ?? (await entryOf(data, view, 'out'))
    if (!entry) return data
    outs.push({ path: data.path, entry, git: out?.git ?? false, persist: out?.persist ?? false })
  }
  const byPath = (a: { path: string }, b: { path: string }) => compareUtf8(a.path, b.path)
  const params = paramsOf(stage, ran, given.fileOf)
  return lockedStage(
    { ...stage, cmd: ran.cmd.map((line) => line.trim()) },
    { deps: deps.sort(byPath), params, env: [] },
    { outs: outs.sort(byPath), unsure: false },
  )
}
