import { createHash } from 'node:crypto'
import { lstatSync, statSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { createTurn } from '../base/concurrency.ts'
import { fileError, hasCode, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { createRate, type Rate } from '../base/rate.ts'
import type { Git, GitPlace } from '../git/git.ts'
import { findGit } from '../git/place.ts'
import type { ForeignPlace } from '../store/foreign.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Purpose } from '../store/open-store.ts'
import type { Config, RemoteConfig } from './config.ts'
import { openConfig } from './open-config.ts'
import type { Project, Surroundings } from './project.ts'
import { takeLock } from './take-lock.ts'

/** Objects of this many bytes and more lie whole in a cache that can link them into the workspace; from 1 MiB where they must be copied. */
const LOOSE_FROM_WHEN_LINKED = 64 << 10

/** Where a project lies. */
export interface ProjectPlace {
  root: string
  place: GitPlace
  prefix: string
  homeDir: string
  stateDir: string
  /** nothing of git is there */
  isGitless?: true
}

/** @returns the git work tree around `cwd`   @throws GIT_MISSING outside any */
export function requireGit(cwd: string): GitPlace {
  const place = findGit(cwd)
  if (place) return place
  throw new MlvError('GIT_MISSING', `${cwd} is not in a git repository`, {
    hint: 'Run "git init" first: mlv keeps its pointers in git.',
  })
}

/** Whether a folder holds .mlv/config. A link could lead the writing of settings out of the repository. @throws CONFIG_INVALID when .mlv is one, FILE_UNREADABLE */
function isRoot(folder: string): boolean {
  const home = lstatSync(join(folder, '.mlv'), { throwIfNoEntry: false })
  if (home?.isSymbolicLink())
    throw new MlvError('CONFIG_INVALID', `${join(folder, '.mlv')} is a symbolic link, which mlv does not follow`, {
      hint: 'Put a folder in its place, then run "mlv init".',
    })
  const config = join(folder, '.mlv', 'config')
  try {
    return home?.isDirectory() === true && statSync(config, { throwIfNoEntry: false })?.isFile() === true
  } catch (error) {
    throw fileError(error, 'reading', config)
  }
}

/** @returns the nearest folder with .mlv/config between `cwd` and the top of its work tree, or undefined   @throws CONFIG_INVALID */
export function findRoot(cwd: string, workTree: string): string | undefined {
  for (let folder = cwd; ; folder = dirname(folder)) {
    if (isRoot(folder)) return folder
    if (folder === workTree || dirname(folder) === folder) return undefined
  }
}

/** Stable for a worktree and a project in it, also when the repository moves. */
function worktreeId(place: GitPlace, prefix: string): string {
  const worktree = relative(place.commonDir, place.gitDir)
  if (worktree === '' && prefix === '') return 'main'
  return createHash('sha256').update(`${worktree}\0${prefix}`).digest('hex').slice(0, 16)
}

/** Where a project at `root` keeps what git does not see. */
export function placeProject(root: string, place: GitPlace): ProjectPlace {
  const prefix = relative(place.workTree, root).split(sep).join('/')
  const homeDir = join(place.commonDir, 'mlv')
  return { root, place, prefix, homeDir, stateDir: join(homeDir, 'state', worktreeId(place, prefix)) }
}

/** Runs once, on first use; a failure is not kept. */
function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opened: Promise<T> | undefined
  return () => {
    opened ??= open().catch((error: unknown) => {
      opened = undefined
      throw error
    })
    return opened
  }
}

/** Says whose lock the work under way holds. One for all projects: each more would cost every promise of a program that opens many. */
const lockScope = once(async () => new (await import('node:async_hooks')).AsyncLocalStorage<ReadonlySet<Project>>())

/** Finds the project around the current folder and reads its settings; stores and git are opened on first use.
 *  @throws GIT_MISSING, PROJECT_MISSING, YAML_INVALID, CONFIG_INVALID, SECRET_REFUSED */
export async function openProject(surroundings: Surroundings, lockOuts?: Project['lockOuts']): Promise<Project> {
  const { cwd } = surroundings
  const git = requireGit(cwd)
  const root = findRoot(cwd, git.workTree)
  if (root === undefined)
    throw new MlvError('PROJECT_MISSING', `There is no mlv project in ${cwd} or above it`, {
      hint: `Run "mlv init" at the top of the repository, ${git.workTree}.`,
    })
  return openProjectAt(placeProject(root, git), surroundings, lockOuts)
}

/** Opens a project whose place is known. @throws YAML_INVALID, CONFIG_INVALID, SECRET_REFUSED */
export async function openProjectAt(
  where: ProjectPlace,
  surroundings: Surroundings,
  lockOuts: Project['lockOuts'],
): Promise<Project> {
  const { env, warn } = surroundings
  const { root, homeDir, place } = where
  const config = await openConfig({ root, workTree: place.workTree, homeDir, env, warn: saidOnce(warn) })
  return createProject(where, config, surroundings, lockOuts)
}

/** Says each line once. */
function saidOnce(warn: (line: string) => void): (line: string) => void {
  const said = new Set<string>()
  return (line) => {
    if (!said.has(line)) warn(line)
    said.add(line)
  }
}

function remoteOf(config: Config, asked: string | undefined): string {
  const names = config.remotes()
  const name = asked ?? config.get('core.remote') ?? (names.length === 1 ? names[0] : undefined)
  if (names.length === 0 && (name === undefined || asked === undefined))
    throw new MlvError('REMOTE_MISSING', 'No remote is configured', {
      hint: 'Run "mlv remote add origin URL", with a folder or s3://BUCKET/PREFIX as URL.',
    })
  if (name === undefined)
    throw new MlvError('REMOTE_MISSING', 'No default remote is set', {
      hint: `Run "mlv remote default NAME" with one of: ${names.join(', ')}.`,
    })
  if (config.remote(name) === undefined)
    throw new MlvError('REMOTE_UNKNOWN', `There is no remote "${name}"`, {
      hint: names.length > 0 ? `Remotes are: ${names.join(', ')}.` : `Run "mlv remote add ${name} URL".`,
    })
  return name
}

/** The AWS SDK's own chain finds keys that stand in a config file where it finds those of the environment. */
export function withCredentials(env: Surroundings['env'], settings: Partial<RemoteConfig>): Surroundings['env'] {
  if (settings.access_key_id === undefined || settings.secret_access_key === undefined) return env
  return {
    ...env,
    AWS_PROFILE: undefined,
    AWS_ACCESS_KEY_ID: settings.access_key_id,
    AWS_SECRET_ACCESS_KEY: settings.secret_access_key,
    AWS_SESSION_TOKEN: settings.session_token,
  }
}

/** Opens a project whose place and settings are known. */
export function createProject(
  where: ProjectPlace,
  config: Config,
  surroundings: Surroundings,
  lockOuts: Project['lockOuts'],
): Project {
  const { root, prefix, homeDir, stateDir, place } = where
  const { env } = surroundings
  const closers: (() => void | Promise<void>)[] = []
  const written: ObjectStore[] = []
  const remotes = new Map<string, () => Promise<{ name: string; store: ObjectStore }>>()

  const git = once(async (): Promise<Git> => {
    if (where.isGitless)
      throw new MlvError('GIT_MISSING', `${root} is in no git repository`, { hint: 'Run this in the project instead.' })
    const { openGit } = await import('../git/open-git.ts')
    const opened = await openGit(place, env)
    closers.push(() => opened.close())
    return opened
  })

  const foreignReader = once(async () => {
    const { createForeignReader } = await import('./foreign-reader.ts')
    const reader = createForeignReader(project)
    closers.push(() => reader.close())
    return reader
  })
  async function* foreign(at: ForeignPlace, signal?: AbortSignal): AsyncGenerator<Buffer> {
    yield* (await foreignReader())(at, signal)
  }

  const caches = new Map<string, () => Promise<ObjectStore>>()
  const openCache = (purpose: Purpose) =>
    once(async () => {
      const [{ createDirBlobs }, { openStore }, { cacheFolder, chosenLinks, isCacheShared }] = await Promise.all([
        import('../transport/dir-blobs.ts'),
        import('../store/open-store.ts'),
        import('./link.ts'),
      ])
      const blobs = createDirBlobs({ root: cacheFolder(project), trustOids: true })
      // Whole files pay off where they can be linked into the workspace instead of copied.
      const links = config.get('cache.link') ?? (purpose === 'write' || purpose === 'repair' ? chosenLinks(project) : ['copy'])
      const looseFrom = links.some((type) => type !== 'copy') ? LOOSE_FROM_WHEN_LINKED : undefined
      const stateDir = join(homeDir, 'state', 'cache')
      const store = await openStore(blobs, { role: 'cache', purpose, stateDir, looseFrom, foreign })
      if (purpose === 'write') written.push(store)
      closers.push(() => store.close())
      if (purpose === 'write' && isCacheShared(project) && !where.isGitless) await register(store)
      return store
    })

  /** Other clones that collect this cache must know of this one. */
  async function register(store: ObjectStore): Promise<void> {
    const { registerClone } = await import('./project-record.ts')
    try {
      await registerClone(store, await git())
    } catch (error) {
      // Who may only read a cache keeps nothing in it.
      if (!hasCode(error, 'FILE_UNWRITABLE')) throw error
    }
  }

  const rates = new Map<number, Rate>()
  function rateOf(limit: number | undefined): Rate | undefined {
    if (limit === undefined) return undefined
    const rate = rates.get(limit) ?? createRate(limit)
    rates.set(limit, rate)
    return rate
  }

  const openRemote = (name: string, purpose: Purpose, rate: Rate | undefined) =>
    once(async () => {
      const [{ openBlobs }, { openStore }] = await Promise.all([
        import('../transport/open-blobs.ts'),
        import('../store/open-store.ts'),
      ])
      const settings = config.remote(name)!
      const { warn, signal } = surroundings
      const blobs = await openBlobs(settings, { root, env: withCredentials(env, settings), rate, warn, signal })
      const store = await openStore(blobs, { role: 'remote', purpose, stateDir: join(homeDir, 'state', 'remotes'), foreign })
      if (purpose === 'write') written.push(store)
      closers.push(() => store.close())
      return { name, store }
    })

  const turn = createTurn()

  const project: Project = {
    root,
    place,
    prefix,
    config,
    surroundings,
    stateDir,
    homeDir,
    lockOuts,
    git,
    cache: (purpose = 'write') => {
      if (!caches.has(purpose)) caches.set(purpose, openCache(purpose))
      return caches.get(purpose)!()
    },
    remote: async (asked, purpose = 'read', limitRate = config.get('core.limit_rate')) => {
      const name = remoteOf(config, asked)
      const key = `${purpose} ${name}`
      if (!remotes.has(key)) remotes.set(key, openRemote(name, purpose, rateOf(limitRate)))
      return remotes.get(key)!()
    },
    revision: async (name) => {
      const { openRevision } = await import('./open-revision.ts')
      return openRevision(project, name)
    },
    gitPath: (path: RepoPath) => (prefix === '' ? path : path === '' ? prefix : `${prefix}/${path}`),
    locked: async (work) => {
      const scope = await lockScope()
      const held = scope.getStore()
      // Work that already holds the lock may call work that takes it.
      if (held?.has(project)) return work()
      return turn(async () => {
        const seconds = surroundings.lockTimeout ?? config.get('core.lock_timeout')
        const release = await takeLock(join(homeDir, 'lock'), seconds, surroundings)
        try {
          return await scope.run(new Set([...(held ?? []), project]), work)
        } finally {
          release()
        }
      })
    },
    mergeIndexes: async () => {
      try {
        for (const store of written) await store.mergeIndexes(surroundings.signal)
      } catch (error) {
        // The command did what it was asked for; the next one that writes tries again.
        if (!(error instanceof MlvError)) throw error
      }
    },
    close: async () => {
      for (const close of closers.splice(0).reverse()) await close()
    },
  }
  return project
}
