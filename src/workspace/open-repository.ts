import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { parseRepoPath, type RepoPath, upwards } from '../base/paths.ts'
import type { Git, GitPlace } from '../git/git.ts'
import { barePlace, fetchMirror, foreignEnvironment, isBareRepository, SOURCE_HEAD } from '../git/mirror.ts'
import { findGit } from '../git/place.ts'
import { isRepositoryUrl, parseRepository } from '../git/repository-name.ts'
import { openProject, openProjectAt } from './open-project.ts'
import { resolveCommit } from './open-revision.ts'
import type { Project, Surroundings } from './project.ts'
import type { Revision } from './revision.ts'
import { takeLock } from './take-lock.ts'

/** A commit of another repository's project, to read from. */
export interface Repository {
  project: Project
  revision: Revision & { commit: string }
  /** what was asked for, relative to its project's root */
  path: RepoPath
  /** the repository as messages call it */
  name: string
  close(): Promise<void>
}

export interface RepositoryRequest {
  /** a folder or a url */
  repo: string
  /** below the top of the repository, or below the folder that `repo` names; '' for all of it */
  path: string
  /** a branch, tag or commit; its HEAD when not given */
  revision: string | undefined
  /** absolute; relative folders start there */
  from: string
  /** the work tree that asks, if any */
  workTree?: string
  lockOuts: Project['lockOuts']
  /** urls whose history was fetched already by this command */
  fetched?: Set<string>
}

function isFolder(path: string): boolean {
  // The dot makes it fail for a file, and join() would drop it.
  return existsSync(`${path}/.`)
}

/** Whether what a user typed is another repository than the one at `workTree`: a url, or a folder in another work tree or without one. */
export function isRepository(text: string, from: string, workTree: string | undefined): boolean {
  if (isRepositoryUrl(text)) return true
  const folder = resolve(from, text)
  if (!isFolder(folder)) return false
  const around = findGit(folder)?.workTree
  return (around !== undefined && around !== workTree) || isBareRepository(folder)
}

function isInside(folder: string, around: string): boolean {
  const inside = relative(around, folder)
  return inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside)
}

function notThere(repo: string): MlvError {
  return new MlvError('PATH_MISSING', `There is no git repository at ${repo}`, {
    hint: 'Check the path; if it has moved, import the data again from its new place.',
  })
}

/** Where copies of other repositories' history lie: derived, shared by all projects of the user, may be deleted at any time. */
function mirrorFolder(url: string, env: Surroundings['env']): string {
  const home = env.HOME ?? env.USERPROFILE
  const caches = env.XDG_CACHE_HOME || (home ? join(home, '.cache') : undefined)
  if (caches === undefined)
    throw new MlvError('FILE_UNWRITABLE', 'There is no folder for caches, because HOME is not set', {
      hint: 'Set HOME or XDG_CACHE_HOME.',
    })
  return join(caches, 'mlv', 'sources', createHash('sha256').update(url).digest('hex').slice(0, 32))
}

const FULL_COMMIT = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/

/** Fetches unless a full commit id is asked for that is here. */
async function openMirror(url: string, request: RepositoryRequest, surroundings: Surroundings): Promise<Git> {
  const { revision, fetched } = request
  const { openGit } = await import('../git/open-git.ts')
  const folder = mirrorFolder(url, surroundings.env)
  const env = foreignEnvironment(surroundings.env)
  const isWhole = revision !== undefined && FULL_COMMIT.test(revision)
  if ((isWhole || fetched?.has(url)) && isBareRepository(folder)) {
    const git = await openGit(barePlace(folder), env)
    if (!isWhole || (await git.resolve(revision)) !== undefined) return git
    git.close()
  }
  const release = await takeLock(`${folder}.lock`, surroundings.lockTimeout ?? 600, surroundings)
  try {
    const place = await fetchMirror(url, folder, surroundings.env)
    fetched?.add(url)
    return await openGit(place, env)
  } finally {
    release()
  }
}

function notProject(name: string, revision: string): MlvError {
  return new MlvError('PROJECT_MISSING', `${name} is no mlv project at ${revision}: it has no .mlv/config`, {
    hint: 'Run "mlv init" there and commit, or name a revision that has it with --rev.',
  })
}

/** @returns the folder of the project that holds `path`: the nearest one with .mlv/config in the commit */
async function findPrefix(
  git: Git,
  commit: string,
  path: RepoPath,
): Promise<{ prefix: RepoPath; config: Uint8Array } | undefined> {
  for (const at of [...upwards(path), '' as RepoPath]) {
    const config = await git.read(commit, at === '' ? '.mlv/config' : `${at}/.mlv/config`)
    if (config) return { prefix: at, config }
  }
  return undefined
}

function parsePath(path: string): RepoPath {
  return path === '' || path === '.' ? ('' as RepoPath) : parseRepoPath(path, 'the path in the repository')
}

/** A repository that was fetched has the remotes of its committed settings and of the user's own. */
function noRemote(repo: string): MlvError {
  return new MlvError('REMOTE_MISSING', `${repo} names no remote that counts here`, {
    hint: 'Commit one there with "mlv remote add NAME URL"; a folder is named for all your projects with "mlv remote add NAME FOLDER --user".',
  })
}

function noRemoteThere(repo: string): MlvError {
  return new MlvError('REMOTE_MISSING', `The data is not in the cache of ${repo}, and no remote is configured there`, {
    hint: `Run "mlv add --force" there, where the files are, or "mlv remote add origin URL" and "mlv pull".`,
  })
}

