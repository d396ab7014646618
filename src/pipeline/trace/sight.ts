import { existsSync, lstatSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../../base/errors.ts'
import { isWithin, joinPath, nameOf, parentOf, type RepoPath, upwards } from '../../base/paths.ts'
import { IGNORE_FILE, loadIgnore, readIgnoreFile } from '../../workspace/ignore.ts'
import { cacheFolder } from '../../workspace/link.ts'
import { POINTER_SUFFIX } from '../../workspace/pointer.ts'
import type { Project } from '../../workspace/project.ts'
import type { StageGraph } from '../graph.ts'
import { LOCK_FILE, PIPELINE_FILE, type Stage } from '../stage.ts'

/** Folders that programs keep for themselves. */
const CLUTTER_FOLDERS = new Set([
  ...['.git', '.hg', '.svn', '.mlv', '.dvc', 'node_modules', '__pycache__', 'site-packages', '.ipynb_checkpoints'],
  ...['.pytest_cache', '.mypy_cache', '.ruff_cache', '.cache', '.tox', '.nox', '.eggs', '.idea', '.vscode'],
])
/** Files that say how to keep files, not what is in them. */
const CLUTTER_FILES = new Set(['.gitignore', '.gitattributes', '.gitmodules', '.mailmap', '.mlvignore', '.DS_Store'])
/** What marks a virtual environment of Python or of conda. */
const ENVIRONMENT_MARKS = ['pyvenv.cfg', 'conda-meta']

/** What of a project's files counts when a command is watched. */
export interface Sight {
  /** The path of one of the project's files; undefined outside of it, and for what git and mlv keep in it. */
  inside(absolute: string): RepoPath | undefined
  /** The path that is meant when this one is read: the source of a compiled file. undefined for caches and virtual environments. */
  subject(path: string): RepoPath | undefined
  /** The pointer's path, or the out of another stage, at or above a path. */
  owner(path: string): RepoPath | undefined
  /** Whether git or .mlvignore leaves it out, and neither a pointer nor an out stands for it. */
  ignores(path: string): boolean
  /** Whether a folder holds caches that git does not ignore, so that the folder as a dep would change with them. */
  isLittered(folder: string): boolean
  /** The files below a folder that count. @param ignored also those that are ignored */
  walk(folder: string, ignored: boolean): Generator<RepoPath>
}

function isEnvironment(folder: string): boolean {
  return ENVIRONMENT_MARKS.some((mark) => existsSync(join(folder, mark)))
}

/** `src/__pycache__/util.cpython-311.pyc` → `src/util.py` */
function sourceOf(path: string): string | undefined {
  const name = /^([^.]+)\.(?:.*\.)?py[co]$/.exec(nameOf(path))?.[1]
  if (name === undefined) return undefined
  const folder = parentOf(path)
  const beside = nameOf(folder) === '__pycache__' ? parentOf(folder) : folder
  return beside === '' ? `${name}.py` : `${beside}/${name}.py`
}

/** @param graph the stages whose outs own what lies in them   @param stage the one that is watched: its outs are not ignored, and own nothing */
export function createSight(project: Project, graph: Pick<StageGraph, 'makers'>, stage: Pick<Stage, 'name' | 'outs'>): Sight {
  const { root, place, prefix } = project
  const roots = [...new Set([realpathSync(root), root])]
  const kept = [cacheFolder(project), project.homeDir, place.gitDir, place.commonDir].map(real)
  const ignores = [loadIgnore(place.workTree, prefix, '.gitignore'), loadIgnore(root, '', IGNORE_FILE)]
  const excludes = readIgnoreFile(join(place.commonDir, 'info', 'exclude'))
  const outs = stage.outs.map(({ path }) => path)
  const environments = new Map<string, boolean>([['', false]])

  function inEnvironment(folder: string): boolean {
    const known = environments.get(folder)
    if (known !== undefined) return known
    const found = CLUTTER_FOLDERS.has(nameOf(folder)) || inEnvironment(parentOf(folder)) || isEnvironment(join(root, folder))
    environments.set(folder, found)
    return found
  }

  const isCache = (path: string) => /\.py[co]$/.test(path) || inEnvironment(parentOf(path))

  function isClutter(path: string): boolean {
    const name = nameOf(path)
    if (CLUTTER_FILES.has(name) || name.startsWith('.mlv-tmp-') || name.endsWith(POINTER_SUFFIX)) return true
    return path === PIPELINE_FILE || path === LOCK_FILE || isCache(path)
  }

  const makerOf = (path: string) => {
    const maker = graph.makers.get(path as RepoPath)
    return maker !== undefined && maker.stage.name !== stage.name
  }

  const isExcluded = (path: string): boolean => {
    for (const at of upwards(path)) if (excludes?.verdict(project.gitPath(at), nameOf(at), at !== path)) return true
    return false
  }

  const owner = (path: string): RepoPath | undefined => {
    for (const at of upwards(path)) if (makerOf(at) || existsSync(join(root, `${at}${POINTER_SUFFIX}`))) return at
    return undefined
  }

  const ignored = (path: string, isFolder = false) =>
    (ignores.some((rules) => rules.ignores(path, isFolder)) || isExcluded(path)) &&
    !outs.some((out) => isWithin(path, out) || (isFolder && isWithin(out, path))) &&
    owner(path) === undefined

  function* walk(folder: string, also: boolean, skips: (path: string, isFolder: boolean) => boolean): Generator<RepoPath> {
    const pending = [folder]
    while (pending.length > 0) {
      const at = pending.pop()!
      for (const entry of listFolder(join(root, at))) {
        const path = joinPath(at, entry.name)
        const isFolder = entry.isDirectory()
        if (entry.name === '.git' || skips(path, isFolder) || (!also && ignored(path, isFolder))) continue
        if (isFolder) pending.push(path)
        else yield path
      }
    }
  }

  return {
    inside(absolute) {
      const under = roots.find((one) => isWithin(absolute, one))
      if (under === undefined || kept.some((folder) => isWithin(absolute, folder))) return undefined
      const path = absolute.slice(under.length + 1)
      return path.split('/').some((name) => name === '.git' || name === '.mlv') ? undefined : (path as RepoPath)
    },
    subject(path) {
      const source = sourceOf(path)
      if (source !== undefined && existsSync(join(root, source)) && !isClutter(source)) return source as RepoPath
      return isClutter(path) ? undefined : (path as RepoPath)
    },
    owner,
    ignores: (path) => ignored(path),
    isLittered(folder) {
      for (const path of walk(folder, false, () => false)) if (isCache(path)) return true
      return false
    },
    walk: (folder, also) => walk(folder, also, (path, isFolder) => (isFolder ? inEnvironment(path) : isClutter(path))),
  }
}

/** How many files below a folder count, or `most` and one more where there are more. */
export function countFiles(sight: Sight, folder: RepoPath, most: number, ignored: boolean): number {
  let count = 0
  for (const _path of sight.walk(folder, ignored)) if (++count > most) break
  return count
}

function listFolder(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true })
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) return []
    throw error
  }
}

function real(path: string): string {
  return lstatSync(path, { throwIfNoEntry: false }) ? realpathSync(path) : path
}
