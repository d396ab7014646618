import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import ignore, { type Ignore } from 'ignore'
import { fileError, systemCode } from '../base/errors.ts'
import { isWithin, joinPath, nameOf, parentOf } from '../base/paths.ts'
import type { GitPlace } from './git.ts'

/** Rules of one .gitignore: they hold below `folder`. */
interface Rules {
  folder: string
  rules: Ignore
}

function readRules(path: string): Ignore | undefined {
  try {
    return ignore({ ignorecase: false }).add(readFileSync(path, 'utf8'))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined
    throw fileError(error, 'reading', path)
  }
}

/** The last rule of the deepest file that says something decides. */
function isIgnored(path: string, isFolder: boolean, chain: Rules[]): boolean {
  for (const { folder, rules } of [...chain].reverse()) {
    const inside = folder === '' ? path : path.slice(folder.length + 1)
    const verdict = rules.test(isFolder ? `${inside}/` : inside)
    if (verdict.ignored) return true
    if (verdict.unignored) return false
  }
  return false
}

/** Rules that hold in `folder`, from info/exclude down; undefined when the folder itself is ignored. */
function chainFor(place: GitPlace, folder: string): Rules[] | undefined {
  const excludes = readRules(join(place.commonDir, 'info', 'exclude'))
  const chain: Rules[] = excludes ? [{ folder: '', rules: excludes }] : []
  const enter = (at: string) => {
    const rules = readRules(join(place.workTree, at, '.gitignore'))
    if (rules) chain.push({ folder: at, rules })
  }
  enter('')
  let at = ''
  for (const name of folder === '' ? [] : folder.split('/')) {
    at = joinPath(at, name)
    if (isIgnored(at, true, chain)) return undefined
    enter(at)
  }
  return chain
}

function* walkFolder(place: GitPlace, folder: string, chain: Rules[]): Generator<string> {
  const path = join(place.workTree, folder)
  let entries: import('node:fs').Dirent[]
  try {
    entries = readdirSync(path, { withFileTypes: true })
  } catch (error) {
    throw fileError(error, 'reading', path)
  }
  for (const entry of entries) {
    const at = joinPath(folder, entry.name)
    if (entry.name === '.git' || isIgnored(at, entry.isDirectory(), chain)) continue
    if (entry.isFile() || entry.isSymbolicLink()) yield at
    // A folder with its own .git is another repository.
    else if (entry.isDirectory() && !statSync(join(path, entry.name, '.git'), { throwIfNoEntry: false })) {
      const rules = readRules(join(path, entry.name, '.gitignore'))
      yield* walkFolder(place, at, rules ? [...chain, { folder: at, rules }] : chain)
    }
  }
}

/** Files at or below `path` that git would not ignore, by every .gitignore and info/exclude. Reads no user-wide excludes file. */
export function* walkVisible(place: GitPlace, path: string): Generator<string> {
  const stats = statSync(join(place.workTree, path), { throwIfNoEntry: false })
  const folder = stats?.isDirectory() ? path : parentOf(path)
  const chain = stats && nameOf(path) !== '.git' ? chainFor(place, folder) : undefined
  if (!chain) return
  for (const found of walkFolder(place, folder, chain)) if (isWithin(found, path)) yield found
}
