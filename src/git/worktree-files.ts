import * as files from 'node:fs'
import { join, relative, sep } from 'node:path'
import type { GitPlace } from './git.ts'

/** What of a git folder all worktrees share (gitrepository-layout(5), "commondir"). */
const SHARED = new Set(['objects', 'refs', 'packed-refs', 'shallow', 'info', 'config', 'hooks', 'remotes', 'branches'])
const CALLS = [
  'readFile',
  'writeFile',
  'mkdir',
  'rmdir',
  'unlink',
  'stat',
  'lstat',
  'readdir',
  'readlink',
  'rm',
  'chmod',
] as const

/** The file system as isomorphic-git should see it: it knows one git folder, and a linked worktree has two,
 *  so paths of the shared part are led to the common one. */
export function createWorktreeFiles(place: GitPlace): typeof files {
  const lead = (path: string) => {
    const inside = relative(place.gitDir, path)
    return SHARED.has(inside.split(sep)[0]!) ? join(place.commonDir, inside) : path
  }
  // Asynchronous even in failing: isomorphic-git tells promises from callbacks by a call without arguments.
  type Call = (path: string, ...rest: unknown[]) => Promise<unknown>
  const led = CALLS.map((name): [string, Call] => [
    name,
    async (path, ...rest) => (files.promises[name] as Call)(lead(path), ...rest),
  ])
  const symlink = async (target: string, path: string) => files.promises.symlink(target, lead(path))
  return { promises: { ...Object.fromEntries(led), symlink } } as unknown as typeof files
}
