import { readFileSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { type IgnorePatterns, parseIgnorePatterns } from './ignore-patterns.ts'

export const IGNORE_FILE = '.mlvignore'

/** Larger than this, an ignore file is no file a person wrote. */
const MAX_BYTES = 4 << 20

/** What .mlvignore files leave out of a folder that is being tracked. */
export interface Ignore {
  /** @param path relative to the folder given to loadIgnore, POSIX   @returns true also for everything below an ignored folder */
  ignores(path: string, isFolder: boolean): boolean
}

function statIgnoreFile(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    // What is tracked may be a file: nothing lies below it.
    if (systemCode(error) === 'ENOTDIR') return undefined
    throw fileError(error, 'reading', path)
  }
}

/** Reads one ignore file. @returns undefined when there is none   @throws FILE_UNREADABLE, CONFIG_INVALID when it is huge */
export function readIgnoreFile(path: string): IgnorePatterns | undefined {
  const stats = statIgnoreFile(path)
  if (!stats?.isFile()) return undefined
  if (stats.size > MAX_BYTES)
    throw new MlvError('CONFIG_INVALID', `${path} is larger than 4 MiB`, {
      hint: 'Write patterns such as "*.tmp" instead of single names.',
    })
  try {
    return parseIgnorePatterns(readFileSync(path, 'utf8'))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'reading', path)
  }
}

interface Level {
  patterns: IgnorePatterns
  /** what stands before a path to make it relative to the level's own folder, with a slash at the end, or cut from it */
  add: string
  cut: number
}

interface FolderRules {
  /** nearest first */
  levels: Level[]
  ignored: boolean
}

/** Reads the .mlvignore files (or those called `file`) from `root` down to `folder` (relative to the root, '' for the root); those below it are read when a path
 *  there is first asked for. Of several files the nearest that speaks decides. The folder itself counts as wanted.
 *  @throws FILE_UNREADABLE */
export function loadIgnore(root: string, folder: string, file = IGNORE_FILE): Ignore {
  const names = folder === '' ? [] : folder.split('/')
  const top: Level[] = []
  for (let depth = 0; depth <= names.length; depth++) {
    const patterns = readIgnoreFile(join(root, ...names.slice(0, depth), file))
    if (patterns)
      top.unshift({
        patterns,
        add: names
          .slice(depth)
          .map((name) => `${name}/`)
          .join(''),
        cut: 0,
      })
  }

  const known = new Map<string, FolderRules>([['', { levels: top, ignored: false }]])
  let lastFolder = ''
  let lastRules = known.get('')!

  function decide(levels: Level[], path: string, name: string, isFolder: boolean): boolean {
    for (const { patterns, add, cut } of levels) {
      const below = patterns.namesOnly ? name : add + path.slice(cut)
      const verdict = patterns.verdict(below, name, isFolder)
      if (verdict !== undefined) return verdict
    }
    return false
  }

  function rulesOf(path: string): FolderRules {
    const found = known.get(path)
    if (found) return found
    const cut = path.lastIndexOf('/')
    const above = rulesOf(cut < 0 ? '' : path.slice(0, cut))
    const ignored = above.ignored || decide(above.levels, path, path.slice(cut + 1), true)
    const own = ignored ? undefined : readIgnoreFile(join(root, folder, path, file))
    const rules = { ignored, levels: own ? [{ patterns: own, add: '', cut: path.length + 1 }, ...above.levels] : above.levels }
    known.set(path, rules)
    return rules
  }

  return {
    ignores(path, isFolder) {
      const cut = path.lastIndexOf('/')
      const parent = cut < 0 ? '' : path.slice(0, cut)
      // Paths come folder by folder, so the last folder's rules mostly serve again.
      if (parent !== lastFolder) {
        lastRules = rulesOf(parent)
        lastFolder = parent
      }
      return lastRules.ignored || (lastRules.levels.length > 0 && decide(lastRules.levels, path, path.slice(cut + 1), isFolder))
    },
  }
}
