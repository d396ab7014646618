import { lstatSync, type Stats, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { writeFilesAtomic } from '../base/atomic.ts'
import { MlvError } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import { findRoot, requireGit } from './open-project.ts'

const CONFIG_TEXT = `# Settings of this mlv project, shared through git. Your own go to .git/mlv/config ("mlv config set KEY VALUE --local").
`
const IGNORE_TEXT = `# What mlv leaves out of tracked folders; written like .gitignore.
__pycache__/
.ipynb_checkpoints/
.DS_Store
`

/** What may stand already where init writes, and as what. */
const PLACES: [string, (stats: Stats) => boolean][] = [
  ['.mlv', (stats) => stats.isDirectory()],
  ['.mlv/config', (stats) => stats.isFile()],
  ['.mlvignore', (stats) => stats.isFile() || stats.isSymbolicLink()],
]

export interface InitResult {
  root: string
  /** files written, relative to the root; empty when the project was there already */
  written: string[]
}

/** Makes a folder of a git work tree an mlv project; what is there already stays as it is.
 *  @throws GIT_MISSING, USAGE below the top of the work tree without `subdir`, PATH_INVALID inside .git, FILE_UNWRITABLE */
export function initProject(cwd: string, options: { subdir: boolean }): InitResult {
  const { workTree } = requireGit(cwd)
  const prefix = relative(workTree, cwd).split(sep)
  if (prefix.some((name) => ['.git', '.mlv'].includes(name.toLowerCase())))
    throw new MlvError('PATH_INVALID', `${cwd} is not a place for a project`, { hint: `Run "mlv init" in ${workTree}.` })
  const existing = findRoot(cwd, workTree)
  if (existing === cwd) return { root: cwd, written: [] }
  if (!options.subdir && cwd !== workTree) {
    const hint = `Run "mlv -C ${quotePath(workTree)} init" for the whole repository, or "mlv init --subdir" for this folder alone.`
    if (existing !== undefined)
      throw new MlvError('USAGE', `This folder belongs to the mlv project at ${existing}`, {
        hint: 'Use that project, or "mlv init --subdir" for a separate one here.',
      })
    throw new MlvError('USAGE', `${cwd} is not the top of the git repository`, { hint })
  }
  for (const [name, isRight] of PLACES) {
    const stats = lstatSync(join(cwd, name), { throwIfNoEntry: false })
    if (stats && !isRight(stats))
      throw new MlvError('PATH_INVALID', `${join(cwd, name)} is in the way of what mlv keeps there`, {
        hint: `Look at it with "ls -ld ${quotePath(name)}", move it away, then run "mlv init" again.`,
      })
  }
  const missing = [
    { name: '.mlvignore', bytes: IGNORE_TEXT },
    // The config marks the root, so it comes last.
    { name: '.mlv/config', bytes: CONFIG_TEXT },
  ].filter(({ name }) => !statSync(join(cwd, name), { throwIfNoEntry: false }))
  writeFilesAtomic(missing.map(({ name, bytes }) => ({ path: join(cwd, name), bytes })))
  return { root: cwd, written: missing.map(({ name }) => name).sort() }
}
