import { readFileSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { MlvError } from '../../base/errors.ts'
import { isWithin, nameOf, parentOf, quotePath, type RepoPath } from '../../base/paths.ts'
import { readMetrics } from '../../measure/metrics.ts'
import type { NewStage } from '../edit.ts'
import type { StageGraph } from '../graph.ts'
import { placeText, type Stage } from '../stage.ts'
import { foldPaths } from './fold.ts'
import { countFiles, type Sight } from './sight.ts'
import { type Uses, uncovered } from './uses.ts'

/** A larger file is no metrics. */
const METRICS_BYTES = 64 << 10

/** From this many files on a folder is one out also where a file of metrics lies in it. */
const MANY_OUTS = 10

/** What a stage's deps, params, outs and metrics are to be. */
export interface Described {
  deps: RepoPath[]
  /** files of params, whole */
  params: RepoPath[]
  outs: RepoPath[]
  /** outs that were read before they were written */
  persist: Set<RepoPath>
  metrics: RepoPath[]
}

function isMetrics(root: string, path: RepoPath): boolean {
  const named = /(^|[._-])metrics?([._-]|$)/i.test(nameOf(path)) || nameOf(parentOf(path)) === 'metrics'
  if (!named || !/\.(json|ya?ml|toml)$/i.test(path)) return false
  const full = join(root, path)
  if (!statSync(full).isFile() || statSync(full).size > METRICS_BYTES) return false
  try {
    return readMetrics(readFileSync(full), path).size > 0
  } catch (error) {
    if (error instanceof MlvError) return false
    throw error
  }
}

function paramFiles(graph: StageGraph): Set<string> {
  const files = new Set(['params.yaml'])
  for (const stage of graph.stages.values()) for (const { file } of stage.params) files.add(file)
  return files
}

/** Makes deps and outs of what a command used. @param draft the stage with what the user declares, which is kept and never said again */
export function describeUses(uses: Uses, draft: Stage, scene: { root: string; sight: Sight; graph: StageGraph }): Described {
  const { root, sight, graph } = scene
  const declaredOuts = draft.outs.map(({ path }) => path)
  const declaredDeps = [...draft.deps.map(({ path }) => path), ...draft.params.map(({ file }) => file)]
  const foreign = [...graph.makers].filter(([, { stage }]) => stage.name !== draft.name).map(([path]) => path)
  const holds = (folder: RepoPath, paths: Iterable<string>) => {
    for (const path of paths) if (isWithin(path, folder)) return true
    return false
  }
  const joined = (folder: RepoPath) => uses.made.has(folder) || uses.listed.has(folder)

  const written = uncovered(uses.writes, declaredOuts)
  const found = written.filter((path) => isMetrics(root, path))
  const keeps = (folder: RepoPath) => holds(folder, found) && written.filter((path) => isWithin(path, folder)).length < MANY_OUTS
  const readOnly = [...uses.reads.keys()].filter((path) => !uses.both.has(path))
  const outs = foldPaths(written, {
    allows: (folder) => ![readOnly, declaredDeps, declaredOuts, foreign].some((paths) => holds(folder, paths)) && !keeps(folder),
    joined: (folder) => uses.made.has(folder),
    count: (folder, most) => countFiles(sight, folder, most, true),
  })
  const metrics = outs.filter((path) => found.includes(path))

  const read = new Set(
    uncovered(uses.reads, [...declaredDeps, ...declaredOuts, ...outs]).map((path) => sight.owner(path) ?? path),
  )
  const files = paramFiles(graph)
  const params = [...read].filter((path) => files.has(path))
  const others = [...read].filter((path) => !files.has(path))
  const unread = foreign.filter((path) => !read.has(path))
  const deps = foldPaths(others, {
    allows: (folder) =>
      ![outs, declaredOuts, declaredDeps, params, unread].some((paths) => holds(folder, paths)) && !sight.isLittered(folder),
    joined,
    count: (folder, most) => countFiles(sight, folder, most, false),
  })
  const persist = new Set(outs.filter((path) => holds(path, uses.both)))
  return { deps, params, outs: outs.filter((path) => !metrics.includes(path)), persist, metrics }
}

/** Only a command that has run tells what it writes. @throws PIPELINE_INVALID for an out of another stage, PATH_TRACKED for data with a pointer */
export function refuseForeign(
  { outs, metrics }: Described,
  draft: Pick<Stage, 'name'>,
  { sight, graph }: { sight: Sight; graph: StageGraph },
): void {
  for (const path of [...outs, ...metrics]) {
    const owner = sight.owner(path)
    if (owner === undefined) continue
    const maker = graph.makers.get(owner)
    const what = `${owner === path ? '' : `in ${owner}, `}${maker ? `an out of stage "${maker.stage.name}" (${placeText(maker.out.at)})` : 'which a pointer tracks'}`
    throw new MlvError(
      maker ? 'PIPELINE_INVALID' : 'PATH_TRACKED',
      `The command wrote ${path}, ${what}, so stage "${draft.name}" was not added`,
      { hint: `Let it write elsewhere. "mlv checkout --force ${quotePath(owner)}" brings back what was there.` },
    )
  }
}

/** The stage as mlv.yaml has it: paths relative to its folder, what the user declared first.
 *  @param tracked outs that git tracks, and goes on to keep */
export function composeStage(
  given: NewStage,
  wdir: RepoPath,
  { described, tracked }: { described: Described; tracked: ReadonlySet<RepoPath> },
): NewStage {
  const { deps, params, outs, persist, metrics } = described
  const written = (path: RepoPath) => posix.relative(wdir, path)
  const list = <T>(before: T[] | undefined, more: T[]) => [...(before ?? []), ...more]
  const options = (path: RepoPath) => ({
    ...(persist.has(path) ? { persist: true as const } : {}),
    ...(tracked.has(path) ? { git: true as const } : {}),
  })
  const all = {
    deps: list(given.deps, deps.map(written)),
    params: list(
      given.params,
      params.map((path) => ({ [written(path)]: null })),
    ),
    outs: list<NonNullable<NewStage['outs']>[number]>(
      given.outs,
      outs.map((path) => (Object.keys(options(path)).length > 0 ? { [written(path)]: options(path) } : written(path))),
    ),
    metrics: list(given.metrics, metrics.map(written)),
    plots: given.plots ?? [],
  }
  const { cmd, wdir: folder } = given
  const stage: NewStage = { cmd, ...(folder === undefined ? {} : { wdir: folder }) }
  return Object.assign(stage, Object.fromEntries(Object.entries(all).filter(([, items]) => items.length > 0)))
}

function names(paths: readonly string[]): string {
  return paths.slice(0, 3).map(quotePath).join(', ') + (paths.length > 3 ? ` and ${paths.length - 3} more` : '')
}

/** What a person should know of a stage that was made so. */
export function notesOf(uses: Uses, described: Described): string[] {
  const { persist, params, outs, metrics } = described
  const { hidden, removes } = uses
  const notes: string[] = []
  if (params.length > 0) notes.push(`${names(params)} as a whole: name the keys that it uses, and it runs again for these alone`)
  if (persist.size > 0) notes.push(`it read ${names([...persist])} and wrote it: persist keeps it in place before a run`)
  if (hidden.reads.length > 0)
    notes.push(`it read what git ignores and mlv does not track: ${names(hidden.reads)}; add -d for what counts`)
  if (hidden.writes.length > 0) notes.push(`it wrote what git ignores: ${names(hidden.writes)}; add -o for what is a result`)
  if (removes.length > 0) notes.push(`it removed ${names(removes)}, which was there before`)
  if (outs.length + metrics.length === 0 && hidden.writes.length === 0) notes.push('it wrote nothing in the project')
  return notes
}
