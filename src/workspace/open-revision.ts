import { lstatSync, readFileSync, realpathSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { parentOf, type RepoPath } from '../base/paths.ts'
import type { Git } from '../git/git.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'

const WORKSPACE = 'workspace'

function toGit(prefix: string, path: string): string {
  return prefix === '' ? path : path === '' ? prefix : `${prefix}/${path}`
}

function fromGit(prefix: string, paths: string[]): RepoPath[] {
  return (prefix === '' ? paths : paths.map((path) => path.slice(prefix.length + 1))) as RepoPath[]
}

/** The files of one commit, for callers that have its id already.
 *  @param prefix the project's folder relative to the work tree's top   @param name what the user called it */
export function commitRevision(git: Git, prefix: string, commit: string, name: string): Revision {
  return {
    name,
    commit,
    read: (path) => git.read(commit, toGit(prefix, path)),
    list: async (folder = '' as RepoPath) => {
      const files = await git.list(commit, toGit(prefix, folder))
      return fromGit(
        prefix,
        files.filter(({ mode }) => mode !== '160000').map(({ path }) => path),
      )
    },
  }
}

/** Answers whether what `path` leads to lies in the project; each folder is looked up once. */
function createInsideCheck(root: string): (path: string, isLink: boolean) => boolean {
  const real = realpathSync(root)
  const folders = new Map<string, boolean>()
  const inside = (target: string) => target === real || target.startsWith(real.endsWith(sep) ? real : real + sep)
  return (path, isLink) => {
    if (isLink) return inside(realpathSync(join(root, path)))
    const folder = parentOf(path)
    if (!folders.has(folder)) folders.set(folder, inside(realpathSync(join(root, folder))))
    return folders.get(folder)!
  }
}

function readWorkspaceFile(root: string, path: RepoPath, isInside: ReturnType<typeof createInsideCheck>): Uint8Array | undefined {
  const full = join(root, path)
  try {
    const stats = lstatSync(full, { throwIfNoEntry: false })
    if (!stats || !(stats.isFile() || stats.isSymbolicLink())) return undefined
    if (!isInside(path, stats.isSymbolicLink()))
      throw new MlvError('PATH_INVALID', `${path} leads out of the project through a symbolic link`, {
        hint: 'Put the file itself into the project.',
      })
    return readFileSync(full)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined
    throw fileError(error, 'reading', full)
  }
}

/** The files as they are now. Needs git only to list them. @throws from read: PATH_INVALID, FILE_UNREADABLE */
export function workspaceRevision(project: Pick<Project, 'root' | 'prefix' | 'git'>): Revision {
  const isInside = createInsideCheck(project.root)
  return {
    name: WORKSPACE,
    commit: undefined,
    read: async (path) => readWorkspaceFile(project.root, path, isInside),
    list: async (folder = '' as RepoPath) => {
      const git = await project.git()
      return fromGit(project.prefix, await git.visible(toGit(project.prefix, folder)))
    },
  }
}

/** What to try when a name leads nowhere. */
async function unknownRevision(git: Git, name: string): Promise<MlvError> {
  const head = await git.resolve('HEAD')
  if (head === undefined && /^(HEAD|@)/.test(name))
    return new MlvError('REVISION_UNKNOWN', `"${name}" leads to no commit: this branch has none yet`, {
      hint: 'Make one with "git commit" first.',
    })
  const remote = (await git.refs('refs/remotes/')).find((ref) => ref.name.split('/').slice(3).join('/') === name)
  const hint = remote
    ? `Did you mean "${remote.name.slice('refs/remotes/'.length)}"?`
    : (await git.isShallow())
      ? 'This clone is shallow: run "git fetch --unshallow", or set "fetch-depth: 0" for actions/checkout in CI.'
      : 'See "git branch -a" and "git tag"; run "git fetch" when only the server has it.'
  return new MlvError('REVISION_UNKNOWN', `git knows no commit "${name}"`, { hint })
}

/** @returns the full id of the commit a name leads to   @throws REVISION_UNKNOWN */
export async function resolveCommit(git: Git, name: string): Promise<string> {
  return (await git.resolve(name)) ?? Promise.reject(await unknownRevision(git, name))
}

/** Opens the workspace (no name, or `workspace`) or the commit that a name leads to. @throws REVISION_UNKNOWN */
export async function openRevision(
  project: Pick<Project, 'root' | 'prefix' | 'git'>,
  name: string | undefined,
): Promise<Revision> {
  if (name === undefined || name === WORKSPACE) return workspaceRevision(project)
  const git = await project.git()
  return commitRevision(git, project.prefix, await resolveCommit(git, name), name)
}

/** Reads `A...B` as git's diff does: from their merge base to B; a side left out is HEAD.
 *  @returns two full commit ids, or undefined when `text` has no `...`   @throws REVISION_UNKNOWN, GIT_SHALLOW */
export async function resolveRange(git: Git, text: string): Promise<[base: string, tip: string] | undefined> {
  const cut = text.indexOf('...')
  if (cut < 0) return undefined
  const [a, b] = [text.slice(0, cut) || 'HEAD', text.slice(cut + 3) || 'HEAD']
  const tip = await resolveCommit(git, b)
  await resolveCommit(git, a)
  const base = await git.mergeBase(a, b)
  if (base !== undefined) return [base, tip]
  throw new MlvError('REVISION_UNKNOWN', `${a} and ${b} have no commit in common`, {
    hint: `Compare them as they are: "${a}" "${b}".`,
  })
}
