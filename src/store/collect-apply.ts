import { unlinkSync } from 'node:fs'
import { fileError, systemCode } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import type { CollectPlan } from './collect.ts'
import { readContent } from './content.ts'
import { KEYS } from './layout.ts'
import type { ObjectStore } from './object-store.ts'
import { formatRecord, readRecords, type StoredRecord, type StoreRecord } from './record.ts'
import { copyPacks, deletePacks, forgetPacks } from './rewrite-pack.ts'

export interface Collected {
  /** bytes of packs and whole objects deleted */
  deleted: number
  /** bytes of what is condemned now and was not before */
  condemned: number
  /** bytes of packs and indexes written, so that mostly dead packs can go */
  rewritten: number
  /** objects that are needed and proved wrong on the way: they count as missing from now on, so that they are written again */
  corrupt: Oid[]
}

/** Carries a plan out: deletes what is due, then condemns. Interrupted at any point it loses nothing that is needed, and a new plan goes on from there. */
export async function applyCollect(
  store: ObjectStore,
  plan: CollectPlan,
  options: { signal?: AbortSignal } = {},
): Promise<Collected> {
  const { signal } = options
  if (plan.records.length > 0) await store.announce('condemned')
  await removeDue(store, plan)
  await settleRecords(store, plan)
  const result: Collected = { deleted: plan.remove.bytes, condemned: plan.condemn.bytes, rewritten: 0, corrupt: [] }
  signal?.throwIfAborted()
  const copied = await copyPacks(store, plan.rewrite.packs, plan.rewrite.keeps, signal)
  result.rewritten = copied.written
  result.corrupt = [...new Set(copied.corrupt.map(({ oid }) => oid))]
  for (const oid of result.corrupt) await store.setAside(oid)
  const rewritten = plan.rewrite.packs.map(({ oid }) => oid)
  const packs = [...plan.condemn.packs, ...rewritten]
  if (packs.length + plan.condemn.objects.length > 0) {
    if (rewritten.length > 0) result.condemned += plan.rewrite.bytes + plan.rewrite.kept
    // Announced first: whoever finds the record named nowhere would not look for it.
    await store.announce('condemned')
    await putRecord(store, { packs, objects: plan.condemn.objects, deleted: false })
  }
  await store.refresh()
  return result
}

async function putRecord(store: ObjectStore, { packs, objects, deleted }: StoreRecord): Promise<Oid> {
  const bytes = Buffer.from(
    formatRecord({ packs: [...packs].sort(), objects: [...objects].sort(), ...(deleted ? { deleted } : {}) }),
  )
  const name = oidOfBytes(bytes)
  await store.blobs.put(KEYS.condemned + name, bytes, { oid: name })
  return name
}

async function removeDue(store: ObjectStore, { remove, now }: CollectPlan): Promise<void> {
  if (remove.packs.length + remove.objects.length === 0) return
  // Written first, and anew by each attempt: it tells of the deletion for a grace period after it.
  await putRecord(store, { ...remove, deleted: true })
  const gone = new Set(remove.packs)
  if (gone.size > 0) await deletePacks(store.blobs, await readContent(store.blobs), gone)
  for (const oid of remove.objects) {
    const path = store.loose!.path(oid)
    // Stored again since the plan was made: whoever did so may count on it by now.
    if ((store.loose!.changedAt(oid) ?? 0) > now) continue
    try {
      faultPoint('object: delete')
      unlinkSync(path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw fileError(error, 'deleting', path)
    }
  }
}

/** Takes out of the records what was deleted and what is spared. A record that still names something is written anew before the old one goes. */
async function settleRecords(store: ObjectStore, plan: CollectPlan): Promise<void> {
  const { blobs } = store
  const spared = new Set([...plan.spare.packs, ...plan.spare.objects])
  const done = new Set([...plan.remove.packs, ...plan.remove.objects])
  const waiting = new Set([...plan.waiting.packs, ...plan.waiting.objects])
  const written = new Set<Oid>()
  async function replace(record: StoredRecord, stays: (oid: Oid) => boolean): Promise<void> {
    const packs = record.packs.filter(stays)
    const objects = record.objects.filter(stays)
    if (packs.length === record.packs.length && objects.length === record.objects.length) return
    if (packs.length + objects.length > 0) written.add(await putRecord(store, { packs, objects, deleted: record.deleted }))
    if (!written.has(record.name)) await blobs.delete(KEYS.condemned + record.name)
  }
  const expired = new Set(plan.expired.map(({ name }) => name))
  for (const record of plan.records) {
    if (!record.deleted) await replace(record, (oid) => waiting.has(oid))
    else if (!expired.has(record.name)) await replace(record, (oid) => !spared.has(oid))
    else if (!record.packs.some((oid) => done.has(oid)) && !record.objects.some((oid) => done.has(oid)))
      await expire(store, record)
  }
}

/** Ends a record of a deletion: indexes that were merged meanwhile may name its packs again. */
async function expire(store: ObjectStore, record: StoredRecord): Promise<void> {
  const content = await readContent(store.blobs)
  await forgetPacks(store.blobs, content, new Set(record.packs.filter((oid) => !content.packs.has(oid))))
  await store.blobs.delete(KEYS.condemned + record.name)
}

/** Names of the records of what was condemned and is not yet deleted. */
export async function planUndo(store: ObjectStore): Promise<string[]> {
  const names: string[] = []
  for await (const { name, deleted } of readRecords(store.blobs, KEYS.condemned)) if (!deleted) names.push(name)
  return names
}

/** Takes back what was condemned and is not yet deleted. @returns how many records were taken back */
export async function undoCollect(store: ObjectStore): Promise<number> {
  const names = await planUndo(store)
  for (const name of names) await store.blobs.delete(KEYS.condemned + name)
  await store.refresh()
  return names.length
}
