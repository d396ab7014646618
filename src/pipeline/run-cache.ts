import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { isOid, type Oid, oidOfBytes } from '../base/oid.ts'
import type { Blobs } from '../store/blobs.ts'
import { KEYS } from '../store/layout.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { applyTransfer, countObjects, planTransfer } from '../store/transfer.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import { gatherObjects } from '../workspace/gather.ts'
import type { Project } from '../workspace/project.ts'
import { fetchOuts, fetchUsable } from './fetch-outs.ts'
import { readRun, writeRun } from './run-blobs.ts'
import { formatRunRecord, type RunRecord } from './run-record.ts'
import type { Stage } from './stage.ts'

/** Results of runs by their key, of this machine and of those who push to the same remote. */
export interface RunCache {
  /** A record whose outs are all in the cache when it returns. A record that is broken, says something else, or whose outs are gone is a miss. */
  find(stage: Stage, key: Oid): Promise<RunRecord | undefined>
  /** The same for many runs that gave the stage's outs. @returns those found, by their keys */
  findAll(stage: Stage, keys: readonly Oid[]): Promise<Map<Oid, RunRecord>>
  /** Notes a result whose outs are in the cache. */
  keep(record: RunRecord): Promise<void>
}

/** Whether a stage's result may stand in for a run: it has one, all of it comes from the run, and nobody asked for a run each time. */
export function isReusable(stage: Stage): boolean {
  return !stage.always && stage.outs.length > 0 && stage.outs.every((out) => !out.persist)
}

/** The remote may take this long to answer; a stage that could be run meanwhile does not wait longer. */
const PATIENCE_MS = 10_000

/** Keys that a remote is asked for at once. */
const ASKED_AT_ONCE = 16

/** Scopes to look in, the own one first. undefined: records without a scope */
export function scopesOf(project: Project): (string | undefined)[] {
  const write = project.config.get('run_cache.write')
  const read = project.config.get('run_cache.read')
  return [...new Set([write, ...(read ?? [])])]
}

export async function* readRecords(
  blobs: Blobs,
  key: Oid,
  scope: string | undefined,
  signal?: AbortSignal,
): AsyncGenerator<RunRecord> {
  const prefix = KEYS.runs(key, scope)
  const names: Oid[] = []
  for await (const blob of blobs.list(prefix, signal)) {
    const name = blob.key.slice(prefix.length)
    if (isOid(name)) names.push(name)
  }
  // The lowest valid one wins, so that all who look find the same.
  for (const name of names.sort()) {
    const record = await readRun(blobs, prefix + name, key, signal)
    if (typeof record !== 'string') yield record
  }
}

/** A record that names other outs than the stage has was made for something else. */
function fits(stage: Pick<Stage, 'outs'>, record: RunRecord): boolean {
  const paths = new Set<string>(stage.outs.map((out) => out.path))
  return record.outs.length === paths.size && record.outs.every(({ path }) => paths.has(path))
}

/** Records of some keys that a store's scope holds, by the key of their blob. */
export async function listRecords(
  blobs: Blobs,
  keys: readonly Oid[],
  scope: string | undefined,
  signal?: AbortSignal,
): Promise<Set<string>> {
  const found = new Set<string>()
  const prefixes = keys.map((key) => KEYS.runs(key, scope))
  // A listing of all gives a thousand names a request.
  const listed = keys.length > 3 ? [`runs/${scope === undefined ? '' : `${scope}/`}`] : prefixes
  const wanted = new Set(prefixes)
  for (const prefix of listed)
    for await (const { key } of blobs.list(prefix, signal)) if (wanted.has(key.slice(0, key.lastIndexOf('/') + 1))) found.add(key)
  return found
}

/** Sends the cache's records of some keys to a remote, with those of their outs that it lacks. @returns how many the remote lacked */
export async function pushRuns(project: Project, remoteName: string | undefined, keys: readonly Oid[]): Promise<number> {
  const { signal } = project.surroundings
  const scope = project.config.get('run_cache.write')
  const cache = await project.cache('read')
  const records: { name: string; bytes: Uint8Array; record: RunRecord }[] = []
  for (const key of keys)
    for await (const record of readRecords(cache.blobs, key, scope, signal)) {
      const bytes = Buffer.from(formatRunRecord(record))
      records.push({ name: KEYS.runs(key, scope) + oidOfBytes(bytes), bytes, record })
    }
  if (records.length === 0) return 0
  const { store: remote } = await project.remote(remoteName, 'write')
  const known = await listRecords(remote.blobs, [...new Set(records.map(({ record }) => record.key))], scope, signal)
  const lacking = records.filter(({ name }) => !known.has(name))
  const roots = lacking.flatMap(({ record }) => record.outs.map(({ entry }) => ({ entry, part: '' })))
  const { objects } = await gatherObjects(roots, [cache, remote], { signal })
  const plan = planTransfer(cache, remote, objects.values())
  if (countObjects(plan) > 0) await applyTransfer(plan, cache, remote, { signal })
  let sent = 0
  for (const { name, bytes, record } of lacking) {
    // Its outs may have gone from the cache since.
    if (!record.outs.every(({ entry }) => remote.has(entry.oid))) continue
    await remote.blobs.put(name, bytes, { ifAbsent: true, signal })
    sent++
  }
  return sent
}

