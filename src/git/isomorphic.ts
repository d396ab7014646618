import * as files from 'node:fs'
import { join } from 'node:path'
import git from 'isomorphic-git'
import { MlvError } from '../base/errors.ts'
import { isWithin } from '../base/paths.ts'
import { parseCommit } from './commit-object.ts'
import type { Commit, CommitChanges, Git, GitPlace, GitRef } from './git.ts'
import { findMergeBase, walkHistory } from './history-walk.ts'
import { createPathFilter } from './pathspec.ts'
import { checkKey, headBranch, readShallow, shallowError } from './plumbing.ts'
import { parseRevisionName } from './revision-name.ts'
import { createTreeReader, parseTree } from './tree-reader.ts'
import { walkVisible } from './visible-walk.ts'
import { createWorktreeFiles } from './worktree-files.ts'

/** The answer, or undefined where isomorphic-git finds nothing. @throws GIT_FAILED for all else it cannot do */
async function orNothing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string }
    if (code === 'NotFoundError' || code === 'ENOENT') return undefined
    throw new MlvError('GIT_FAILED', `This repository cannot be read without git: ${message}`, {
      hint: 'Install git, or put it on PATH.',
      cause: error,
    })
  }
}

function createObjects(place: GitPlace, where: { fs: typeof files; dir: string; gitdir: string; cache: object }) {
  const shallow = readShallow(place)
  const commits = new Map<string, Commit>()

  const object = async (oid: string): Promise<{ type: string; bytes: Uint8Array } | undefined> => {
    const found = await orNothing(git.readObject({ ...where, oid, format: 'content' }))
    return found ? { type: found.type, bytes: found.object as Uint8Array } : undefined
  }
  /** Follows tags to what they lead to. */
  const peel = async (oid: string): Promise<string | undefined> => {
    const found = await object(oid)
    if (found?.type !== 'tag') return found?.type === 'commit' ? oid : undefined
    const target = /^object ([0-9a-f]{40,64})$/m.exec(Buffer.from(found.bytes).toString())?.[1]
    return target === undefined ? undefined : peel(target)
  }
  const maybeCommit = async (id: string): Promise<Commit | undefined> => {
    const known = commits.get(id)
    if (known) return known
    const found = await object(id)
    if (found?.type !== 'commit') return undefined
    const commit = parseCommit(id, found.bytes, shallow.has(id))
    commits.set(id, commit)
    return commit
  }
  const commit = async (id: string): Promise<Commit> => {
    const found = await maybeCommit(id)
    if (found) return found
    throw new MlvError('GIT_FAILED', `Commit ${id} is missing from this repository`, {
      hint: 'Run "git fsck", then fetch again.',
    })
  }
  const trees = createTreeReader(async (oid) => {
    const found = await object(oid)
    const root =
      found?.type === 'commit' ? /^tree ([0-9a-f]{40})$/m.exec(Buffer.from(found.bytes).toString('latin1'))?.[1] : undefined
    const tree = root === undefined ? found : await object(root)
    return tree?.type === 'tree' ? parseTree(tree.bytes) : undefined
  })
  return { object, peel, commit, maybeCommit, ...trees }
}

