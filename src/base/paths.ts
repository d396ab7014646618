import { isAbsolute, relative, resolve, sep } from 'node:path'
import { MlvError } from './errors.ts'

/** A path relative to the project's root: POSIX separators, no `.` or `..`, no leading slash. The root itself is ''. */
export type RepoPath = string & { readonly __brand: 'RepoPath' }

/** Compares by UTF-8 bytes. JavaScript's own order is by UTF-16 units and differs above U+FFFF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x === y) continue
    // Surrogates sort above every other unit in UTF-8, below U+E000..U+FFFF in UTF-16.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000
    }
    return x - y
  }
  return a.length - b.length
}

/** HFS+ ignores these code points in names, so `.g\u200cit` is `.git` there. */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g

/** A name as systems take it that are not exact about names: NTFS drops trailing dots and spaces, and takes `:stream` suffixes. */
function bareName(segment: string): string {
  const folded = segment.replace(HFS_IGNORED, '').toLowerCase()
  return folded.split(/[:\\/]/, 1)[0]!.replace(/[. ]+$/, '')
}

/** Whether some system takes a name for that of git's own folder; NTFS knows it as git~1, too. */
export function isGitName(segment: string): boolean {
  const bare = bareName(segment)
  return bare === '.git' || /^git~[0-9]+$/.test(bare)
}

function isProtected(segment: string): boolean {
  const bare = bareName(segment)
  return bare === '.git' || bare === '.mlv' || /^(?:git|mlv)~[0-9]+$/.test(bare)
}

/** A name that no system takes for another one, as nearly all are. */
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$/

/** Says what is wrong with one name inside a tree or path, or undefined when it may be written to disk. */
export function nameProblem(name: string): string | undefined {
  if (PLAIN_NAME.test(name)) return undefined
  if (name === '') return 'an empty name'
  if (name === '.' || name === '..') return `the name "${name}"`
  if (name.includes('/')) return 'a slash inside a name'
  if (name.includes('\0')) return 'a NUL inside a name'
  if (isProtected(name)) return `the protected name "${name}"`
  if (Buffer.byteLength(name) > 255) return `a name of more than 255 bytes: "${name.slice(0, 40)}…"`
  return undefined
}

/** Checks a path that is already relative to the root, e.g. from a file in git. @throws PATH_INVALID */
export function parseRepoPath(text: string, where: string): RepoPath {
  const clean = text.replace(/\/+$/, '').replace(/^(\.\/)+/, '')
  for (const segment of clean.split('/')) {
    const problem = nameProblem(segment)
    if (problem)
      throw new MlvError('PATH_INVALID', `${where}: the path "${text}" has ${problem}`, {
        hint: 'Paths are relative to the project and stay inside it.',
      })
  }
  return clean as RepoPath
}

/** Turns what a user typed, relative to `cwd`, into a path in the project. @throws PATH_INVALID when outside, in .git or in .mlv */
export function repoPathFrom(typed: string, cwd: string, root: string): RepoPath {
  const inside = relative(root, resolve(cwd, typed))
  if (inside === '') return '' as RepoPath
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside))
    throw new MlvError('PATH_INVALID', `${typed} is outside the project at ${root}`, {
      hint: 'Move or copy it into the project first.',
    })
  const path = sep === '/' ? inside : inside.split(sep).join('/')
  for (const segment of path.split('/')) {
    const problem = nameProblem(segment)
    if (problem)
      throw new MlvError('PATH_INVALID', `${typed} has ${problem}`, { hint: 'Name a file or folder of your own data.' })
  }
  return path as RepoPath
}

export function joinPath(folder: string, name: string): RepoPath {
  return (folder === '' ? name : `${folder}/${name}`) as RepoPath
}

export function parentOf(path: string): RepoPath {
  const cut = path.lastIndexOf('/')
  return (cut < 0 ? '' : path.slice(0, cut)) as RepoPath
}

/** The folders around a path, the nearest first, without the root. */
export function* parentsOf(path: string): Generator<RepoPath> {
  for (let at = parentOf(path); at !== ''; at = parentOf(at)) yield at
}

/** A path and the folders around it, the nearest first, without the root. */
export function* upwards(path: string): Generator<RepoPath> {
  for (let at = path as RepoPath; at !== ''; at = parentOf(at)) yield at
}

/** The folders around some paths, each once, and the root. */
export function foldersAround(paths: Iterable<string>): Set<RepoPath> {
  const folders = new Set(['' as RepoPath])
  // What is around a known folder is known, too.
  for (const path of paths) for (let at = parentOf(path); !folders.has(at); at = parentOf(at)) folders.add(at)
  return folders
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** @returns whether `path` is `folder` or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`)
}

/** Quotes a name for a message or a shell line when it has anything but plain characters. */
export function quotePath(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
