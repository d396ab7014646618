import { rmSync } from 'node:fs'
import { MlvError } from '../../base/errors.ts'
import { compareUtf8, isWithin, quotePath, type RepoPath } from '../../base/paths.ts'
import type { Project } from '../../workspace/project.ts'
import type { Executor } from '../executor/executor.ts'
import { createLocalExecutor } from '../executor/local.ts'
import type { Shell } from '../executor/shell.ts'
import type { StageGraph } from '../graph.ts'
import { placeText, type Stage } from '../stage.ts'
import { foldPaths } from './fold.ts'
import { countFiles, createSight, type Sight } from './sight.ts'
import { createTracingShell, openTraceFolder, type Tracer } from './strace.ts'
import { createTouched, type Touched } from './touched.ts'
import { findUses, isUsed, type Uses, uncovered } from './uses.ts'

/** What a stage did inside the project without declaring it. */
export interface Undeclared {
  reads: RepoPath[]
  writes: RepoPath[]
  removes: RepoPath[]
}

export interface StageCheck {
  undeclared: Undeclared
  /** deps that it declares and did not look at */
  unread: RepoPath[]
  /** whether all that it did was seen */
  whole: boolean
}

/** One run of a stage that is watched. */
export interface WatchedRun {
  /** runs it so that it is seen */
  executor: Executor
  /** To be called once its commands have succeeded. @throws STAGE_FAILED when undeclared files are errors and there are some */
  check(): void
  /** what the check found */
  found(): StageCheck | undefined
  /** gives back its folder */
  close(): void
}

/** Watches each stage that runs. */
export type DepChecker = (stage: Stage) => WatchedRun

export function isUndeclared({ reads, writes, removes }: Undeclared): boolean {
  return reads.length + writes.length + removes.length > 0
}

/** `reads a, b` with at most three names */
function someNames(verb: string, paths: readonly RepoPath[]): string[] {
  if (paths.length === 0) return []
  const more = paths.length > 3 ? ` and ${paths.length - 3} more` : ''
  return [`${verb} ${paths.slice(0, 3).map(quotePath).join(', ')}${more}`]
}

function undeclaredError(stage: Stage, { reads, writes, removes }: Undeclared): MlvError {
  const did = [...someNames('reads', reads), ...someNames('writes', writes), ...someNames('removes', removes)].join(', and ')
  return new MlvError('STAGE_FAILED', `Stage "${stage.name}" ${did} without declaring it (${placeText(stage.at)})`, {
    hint: 'Declare what it reads in deps and what it writes in outs, or let it not; repro.undeclared is set to error.',
  })
}

/** Folders in place of many files of one folder; a known path in place of what lies in it. */
function fold(paths: readonly RepoPath[], uses: Uses, sight: Sight, taken: readonly RepoPath[]): RepoPath[] {
  const folded = foldPaths(new Set(paths.map((path) => sight.owner(path) ?? path)), {
    allows: (folder) => !taken.some((path) => isWithin(path, folder)),
    joined: (folder) => uses.listed.has(folder) || uses.made.has(folder),
    count: (folder, most) => countFiles(sight, folder, most, false),
  })
  return folded.sort(compareUtf8)
}

/** Compares what a stage declares with what it did. */
function checkStage(stage: Stage, sight: Sight, seen: { touched: Touched[]; uses: Uses; whole: boolean }): StageCheck {
  const { touched, uses, whole } = seen
  const outs = stage.outs.map(({ path }) => path)
  const deps = [...stage.deps.map(({ path }) => path), ...stage.params.map(({ file }) => file)]
  const reads = uncovered(uses.reads, [...deps, ...outs])
  const writes = uncovered(uses.writes, outs)
  const removes = uncovered(new Map(uses.removes.map((path) => [path, []])), outs)
  return {
    undeclared: {
      reads: fold(reads, uses, sight, [...outs, ...writes, ...deps]),
      writes: fold(writes, uses, sight, [...deps, ...reads, ...outs]),
      removes: removes.sort(compareUtf8),
    },
    unread: whole ? stage.deps.map(({ path }) => path).filter((path) => !isUsed(path, touched, sight)) : [],
    whole,
  }
}

/** Makes what watches the stages of a pipeline. @param fail what is undeclared fails its stage */
export function createDepChecker(
  project: Project,
  graph: StageGraph,
  { shell: inner, tracer, fail }: { shell: Shell; tracer: Extract<Tracer, { kind: 'strace' }>; fail: boolean },
): DepChecker {
  return (stage) => {
    const sight = createSight(project, graph, stage)
    const touched = createTouched(sight.inside)
    const folder = openTraceFolder(project)
    const since = Date.now()
    const shell = createTracingShell(inner, { options: tracer.options, folder, tell: touched.add })
    let found: StageCheck | undefined
    return {
      executor: createLocalExecutor(shell),
      found: () => found,
      close: () => rmSync(folder, { recursive: true, force: true }),
      check() {
        // A map stage whose datums are all known runs nothing.
        if (shell.commands === 0) return
        const list = touched.list()
        const uses = findUses(list, sight, { root: project.root, since })
        found = checkStage(stage, sight, { touched: list, uses, whole: shell.isWhole })
        if (fail && isUndeclared(found.undeclared)) throw undeclaredError(stage, found.undeclared)
      },
    }
  }
}
