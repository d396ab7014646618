import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { isWithin, quotePath, type RepoPath } from '../base/paths.ts'
import { findUnheld } from '../store/held.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { rewritePacks } from '../store/rewrite-pack.ts'
import { walkTree } from '../store/tree-walk.ts'
import { type DroppedFiles, planDropFiles, removeFiles } from './drop-files.ts'
import { noteDropped } from './dropped.ts'
import { gatherObjects } from './gather.ts'
import type { Project } from './project.ts'
import { namesRevisions, type Selection } from './selection.ts'
import { byRemote, nameMissing, refuseMistyped, selectWants, type Wants } from './sync.ts'
import { readTargets } from './target.ts'
import { openWorktree, pageReader, type Worktree } from './worktree.ts'

export interface DropOptions extends Selection {
  paths: readonly RepoPath[]
  remote?: string
  /** the files in the workspace as well */
  workspace?: boolean
  dryRun?: boolean
}

export interface DropResult {
  /** the remotes that were asked */
  remotes: string[]
  /** removed from the cache */
  objects: number
  bytes: number
  /** objects that stay because other paths or versions in the workspace need them */
  shared: number
  /** removed from the workspace */
  files: number
  fileBytes: number
}

/** What drop would remove. Only reads were done to make it, and the remotes were asked for all of it. */
interface DropPlan {
  remotes: string[]
  /** objects of the cache that a remote holds, with their sizes */
  objects: Map<Oid, number>
  shared: number
  files: DroppedFiles[]
}

/** Removes the local copies of paths that their remote holds: the cache's objects, and the workspace's files where asked. Every remote is
 *  asked first, now. The lists of files stay in the cache, so that status and diff still answer.
 *  @throws OBJECT_MISSING when a remote does not hold all; WORK_UNSAVED when a file of the workspace is not what the remote holds, or a link
 *  into the cache would lead nowhere. Nothing is removed then */
export async function drop(project: Project, options: DropOptions): Promise<DropResult> {
  return project.locked(async () => {
    const worktree = openWorktree(project)
    const plan = await planDrop(worktree, options)
    const result: DropResult = {
      remotes: plan.remotes,
      objects: plan.objects.size,
      bytes: [...plan.objects.values()].reduce((sum, size) => sum + size, 0),
      shared: plan.shared,
      files: plan.files.reduce((sum, { files }) => sum + files.length, 0),
      fileBytes: plan.files.reduce((sum, { bytes }) => sum + bytes, 0),
    }
    if (!options.dryRun) await applyDrop(worktree, plan)
    return result
  })
}

async function planDrop(worktree: Worktree, options: DropOptions): Promise<DropPlan> {
  const { project } = worktree
  const { signal } = project.surroundings
  const cache = await project.cache('write')
  const { wants, asked: named } = await selectWants(project, options)
  await refuseMistyped(project, named, false)
  const plan: DropPlan = { remotes: [], objects: new Map(), shared: 0, files: [] }
  for (const [asked, group] of byRemote(wants, options.remote)) {
    const { name, store } = await project.remote(asked, 'read')
    const roots = group.map(({ target, part }) => ({ entry: target.entry, part }))
    const { objects, unreadable } = await gatherObjects(roots, [cache, store], { signal })
    const lost = await findUnheld(store, objects.keys(), signal)
    for (const page of unreadable) lost.add(page.oid)
    if (lost.size > 0) await refuseUnheld(group, lost, { remote: name, stores: [cache, store] })
    if (!namesRevisions(options))
      for (const want of group) plan.files.push(await planDropFiles(worktree, want, { ...options, held: objects, remote: name }))
    for (const { oid, size } of objects.values())
      if (size !== undefined && (isPacked(cache, oid) || cache.loose?.has(oid))) plan.objects.set(oid, size)
    plan.remotes.push(name)
  }
  warnOfLinks(project, cache, plan)
  if (plan.objects.size > 0) await keepShared(project, cache, plan, namesRevisions(options) ? [] : options.paths)
  return plan
}

/** What only a reference stands for takes no space. */
function isPacked(cache: ObjectStore, oid: Oid): boolean {
  const place = cache.locate(oid)
  return place !== undefined && place.type !== 'foreign'
}

/** Links of this worktree were looked for; others cannot be. */
function warnOfLinks(project: Project, cache: ObjectStore, plan: DropPlan): void {
  const mayBeLinked =
    project.config.get('cache.link')?.includes('symlink') && [...plan.objects.keys()].some((oid) => cache.loose?.has(oid))
  if (!mayBeLinked) return
  if (project.config.get('cache.dir') !== undefined || existsSync(join(project.place.commonDir, 'worktrees')))
    project.surroundings.warn('links of other worktrees or clones to what is dropped lead nowhere until "mlv pull" is run there')
}

async function refuseUnheld(wants: Wants[], lost: Set<Oid>, where: { remote: string; stores: ObjectStore[] }): Promise<never> {
  const [first, ...more] = await nameMissing(wants, lost, where.stores)
  const path = first?.path ?? wants[0]!.target.path
  if ([...lost].some((oid) => where.stores.some((store) => store.isPurged(oid))))
    throw new MlvError('OBJECT_PURGED', `${path} holds data that was purged from ${where.remote}, so nothing was dropped`, {
      hint: `Delete it here, too, with "mlv purge", and stop tracking it: "mlv remove ${quotePath(path)}", or a path below it.`,
    })
  const version = first && first.revision !== 'workspace' ? ` of ${first.revision}` : ''
  throw new MlvError(
    'OBJECT_MISSING',
    `${path}${version}${more.length > 0 ? ` (and ${more.length} more)` : ''} is not whole on ${where.remote}, so nothing was dropped`,
    { hint: `Run "mlv push -r ${where.remote} ${quotePath(path)}"${version ? ' --all-commits' : ''}, then the command again.` },
  )
}

/** Takes out of the plan what the workspace's other paths need: a file may lie at two of them. */
async function keepShared(project: Project, cache: ObjectStore, plan: DropPlan, dropped: readonly RepoPath[]): Promise<void> {
  const keep = (path: RepoPath, oid: Oid) => {
    if (!dropped.some((gone) => isWithin(path, gone)) && plan.objects.delete(oid)) plan.shared++
  }
  for (const { path, entry } of await readTargets(project, await project.revision(undefined))) {
    if (dropped.some((gone) => isWithin(path, gone))) continue
    if (entry.kind !== 'tree') {
      keep(path, entry.oid)
      continue
    }
    try {
      for await (const below of walkTree(entry.oid, pageReader(cache), path, entry))
        if (below.entry.kind !== 'tree') keep(below.path as RepoPath, below.entry.oid)
    } catch (error) {
      // Whose list is not here has no data here that anybody could use.
      if (!hasCode(error, 'OBJECT_MISSING', 'OBJECT_CORRUPT', 'OBJECT_PURGED')) throw error
    }
  }
}

/** Files of the workspace go first: links into the cache must not outlive what they lead to. */
async function applyDrop(worktree: Worktree, plan: DropPlan): Promise<void> {
  const { project } = worktree
  try {
    for (const files of plan.files) removeFiles(worktree, files)
  } finally {
    worktree.flush()
  }
  const cache = await project.cache('write')
  noteDropped(project, plan.objects.keys())
  const packed = new Set<Oid>()
  for (const oid of plan.objects.keys()) {
    if (isPacked(cache, oid)) packed.add(oid)
    cache.loose?.remove(oid)
  }
  if (packed.size > 0) await rewritePacks(cache, packed, { signal: project.surroundings.signal })
}