/** Opens a project's remotes, and says of another repository what is missing there. */
function refusingIn(project: Project, missing: MlvError): Project['remote'] {
  return (...asked) =>
    project.remote(...asked).catch((error) => Promise.reject(hasCode(error, 'REMOTE_MISSING') ? missing : error))
}

/** @throws REVISION_UNKNOWN that names the repository */
function findCommit(git: Git, asked: string, { repo, revision }: RepositoryRequest): Promise<string> {
  return resolveCommit(git, asked).catch((error) => {
    if (!hasCode(error, 'REVISION_UNKNOWN')) throw error
    throw new MlvError('REVISION_UNKNOWN', `${repo} has no commit "${revision ?? 'HEAD'}"`, {
      hint: 'Name a branch, tag or commit that it has with --rev.',
      cause: error,
    })
  })
}

/** The project of a repository without a work tree: its settings are those of the commit. */
async function openBare(git: Git, place: GitPlace, request: RepositoryRequest, surroundings: Surroundings): Promise<Repository> {
  const { repo } = request
  const path = parsePath(request.path)
  const isMirror = isRepositoryUrl(repo)
  const asked = request.revision ?? (isMirror ? SOURCE_HEAD : 'HEAD')
  const commit = await findCommit(git, asked, request)
  const name = request.revision ?? 'HEAD'
  const found = await findPrefix(git, commit, path)
  if (!found) throw notProject(repo, name)
  // Nothing is written into a repository that is not ours.
  const homeDir = join(isMirror ? place.commonDir : mirrorFolder(place.commonDir, surroundings.env), 'mlv')
  // A folder of its own for each commit's settings, which nothing changes later.
  const root = join(homeDir, 'at', commit, found.prefix)
  writeFileAtomic(join(root, '.mlv', 'config'), found.config, { flush: false })
  const stateDir = join(homeDir, 'state', 'main')
  const where = { root, place, prefix: found.prefix, homeDir, stateDir }
  const env = { ...foreignEnvironment(surroundings.env), MLV_REMOTE: undefined }
  const project = await openProjectAt(where, { ...surroundings, cwd: root, env }, request.lockOuts)
  const revision = await project.revision(commit)
  const inside = (found.prefix === '' ? path : path.slice(found.prefix.length + 1)) as RepoPath
  return {
    project: { ...project, remote: refusingIn(project, noRemote(repo)) },
    revision: { ...revision, name, commit },
    path: inside,
    name: repo,
    close: async () => {
      await project.close()
      git.close()
    },
  }
}

/** The project in a folder with a work tree: its own settings and its cache serve, too. */
async function openFolder(folder: string, request: RepositoryRequest, surroundings: Surroundings): Promise<Repository> {
  const path = parsePath(request.path)
  const env = { ...foreignEnvironment(surroundings.env), MLV_REMOTE: undefined }
  // The project may lie below the top of the repository, on the way to the path.
  for (const below of [...upwards(path), '']) {
    const cwd = join(folder, below)
    if (!isFolder(cwd)) continue
    let project: Project
    try {
      project = await openProject({ ...surroundings, cwd, env }, request.lockOuts)
    } catch (error) {
      if (hasCode(error, 'PROJECT_MISSING') && below !== '') continue
      throw hasCode(error, 'PROJECT_MISSING') ? notProject(request.repo, request.revision ?? 'HEAD') : error
    }
    const git = await project.git()
    const commit = await findCommit(git, request.revision ?? 'HEAD', request)
    const revision = await project.revision(commit)
    const full = parsePath(relative(project.root, join(folder, path)).split(sep).join('/'))
    const name = request.revision ?? 'HEAD'
    return {
      project: { ...project, remote: refusingIn(project, noRemoteThere(request.repo)) },
      revision: { ...revision, name, commit },
      path: full,
      name: request.repo,
      close: () => project.close(),
    }
  }
  throw notProject(request.repo, request.revision ?? 'HEAD')
}

/** Opens another repository at a commit: a folder as it is, a url by fetching its history (not its data).
 *  @throws PATH_INVALID, SECRET_REFUSED for what mlv does not read; PATH_MISSING, PROJECT_MISSING, REVISION_UNKNOWN, REMOTE_FAILED, GIT_MISSING */
export async function openRepository(request: RepositoryRequest, surroundings: Surroundings): Promise<Repository> {
  const place = parseRepository(request.repo, request.from)
  // A clone may bring such a folder along, with settings that name commands.
  if (
    place.folder !== undefined &&
    request.workTree !== undefined &&
    isInside(place.folder, request.workTree) &&
    isBareRepository(place.folder)
  )
    throw new MlvError('PATH_INVALID', `${request.repo} is a bare repository inside this one`, {
      hint: 'Move it out of the work tree, or import from where it was cloned from.',
    })
  if (place.kind === 'url') {
    const git = await openMirror(place.url, request, surroundings)
    return openBare(git, git.place, request, surroundings)
  }
  if (!isFolder(place.folder)) throw notThere(request.repo)
  if (isBareRepository(place.folder) && !existsSync(join(place.folder, '.git'))) {
    const { openGit } = await import('../git/open-git.ts')
    const git = await openGit(barePlace(place.folder), foreignEnvironment(surroundings.env))
    return openBare(git, barePlace(place.folder), request, surroundings)
  }
  try {
    return await openFolder(place.folder, request, surroundings)
  } catch (error) {
    if (hasCode(error, 'GIT_MISSING')) throw notThere(request.repo)
    throw error
  }
}
