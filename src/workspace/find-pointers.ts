import { type Dirent, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, systemCode } from '../base/errors.ts'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import { readIgnoreFile } from './ignore.ts'
import type { IgnorePatterns } from './ignore-patterns.ts'
import type { Project } from './project.ts'

const POINTER_END = '.mlv'

interface Level {
  patterns: IgnorePatterns
  /** length of the level's folder in a path from the top of the work tree, with its slash */
  cut: number
}

function isIgnored(levels: Level[], path: string, name: string): boolean {
  for (let i = levels.length - 1; i >= 0; i--) {
    const verdict = levels[i]!.patterns.verdict(path.slice(levels[i]!.cut), name, true)
    if (verdict !== undefined) return verdict
  }
  return false
}

function readFolder(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true })
  } catch (error) {
    // A folder that vanished while we walked holds no pointer.
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw fileError(error, 'reading', path)
  }
}

/** Finds the pointer files of a project by walking its work tree. Left out: what git ignores, tracked data, links, nested repositories and
 *  nested projects. Lines of .git/info/exclude count; git's per-user ignore file does not.
 *  @returns paths of the `*.mlv` files, sorted by their UTF-8 bytes   @throws FILE_UNREADABLE */
export function findPointers(project: Pick<Project, 'root' | 'place' | 'prefix'>): RepoPath[] {
  const { root, place, prefix } = project
  const found: RepoPath[] = []
  const levels: Level[] = []
  const enter = (file: string, cut: number) => {
    const patterns = readIgnoreFile(file)
    if (patterns) levels.push({ patterns, cut })
  }

  // `path` is relative to the project, `gitPath` to the top of the work tree; both are '' or end in a slash.
  function walk(path: string, gitPath: string): void {
    const entries = readFolder(join(root, path))
    if (path !== '' && entries.some((entry) => entry.name === '.git')) return
    if (path !== '' && entries.some((entry) => entry.name === '.mlv' && entry.isDirectory()) && isProject(join(root, path)))
      return
    const depth = levels.length
    if (entries.some((entry) => entry.name === '.gitignore')) enter(join(root, path, '.gitignore'), gitPath.length)
    const tracked = new Set<string>()
    for (const entry of entries)
      if (entry.name.endsWith(POINTER_END) && entry.name !== POINTER_END && entry.isFile()) {
        found.push((path + entry.name) as RepoPath)
        tracked.add(entry.name.slice(0, -POINTER_END.length))
      }
    for (const entry of entries) {
      const { name } = entry
      if (!entry.isDirectory() || name === '.git' || name === '.mlv' || tracked.has(name)) continue
      if (levels.length > 0 && isIgnored(levels, gitPath + name, name)) continue
      walk(`${path}${name}/`, `${gitPath}${name}/`)
    }
    levels.length = depth
  }

  enter(join(place.commonDir, 'info', 'exclude'), 0)
  const above = prefix === '' ? [] : prefix.split('/')
  for (let depth = 0; depth < above.length; depth++) {
    const folder = above.slice(0, depth)
    enter(
      join(place.workTree, ...folder, '.gitignore'),
      folder.reduce((length, name) => length + name.length + 1, 0),
    )
  }
  walk('', prefix === '' ? '' : `${prefix}/`)
  return found.sort(compareUtf8)
}

function isProject(folder: string): boolean {
  return readFolder(join(folder, '.mlv')).some((entry) => entry.name === 'config')
}
