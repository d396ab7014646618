import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import type { Git, GitPlace } from './git.ts'
import { createGitProcess, type Environment, findGitProgram, type GitProcess } from './git-process.ts'

/** Everything in one clone from which files can be reached, whatever worktree asks. */
export interface GitRoots {
  /** commits of branches, tags, remote branches and all other refs, by full name */
  refs: { name: string; commit: string }[]
  /** commits of stashes, the first and those below it */
  stashes: string[]
  /** commits that worktrees stand at, or that an unfinished merge, rebase or cherry-pick speaks of */
  heads: string[]
  /** commits that reflogs name; nothing else may reach them */
  reflog: string[]
  /** files of the index of every worktree */
  staged: { path: string; blob: string }[]
  /** tops of work trees that are there, absolute */
  worktrees: string[]
}

/** Files of a worktree's git folder that hold ids of commits. */
const HEAD_FILES = [
  'HEAD',
  'MERGE_HEAD',
  'CHERRY_PICK_HEAD',
  'REVERT_HEAD',
  'REBASE_HEAD',
  'MERGE_AUTOSTASH',
  'rebase-merge/autostash',
  'rebase-apply/autostash',
]

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(systemCode(error) ?? '')) return ''
    throw fileError(error, 'reading', path)
  }
}

function namesIn(folder: string, recursive = false): string[] {
  try {
    return readdirSync(folder, { recursive, encoding: 'utf8' })
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw fileError(error, 'reading', folder)
  }
}

/** @throws GIT_MISSING where git is not on PATH: what cannot be asked cannot be kept */
export function requireGitProcess(place: GitPlace, env: Environment): GitProcess {
  const program = findGitProgram(env)
  if (program !== undefined) return createGitProcess(program, place, env)
  throw new MlvError('GIT_MISSING', 'The git program is not on PATH, and only it knows all stashes, worktrees and staged files', {
    hint: 'Install git, then run the command again.',
  })
}

const lines = (output: Buffer) => output.toString().split('\n').filter(Boolean)

/** Reads all that this clone reaches. @throws GIT_MISSING, GIT_FAILED */
export async function readGitRoots(git: Git, env: Environment): Promise<GitRoots> {
  const { place } = git
  // Indexes of all worktrees lie in the common folder.
  const common: GitPlace = { ...place, gitDir: place.commonDir }
  const own = requireGitProcess(place, env)
  const refs = await git.refs('')
  const linked = namesIn(join(place.commonDir, 'worktrees')).map((name) => join(place.commonDir, 'worktrees', name))
  const gitDirs = [place.commonDir, ...linked]
  const named = gitDirs.flatMap((folder) => [
    ...HEAD_FILES.map((name) => readIfThere(join(folder, name))),
    // Refs of one worktree, which others are not told of.
    ...(folder === place.commonDir
      ? []
      : namesIn(join(folder, 'refs'), true).map((name) => readIfThere(join(folder, 'refs', name)))),
  ])
  const ids = named.flatMap((text) => text.split('\n').filter((line) => /^[0-9a-f]{40,64}$/.test(line)))
  const staged: GitRoots['staged'] = []
  for (const folder of gitDirs) {
    const index = join(folder, 'index')
    if (!existsSync(index)) continue
    const { stdout } = await requireGitProcess(common, { ...env, GIT_INDEX_FILE: index }).run(
      ['ls-files', '-s', '-z', '--full-name', '--', ':/'],
      {
        globs: true,
      },
    )
    for (const line of stdout.toString().split('\0').filter(Boolean)) {
      const [mode, blob] = line.split(' ') as [string, string]
      if (mode !== '160000') staged.push({ path: line.slice(line.indexOf('\t') + 1), blob })
    }
  }
  const stashes = await own.run(['log', '-g', '--format=%H', 'refs/stash', '--'], { accept: [128] })
  const reflog = await own.run(['rev-list', '--no-walk', '--ignore-missing', '--reflog'], { accept: [128, 129] })
  return {
    refs,
    stashes: lines(stashes.stdout),
    heads: [...(await git.commits(ids)).keys()],
    reflog: lines(reflog.stdout),
    staged,
    worktrees: await listWorktrees(own, place),
  }
}

async function listWorktrees(git: GitProcess, place: GitPlace): Promise<string[]> {
  const { stdout } = await git.run(['worktree', 'list', '--porcelain'])
  const listed = lines(stdout).flatMap((line) => (line.startsWith('worktree ') ? [line.slice('worktree '.length)] : []))
  return [...new Set([place.workTree, ...listed])].filter((folder) => existsSync(join(folder, '.git')))
}

/** The branches and tags that the clone's git remotes have now, tags peeled. @throws GIT_FAILED when one does not answer */
export async function askGitRemotes(place: GitPlace, env: Environment): Promise<{ name: string; commit: string }[]> {
  const git = requireGitProcess(place, env)
  const found: { name: string; commit: string }[] = []
  for (const remote of lines((await git.run(['remote'])).stdout)) {
    const { stdout } = await git.run(['ls-remote', '--heads', '--tags', '--', remote])
    const refs = new Map<string, string>()
    for (const line of lines(stdout)) {
      const [commit, name] = line.split('\t') as [string, string]
      // The peeled line of an annotated tag stands behind that of the tag itself.
      refs.set(name.replace(/\^\{\}$/, ''), commit)
    }
    for (const [name, commit] of refs) found.push({ name: `${remote}: ${name}`, commit })
  }
  return found
}
