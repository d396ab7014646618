import { hasCode, MlvError } from '../base/errors.ts'
import { faultPoint } from '../base/fault-point.ts'
import type { GitPlace } from './git.ts'
import type { Environment, GitProcess } from './git-process.ts'
import { requireGitProcess } from './git-roots.ts'
import { writeTreeWith } from './tree-writer.ts'

/** A branch as this clone and, as far as it was fetched, a git remote have it. */
export interface BranchTip {
  /** commit of the branch here, undefined when there is none */
  own: string | undefined
  /** commit that the git remote has */
  remote: string | undefined
}

/** Commits files onto branches that nobody has checked out, without touching work tree or index. */
export interface BranchWriter {
  tip(branch: string): Promise<BranchTip>
  /** Gets what the git remote has of a branch. @returns whether it has one   @throws REMOTE_FAILED */
  fetch(branch: string): Promise<boolean>
  isAncestor(a: string, b: string): Promise<boolean>
  /** paths, from the top, that differ between two commits */
  changed(a: string, b: string): Promise<string[]>
  /** Makes a commit of `base`'s files with some of them replaced, and moves the branch from `was` to it.
   *  @param request.files text by path from the top   @returns its id   @throws BRANCH_MOVED, GIT_FAILED */
  commit(request: CommitRequest): Promise<string>
  /** @throws BRANCH_MOVED when it no longer stands there */
  remove(branch: string, was: string): Promise<void>
  /** Sends a branch to the git remote, which takes it only on top of what it has. @throws REMOTE_FAILED */
  push(branch: string): Promise<void>
}

export interface CommitRequest {
  branch: string
  /** what the branch is taken to stand at; undefined: it is not there yet */
  was: string | undefined
  base: string
  parents: readonly string[]
  files: ReadonlyMap<string, string>
  message: string
}

/** @throws USAGE for a name that git does not take for a branch */
async function checkBranch(git: GitProcess, branch: string): Promise<void> {
  const { exitCode } = await git.run(['check-ref-format', `refs/heads/${branch}`], { accept: [1] })
  if (exitCode !== 0 || branch.startsWith('-') || branch === 'HEAD')
    throw new MlvError('USAGE', `"${branch}" is no name for a branch`, { hint: 'For example --branch data/update.' })
}

/** @throws BRANCH_IN_USE where a work tree stands on it: its files would no longer be those of its branch */
async function refuseCheckedOut(git: GitProcess, branch: string): Promise<void> {
  const { stdout } = await git.run(['for-each-ref', '--format=%(refname)%00%(worktreepath)', '--', `refs/heads/${branch}`])
  for (const line of stdout.toString().split('\n')) {
    const [name, worktree] = line.split('\0')
    if (name === `refs/heads/${branch}` && worktree)
      throw new MlvError('BRANCH_IN_USE', `The branch ${branch} is checked out in ${worktree}`, {
        hint: 'Run "mlv update" there and commit, or name another branch with --branch.',
      })
  }
}

function noIdentity(error: unknown): unknown {
  if (!hasCode(error, 'GIT_FAILED') || !/ident|tell me who you are|email|user\.name/i.test(error.message)) return error
  return new MlvError('GIT_FAILED', 'git does not know in whose name to commit', {
    hint: 'Run "git config user.name NAME" and "git config user.email ADDRESS".',
    cause: error,
  })
}

/** @param remote git's remote, such as origin   @throws GIT_MISSING, USAGE, BRANCH_IN_USE */
export async function openBranchWriter(
  place: GitPlace,
  env: Environment,
  { branch, remote }: { branch: string; remote: string },
): Promise<BranchWriter> {
  const git = requireGitProcess(place, env)
  await checkBranch(git, branch)
  await refuseCheckedOut(git, branch)
  const word = async (...args: string[]) => {
    const { exitCode, stdout } = await git.run(args, { accept: [1, 128] })
    return exitCode === 0 ? stdout.toString().trim() : undefined
  }
  const commitOf = (ref: string) => word('rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`)
  const tracking = (name: string) => `refs/remotes/${remote}/${name}`

  /** @param was where it stands now; '' when it is not there */
  async function updateRef(name: string, change: string[], was: string): Promise<void> {
    faultPoint('git: move branch')
    try {
      await git.run(['update-ref', '-m', 'mlv trigger', ...change, was])
    } catch (error) {
      if (hasCode(error, 'GIT_FAILED') && /exists; cannot create/.test(error.message))
        throw new MlvError('BRANCH_IN_USE', `There can be no branch ${name} beside those there are`, {
          hint: 'Name another branch with --branch: git keeps no branch below the name of one.',
          cause: error,
        })
      if (!hasCode(error, 'GIT_FAILED') || ((await commitOf(`refs/heads/${name}`)) ?? '') === was) throw error
      throw new MlvError('BRANCH_MOVED', `The branch ${name} moved meanwhile`, { hint: 'Run the command again.', cause: error })
    }
  }

  return {
    tip: async (name) => ({ own: await commitOf(`refs/heads/${name}`), remote: await commitOf(tracking(name)) }),
    async fetch(name) {
      try {
        // A pattern, because a branch that is not there yet is no failure; what has gone there goes here, too.
        await git.run([
          'fetch',
          '-q',
          '--no-tags',
          '--prune',
          '--end-of-options',
          remote,
          `+refs/heads/${name}*:${tracking(name)}*`,
        ])
      } catch (error) {
        throw remoteFailure(error, remote, `Check it with "git ls-remote ${remote}".`)
      }
      return (await commitOf(tracking(name))) !== undefined
    },
    isAncestor: async (a, b) => (await git.run(['merge-base', '--is-ancestor', a, b], { accept: [1] })).exitCode === 0,
    async changed(a, b) {
      const { stdout } = await git.run(['diff-tree', '-r', '-z', '--name-only', '--no-renames', a, b])
      return stdout.toString().split('\0').filter(Boolean)
    },
    async commit({ branch: name, was, base, parents, files, message }) {
      const tree = await writeTreeWith(git, base, files)
      const above = parents.flatMap((parent) => ['-p', parent])
      faultPoint('git: write object')
      const made = await git
        .run(['commit-tree', tree, ...above], { input: message })
        .catch((error) => Promise.reject(noIdentity(error)))
      const id = made.stdout.toString().trim()
      await updateRef(name, [`refs/heads/${name}`, id], was ?? '')
      return id
    },
    remove: (name, was) => updateRef(name, ['-d', `refs/heads/${name}`], was),
    async push(name) {
      faultPoint('git: push')
      try {
        await git.run(['push', '-q', '--end-of-options', remote, `refs/heads/${name}:refs/heads/${name}`])
      } catch (error) {
        throw remoteFailure(error, remote, 'Its data is pushed already: run the command again.')
      }
    },
  }
}

function remoteFailure(error: unknown, remote: string, hint: string): unknown {
  if (!hasCode(error, 'GIT_FAILED')) return error
  return new MlvError('REMOTE_FAILED', `The git remote ${remote}: ${error.message}`, { hint, cause: error })
}