/** The base of a revision name: a full id, a ref by git's rules, what `git describe` prints, or the start of an id. */
function createNames(place: GitPlace, where: { fs: typeof files; dir: string; gitdir: string; cache: object }) {
  const config = async (key: string) => {
    const value = await orNothing(git.getConfig({ ...where, path: checkKey(key) }))
    return value === undefined || value === null ? undefined : String(value)
  }
  const branch = () => {
    const found = headBranch(files.readFileSync(join(place.gitDir, 'HEAD'), 'utf8'))
    return found === 'elsewhere' ? undefined : found
  }
  const upstreamRef = async (name: string): Promise<string | undefined> => {
    const short = name === 'HEAD' ? branch() : name.replace(/^refs\/heads\//, '')
    const [remote, merge] = [await config(`branch.${short}.remote`), await config(`branch.${short}.merge`)]
    if (!short || !remote || !merge) return undefined
    return remote === '.' ? merge : `refs/remotes/${remote}/${merge.replace(/^refs\/heads\//, '')}`
  }
  const base = async (name: string): Promise<string | undefined> => {
    if (/^[0-9a-f]{40}$/.test(name)) return name
    const ref = await orNothing(git.resolveRef({ ...where, ref: name }))
    if (ref !== undefined) return ref
    const short = /^(?:.*-g)?([0-9a-f]{4,39})$/.exec(name)?.[1]
    return short === undefined ? undefined : orNothing(git.expandOid({ ...where, oid: short }))
  }
  return { config, branch, upstreamRef, base }
}

/** The port without the git program: slower on long histories, and blind to what isomorphic-git does not know
 *  (index versions above 3, SHA-256 repositories, alternates, the user's own git settings). */
export async function openIsomorphicGit(place: GitPlace): Promise<Git> {
  const where = { fs: createWorktreeFiles(place), dir: place.workTree, gitdir: place.gitDir, cache: {} }
  const objects = createObjects(place, where)
  const names = createNames(place, where)

  const resolve = async (revision: string): Promise<string | undefined> => {
    const name = parseRevisionName(revision)
    const ref = name?.upstream ? await names.upstreamRef(name.base) : name?.base
    const start = ref === undefined ? undefined : await names.base(ref)
    let at = start === undefined ? undefined : await objects.peel(start)
    for (const step of name?.steps ?? []) {
      if (step.kind === 'parent') at = at && (await objects.commit(at)).parents[step.count - 1]
      else for (let i = 0; i < step.count && at; i++) at = (await objects.commit(at)).parents[0]
    }
    return at
  }
  const commitId = async (name: string): Promise<string> => {
    const id = /^[0-9a-f]{40}$/.test(name) ? name : await resolve(name)
    if (id !== undefined) return id
    throw new MlvError('REVISION_UNKNOWN', `git knows no commit "${name}"`, { hint: 'See "git branch -a" and "git tag".' })
  }
  const walk = async (from: string[], options: { not?: string[]; limit?: number; firstParent?: boolean }) =>
    walkHistory(objects.commit, await Promise.all(from.map(commitId)), {
      ...options,
      not: await Promise.all((options.not ?? []).map(commitId)),
    })
  const tracked = async (path: string) => ((await orNothing(git.listFiles(where))) ?? []).filter((found) => isWithin(found, path))
  const exists = (path: string) => files.lstatSync(join(place.workTree, path), { throwIfNoEntry: false })
  const blob = async (id: string) => {
    const found = await objects.object(id)
    return found?.type === 'blob' ? found.bytes : undefined
  }
  const blobAt = async (commit: string, path: string) => {
    const entry = await objects.entryAt(commit, path)
    return entry?.type === 'blob' ? entry.oid : undefined
  }

  return {
    place,
    resolve,
    mergeBase: async (a, b) => {
      const base = await findMergeBase(objects.commit, await commitId(a), await commitId(b))
      if (base === undefined && readShallow(place).size > 0) throw shallowError(a, b)
      return base
    },
    read: async (commit, path) => {
      const id = await blobAt(commit, path)
      return id === undefined ? undefined : blob(id)
    },
    readBlobs: async (blobs) => {
      const found = new Map<string, Uint8Array>()
      for (const id of new Set(blobs)) {
        const bytes = await blob(id)
        if (bytes) found.set(id, bytes)
      }
      return found
    },
    blobsAt: async (requests) => {
      const found: (string | undefined)[] = []
      for (const { commit, path } of requests) found.push(await blobAt(commit, path))
      return found
    },
    commits: async (ids) => {
      const found = new Map<string, Commit>()
      for (const id of new Set(ids)) {
        const commit = await objects.maybeCommit(id)
        if (commit) found.set(id, commit)
      }
      return found
    },
    list: async (commit, folder = '') => {
      const entry = folder === '' ? undefined : await objects.entryAt(commit, folder)
      if (folder !== '' && !entry) return []
      if (entry && entry.type !== 'tree') return [{ path: folder, blob: entry.oid, mode: entry.mode.padStart(6, '0') }]
      return objects.filesBelow(entry?.oid ?? commit, folder)
    },
    log: (from, options = {}) => walk(from, options),
    logChanges: async (from, options = {}) => {
      const wanted = createPathFilter(options.paths ?? [])
      const found: CommitChanges[] = []
      for (const commit of await walk(from, options)) {
        const changed = await objects.changes(commit.parents[0], commit.id, '')
        found.push({ ...commit, changed: changed.filter(({ path }) => wanted(path)) })
      }
      return found
    },
    refs: async (prefix = '') => {
      const found: GitRef[] = []
      // Packed refs are listed with their peeled forms, `NAME^{}`.
      const listed = (await git.listRefs({ ...where, filepath: 'refs' })).filter((short) => !short.endsWith('^{}'))
      for (const short of new Set(listed)) {
        const name = `refs/${short}`
        const id = name.startsWith(prefix) ? await names.base(name) : undefined
        const commit = id === undefined ? undefined : await objects.peel(id)
        if (commit !== undefined) found.push({ name, commit })
      }
      return found
    },
    branch: async () => names.branch(),
    isShallow: async () => readShallow(place).size > 0,
    config: names.config,
    tracked,
    visible: async (path) => {
      const present = (await tracked(path)).filter((found) => exists(found) && !exists(found)!.isDirectory())
      return [...new Set([...present, ...walkVisible(place, path)])]
    },
    untrack: async (paths) => {
      for (const path of paths) for (const found of await tracked(path)) await git.remove({ ...where, filepath: found })
    },
    stage: async (paths) => {
      for (const path of paths) {
        const known = await tracked(path)
        for (const found of known) if (!exists(found)) await git.remove({ ...where, filepath: found })
        if (!exists(path)) {
          if (known.length > 0) continue
          throw new MlvError('GIT_FAILED', `git add: ${path} is neither there nor tracked`, { hint: 'Check the path with "ls".' })
        }
        if (known.length === 0 && (await git.isIgnored({ ...where, filepath: path })))
          throw new MlvError('GIT_FAILED', `git add: ${path} is ignored by a .gitignore file`, {
            hint: `See which line with "git check-ignore -v ${path}".`,
          })
        await orNothing(git.add({ ...where, filepath: path }))
      }
    },
    close: () => {},
  }
}
