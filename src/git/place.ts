import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import type { GitPlace } from './git.ts'

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined
    throw fileError(error, 'reading', path)
  }
}

function kindOf(path: string): 'folder' | 'file' | undefined {
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (!stats) return undefined
    return stats.isDirectory() ? 'folder' : 'file'
  } catch (error) {
    throw fileError(error, 'reading', path)
  }
}

/** Follows the one line of a `.git` file, as worktrees and submodules have it. */
function followGitFile(path: string): string {
  const target = /^gitdir: (.+?)\r?\n?$/s.exec(readIfPresent(path) ?? '')?.[1]
  if (target === undefined)
    throw new MlvError('GIT_FAILED', `${path} is neither a git folder nor a line "gitdir: FOLDER"`, {
      hint: 'Restore it with "git worktree repair", run in the main work tree.',
    })
  const gitDir = resolve(dirname(path), target)
  if (!kindOf(join(gitDir, 'HEAD')))
    throw new MlvError('GIT_FAILED', `${path} leads to ${gitDir}, which is no git folder`, {
      hint: 'If the main work tree was moved, run "git worktree repair" in it.',
    })
  return gitDir
}

/** Finds the work tree that `dir` lies in, by walking up to a `.git` folder or file. Needs no git on PATH.
 *  @returns undefined outside any work tree   @throws GIT_FAILED when a `.git` file leads nowhere */
export function findGit(dir: string): GitPlace | undefined {
  for (let folder = resolve(dir); ; folder = dirname(folder)) {
    const dotGit = join(folder, '.git')
    const kind = kindOf(dotGit)
    // An empty folder named .git is no repository to git either.
    const gitDir = kind === 'file' ? followGitFile(dotGit) : kind && kindOf(join(dotGit, 'HEAD')) ? dotGit : undefined
    if (gitDir !== undefined) {
      const common = readIfPresent(join(gitDir, 'commondir'))?.replace(/\r?\n$/, '')
      return { workTree: folder, gitDir, commonDir: common ? resolve(gitDir, common) : gitDir }
    }
    if (dirname(folder) === folder) return undefined
  }
}