export interface FoundRecord {
  record: RunRecord
  /** those who may write to it vouch for the record */
  scope: string | undefined
}

/** The record of a key that counts: the first valid one, in the order of scopes, that names the stage's outs and is usable. */
export async function findRecord(
  blobs: Blobs,
  wanted: { stage: Pick<Stage, 'outs'>; key: Oid; scopes: readonly (string | undefined)[]; signal?: AbortSignal },
  usable: (record: RunRecord) => Promise<boolean>,
): Promise<FoundRecord | undefined> {
  for (const scope of wanted.scopes)
    for await (const record of readRecords(blobs, wanted.key, scope, wanted.signal))
      if (fits(wanted.stage, record) && (await usable(record))) return { record, scope }
  return undefined
}

async function writeScoped(project: Project, { record, scope }: FoundRecord): Promise<void> {
  const folder = (await project.cache('write')).loose?.root
  if (folder !== undefined) writeRun(folder, KEYS.runs(record.key, scope), record)
}

/** Notes a result of this machine's own whose outs are in the cache. */
export async function keepRecord(project: Project, record: RunRecord): Promise<void> {
  await writeScoped(project, { record, scope: project.config.get('run_cache.write') })
}

export async function openRunCache(project: Project, data: WorkspaceData): Promise<RunCache> {
  const { signal, warn } = project.surroundings
  const scopes = scopesOf(project)
  const cache = await project.cache('write')
  let remote: Promise<ObjectStore | undefined> | undefined

  async function openRemote(): Promise<ObjectStore | undefined> {
    if (project.config.remotes().length === 0) return undefined
    try {
      return (await project.remote(undefined, 'read')).store
    } catch (error) {
      if (!hasCode(error, 'REMOTE_MISSING', 'REMOTE_UNKNOWN')) giveUp(error)
      return undefined
    }
  }

  let givenUp = false

  function giveUp(error: unknown): void {
    if (!(error instanceof MlvError)) throw error
    signal?.throwIfAborted()
    remote = Promise.resolve(undefined)
    if (givenUp) return
    givenUp = true
    warn(`the remote's run cache cannot be asked, going on without it: ${error.message}`)
  }

  async function isHere(record: RunRecord): Promise<boolean> {
    for (const { entry } of record.outs) if (!(await data.isCached(entry))) return false
    return true
  }

  /** The record that the remote has, as `usable` finds it. */
  async function askRemote(
    stage: Stage,
    key: Oid,
    usable: (record: RunRecord, store: ObjectStore) => Promise<boolean>,
  ): Promise<FoundRecord | undefined> {
    remote ??= openRemote()
    const store = await remote
    if (!store) return undefined
    try {
      const limit = AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])])
      return await findRecord(store.blobs, { stage, key, scopes, signal: limit }, (record) => usable(record, store))
    } catch (error) {
      giveUp(error)
      return undefined
    }
  }

  async function findRemote(stage: Stage, key: Oid): Promise<RunRecord | undefined> {
    const found = await askRemote(stage, key, (record, store) => fetchOuts(project, [record], store))
    // In the scope of whoever vouches for it: under the own one, a push would pass it on to those who do not believe them.
    if (found) await writeScoped(project, found)
    return found?.record
  }

  const findHere = async (stage: Stage, key: Oid) =>
    (await findRecord(cache.blobs, { stage, key, scopes, signal }, isHere))?.record

  /** Asks for many at once, and gets their outs together; one by one only where some of them cannot be had. */
  async function findAllRemote(stage: Stage, keys: readonly Oid[]): Promise<RunRecord[]> {
    if (keys.length === 0) return []
    remote ??= openRemote()
    // Also where one question is not answered: what the others named took hours, perhaps.
    const store = await remote
    const asked = await mapBounded(keys, ASKED_AT_ONCE, (key) => askRemote(stage, key, async () => true))
    const named = asked.filter((one) => one !== undefined)
    if (!store || named.length === 0) return []
    const found: RunRecord[] = []
    try {
      const usable = new Set(await fetchUsable(project, named, store))
      for (const one of named) {
        if (usable.has(one)) await writeScoped(project, one)
        // Another record of that run may be true.
        const record = usable.has(one) ? one.record : await findRemote(stage, one.record.key)
        if (record) found.push(record)
      }
    } catch (error) {
      giveUp(error)
    }
    return found
  }

  return {
    keep: (record) => keepRecord(project, record),
    async find(stage, key) {
      return (await findHere(stage, key)) ?? findRemote(stage, key)
    },
    async findAll(stage, keys) {
      const found = new Map<Oid, RunRecord>()
      for (const key of keys) {
        const record = await findHere(stage, key)
        if (record) found.set(key, record)
      }
      const away = keys.filter((key) => !found.has(key))
      for (const record of await findAllRemote(stage, away)) found.set(record.key, record)
      return found
    },
  }
}
