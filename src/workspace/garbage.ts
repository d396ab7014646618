import { realpathSync } from 'node:fs'
import { fileError, MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import type { Git, GitPlace } from '../git/git.ts'
import { askGitRemotes } from '../git/git-roots.ts'
import { findGit } from '../git/place.ts'
import { type CollectPlan, planCollect } from '../store/collect.ts'
import { applyCollect, type Collected } from '../store/collect-apply.ts'
import { findUnheld } from '../store/held.ts'
import { KEYS } from '../store/layout.ts'
import { deleteLeftovers, findLeftovers, type Leftover } from '../store/leftovers.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { noteDropped } from './dropped.ts'
import { isCacheShared } from './link.ts'
import { findLive, refuseUnknown } from './live-objects.ts'
import type { Project } from './project.ts'
import { describeClone, isCounted, type RegisteredProject, readProjects } from './project-record.ts'
import { type CloneRoots, type KeepRule, readCloneRoots } from './roots.ts'

const DAY = 24 * 3600 * 1000
/** Ms for which what nothing needs stays, and again between the two passes. Others take days to push the commits for data they have pushed; a
 *  cache's writers are on this machine and soon done. */
export const GRACE = { remote: 30 * DAY, cache: DAY } as const

export interface GarbageOptions {
  /** collect a remote, this one or the default; undefined: the cache */
  remote?: { name: string | undefined }
  /** undefined: all history is kept */
  keep?: KeepRule
  /** the cache only: what a remote holds goes, too, but for lists of files */
  notInRemote?: { name: string | undefined }
  /** folders of other clones whose references count, too; absolute */
  projects?: readonly string[]
  /** ms; GRACE when undefined */
  grace?: number
  force?: boolean
}

export interface GarbagePlan {
  /** `cache`, or the remote's name */
  name: string
  store: ObjectStore
  grace: number
  /** what is needed and is there */
  live: { objects: number; bytes: number }
  collect: CollectPlan
  /** all that references need, here or not */
  needed: ReadonlySet<Oid>
  /** objects that are needed and leave the cache because a remote holds them */
  left: Oid[]
  /** versions that commits refer to and that would be gone, newest first */
  lost: CloneRoots['dropped']
  leftovers: Leftover[]
}

/** Decides what a collection of the cache or of a remote deletes. Writes nothing but the store's time mark.
 *  @throws GIT_SHALLOW, CLONE_STALE, PROJECTS_UNCOUNTED, OBJECT_MISSING unless `force`; GIT_MISSING, REMOTE_UNKNOWN, USAGE, and what stores throw */
export async function planGarbage(project: Project, options: GarbageOptions): Promise<GarbagePlan> {
  const isRemote = options.remote !== undefined
  const { name, store } = options.remote
    ? await project.remote(options.remote.name, 'write')
    : { name: 'cache', store: await project.cache('write') }
  const grace = options.grace ?? (isRemote ? GRACE.remote : GRACE.cache)
  const isShared = isRemote || isCacheShared(project)
  if (isShared && grace < (isRemote ? GRACE.remote : GRACE.cache) && !options.force)
    throw new MlvError(
      'USAGE',
      `Others write to this ${isRemote ? 'remote' : 'cache'}: a shorter grace period may delete what they are about to use`,
      {
        hint: 'Give --force as well when nobody else uses it now.',
      },
    )
  const clones = await openClones(project, options.projects ?? [])
  try {
    if (isShared && !options.force) await refuseUncounted(store, clones)
    const all: CloneRoots[] = []
    for (const { git, openGit } of clones) {
      const remoteCommits = isRemote ? await findRemoteCommits(project, git, options.force ?? false) : []
      const source = { git, env: project.surroundings.env, lockOuts: project.lockOuts, openGit, remoteCommits }
      const roots = await readCloneRoots(source, options.keep)
      if (roots.isShallow && !options.force) throw shallow(git)
      all.push(roots)
    }
    const kept = all.flatMap((roots) => roots.kept)
    const guessed = new Set(all.flatMap((roots) => [...roots.guessed]))
    const live = await findLive(project, store, { kept, guessed }, options.projects)
    if (!options.force) refuseUnknown(live)
    const workspace = all.flatMap((roots) => roots.workspace)
    const needed = new Set(live.objects.keys())
    const left = options.notInRemote ? await leaveToRemote(project, options.notInRemote.name, { live, workspace }) : []
    const collect = await planCollect(store, new Set(live.objects.keys()), { grace, signal: project.surroundings.signal })
    const present = [...live.objects.values()].filter(({ oid }) => store.has(oid))
    const lost = all
      .flatMap(({ dropped }) => dropped)
      .filter(({ entry }) => !live.objects.has(entry.oid) && isLeaving(store, collect, entry.oid))
    return {
      name,
      store,
      grace,
      live: {
        objects: present.length,
        bytes: present.reduce((sum, { size }) => sum + (size ?? 0), 0),
      },
      needed,
      left,
      collect,
      lost,
      leftovers: findLeftovers(store.blobs, { now: collect.now, grace, ownMachine: !isShared }),
    }
  } finally {
    for (const { git, isOwn } of clones) if (!isOwn) git.close()
  }
}

/** Whether an object that nothing needs is in what this plan condemns or deletes, rather than young. */
function isLeaving(store: ObjectStore, collect: CollectPlan, oid: Oid): boolean {
  if (collect.condemn.objects.includes(oid) || collect.remove.objects.includes(oid)) return true
  const pack = store.locate(oid)?.pack
  if (pack === undefined) return false
  return (
    collect.condemn.packs.includes(pack) ||
    collect.remove.packs.includes(pack) ||
    collect.rewrite.packs.some((rewritten) => rewritten.oid === pack)
  )
}

export interface GarbageResult extends Collected {
  /** bytes of temporary and corrupt files */
  swept: number
}

/** Carries a plan out. Where no grace period is asked for, both passes are made. */
export async function applyGarbage(project: Project, plan: GarbagePlan, options: GarbageOptions): Promise<GarbageResult> {
  const { signal } = project.surroundings
  if (plan.left.length > 0) noteDropped(project, plan.left)
  const result = { ...(await applyCollect(plan.store, plan.collect, { signal })), swept: deleteLeftovers(plan.leftovers) }
  if (plan.grace > 0 || result.condemned === 0) return result
  const second = await planGarbage(project, options)
  const done = await applyCollect(
    second.store,
    {
      ...second.collect,
      condemn: { packs: [], objects: [], bytes: 0 },
      rewrite: { ...second.collect.rewrite, packs: [], bytes: 0, kept: 0 },
    },
    { signal },
  )
  return { ...result, deleted: result.deleted + done.deleted, condemned: 0 }
}

interface Clone {
  git: Git
  isOwn: boolean
  openGit(place: GitPlace): Promise<Git>
}

async function openClones(project: Project, folders: readonly string[]): Promise<Clone[]> {
  const { openGit } = await import('../git/open-git.ts')
  const open = (place: GitPlace) => openGit(place, project.surroundings.env)
  const clones: Clone[] = [{ git: await project.git(), isOwn: true, openGit: open }]
  for (const folder of folders) {
    let real: string
    try {
      real = realpathSync(folder)
    } catch (error) {
      throw fileError(error, 'reading', folder)
    }
    const place = findGit(real)
    if (!place)
      throw new MlvError('GIT_MISSING', `${folder} is not in a git repository`, {
        hint: 'Give --projects the folders of clones whose data lies here, too.',
      })
    clones.push({ git: await open(place), isOwn: false, openGit: open })
  }
  return clones
}

async function refuseUncounted(store: ObjectStore, clones: readonly Clone[]): Promise<void> {
  const counted = await Promise.all(clones.map(({ git }) => describeClone(git)))
  const others: RegisteredProject[] = (await readProjects(store)).filter((registered) => !isCounted(registered, counted))
  if (others.length === 0) return
  const [first] = others
  throw new MlvError(
    'PROJECTS_UNCOUNTED',
    `Other repositories use ${store.blobs.url}, too: ${others.map(({ place }) => place).join(', ')}`,
    {
      hint: `Count what they refer to with "--projects FOLDER" of an up-to-date clone of each. One that is gone: delete ${KEYS.projects}${first!.name} there.`,
    },
  )
}

/** The commits that git's remotes have. @throws CLONE_STALE when this clone lacks one or a remote does not answer, unless `force` */
async function findRemoteCommits(project: Project, git: Git, force: boolean): Promise<string[]> {
  let refs: Awaited<ReturnType<typeof askGitRemotes>>
  try {
    refs = await askGitRemotes(git.place, project.surroundings.env)
  } catch (error) {
    if (force) return []
    throw new MlvError(
      'CLONE_STALE',
      `A git remote of ${git.place.workTree} does not answer, so whether this clone knows all branches is unknown`,
      {
        hint: 'Run "git fetch --all" to see why, or give --force to go by what this clone has.',
        cause: error,
      },
    )
  }
  const known = await git.commits(refs.map(({ commit }) => commit))
  const missing = refs.find(({ commit }) => !known.has(commit))
  if (missing && !force)
    throw new MlvError('CLONE_STALE', `${git.place.workTree} lacks commits that its git remotes have (${missing.name})`, {
      hint: 'Run "git fetch --all --tags" there first.',
    })
  return [...known.keys()]
}

function shallow(git: Git): MlvError {
  return new MlvError('GIT_SHALLOW', `${git.place.workTree} is a shallow clone: what its cut-off commits need is unknown`, {
    hint: 'Run "git fetch --unshallow" first, or give --force.',
  })
}

/** Takes out of what must stay what a remote holds, as it says now. Lists of files stay: they are small, and every command reads
 *  them. @returns what was taken out */
async function leaveToRemote(
  project: Project,
  name: string | undefined,
  { live, workspace }: { live: Awaited<ReturnType<typeof findLive>>; workspace: CloneRoots['workspace'] },
): Promise<Oid[]> {
  const { store } = await project.remote(name, 'read')
  // A workspace that links to the cache's files would lead nowhere.
  const isLinked = project.config.get('cache.link')?.includes('symlink') ?? false
  const linked = isLinked
    ? (await findLive(project, await project.cache('write'), { kept: workspace, guessed: new Set() })).objects
    : undefined
  const leaving = [...live.objects.values()]
    .filter(({ oid, size }) => size !== undefined && !linked?.has(oid))
    .map(({ oid }) => oid)
  const unheld = await findUnheld(store, leaving, project.surroundings.signal)
  const left = leaving.filter((oid) => !unheld.has(oid))
  for (const oid of left) live.objects.delete(oid)
  return left
}
