import { lstatSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError, systemCode } from '../../base/errors.ts'
import { isWithin, type RepoPath } from '../../base/paths.ts'
import type { Project } from '../../workspace/project.ts'
import { applyAccept, planAccept } from '../accept.ts'
import { addStage, type NewStage } from '../edit.ts'
import type { CommandRun, Shell } from '../executor/shell.ts'
import { buildGraph, type StageGraph } from '../graph.ts'
import { decodePipeline, parseHere, readPipeline, readPipelineFile } from '../open-pipeline.ts'
import { openScene } from '../open-scene.ts'
import { describeEnd, endHint, workFolder } from '../run-command.ts'
import { withLog } from '../run-stage.ts'
import type { Stage } from '../stage.ts'
import { checkPipeline } from '../write-pipeline.ts'
import { compareFiles, readFileTable } from './compare-files.ts'
import { composeStage, type Described, describeUses, notesOf, refuseForeign } from './describe-uses.ts'
import { countFiles, createSight, type Sight } from './sight.ts'
import { createTracingShell, openTraceFolder, type Tracer } from './strace.ts'
import { createTouched, type Touched } from './touched.ts'
import { findUses, type Uses } from './uses.ts'

/** ms: times of files are that much behind the clock at most */
const TICK = 20

export interface InferPorts {
  /** nothing is to be added: the log of an existing stage's last run stays */
  dryRun?: boolean
  shell: Shell
  tracer: Tracer
  onOutput: CommandRun['onOutput']
}

export interface InferredStage {
  /** as it is to stand in mlv.yaml */
  stage: NewStage
  /** whether reads were seen, or only writes */
  seen: 'reads and writes' | 'writes'
  /** sentences for the user */
  notes: string[]
  /** whether the run may be recorded, by what lies there now */
  isSettled(): boolean
}

interface Draft {
  stage: Stage
  /** the other stages */
  graph: StageGraph
  /** outs of the stage that it is to replace */
  outs: Stage['outs']
}

/** What the user declares of a stage, and the stages beside it. Finds what is wrong before anything runs. @throws as addStage, parsePipeline, buildGraph */
async function readDraft(project: Project, name: string, { given, force }: { given: NewStage; force: boolean }): Promise<Draft> {
  const bytes = readPipelineFile(project)
  const text = bytes ? decodePipeline(bytes) : ''
  const { pipeline } = await parseHere(project, addStage(text, name, { stage: given, force }))
  await checkPipeline(project, pipeline)
  const stage = pipeline.stages.find((one) => one.name === name)
  if (!stage) throw new Error(`stage ${name} was not added`)
  const before = force ? await readPipeline(project) : undefined
  const outs = before?.stages.find((one) => one.name === name)?.outs ?? []
  return { stage, graph: buildGraph({ stages: pipeline.stages.filter((one) => one !== stage), warnings: [] }), outs }
}

async function runOnce(
  stage: Stage,
  project: Project,
  { shell, onOutput }: Pick<InferPorts, 'shell' | 'onOutput'>,
): Promise<void> {
  const cwd = workFolder(stage, project)
  const { env, signal, warn } = project.surroundings
  const elsewhere =
    cwd === project.surroundings.cwd ? '' : ' It ran where stages run: in the project, or in the folder that -w names.'
  for (const command of stage.cmd) {
    const end = await shell.run({ command, shell: stage.shell, cwd, env, signal, onOutput })
    if (end.kind === 'interrupted')
      throw new MlvError('INTERRUPTED', `Interrupted: stage "${stage.name}" was not added`, {
        hint: 'Run the same command again.',
      })
    if (end.kind !== 'done')
      throw new MlvError(
        'STAGE_FAILED',
        `The command failed, so stage "${stage.name}" was not added: ${describeEnd(end, stage)}`,
        {
          hint: `${endHint(end)}Its output above says why.${elsewhere}`,
        },
      )
    if (end.left !== undefined) warn(`it left processes running; end them with "kill -- -${end.left}" if they are not wanted`)
  }
}

async function runLogged(
  stage: Stage,
  project: Project,
  ports: Pick<InferPorts, 'dryRun' | 'shell' | 'onOutput'>,
): Promise<void> {
  if (ports.dryRun) return runOnce(stage, project, ports)
  await withLog(project, stage.name, ports.onOutput, (onOutput) => runOnce(stage, project, { ...ports, onOutput }))
}

/** Files that the command names: all that can be known of its reads where nobody watches. */
function filesNamed(stage: Stage, project: Project, sight: Sight): Touched[] {
  const found: Touched[] = []
  for (const word of stage.cmd.flatMap((line) => line.split(/[\s'"`;|&<>()=]+/))) {
    const path = word === '' ? undefined : sight.inside(join(project.root, stage.wdir, word))
    if (path === undefined || path === '' || !isFile(join(project.root, path))) continue
    found.push({ path, read: true, written: false, updated: false, removed: false, listed: false, made: false, also: [] })
  }
  return found
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
  } catch (error) {
    if (['ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EACCES'].includes(systemCode(error) ?? '')) return false
    throw error
  }
}

interface Watched {
  touched: Touched[]
  /** all that was read and written was seen */
  whole: boolean
  /** where not all was seen: whether a file was not there before, so that nothing of what it holds is older than the run */
  isNew(path: RepoPath): boolean
}

async function watchRun(stage: Stage, project: Project, ports: InferPorts & { sight: Sight }): Promise<Watched> {
  const { tracer, sight } = ports
  if (tracer.kind === 'none') {
    const named = filesNamed(stage, project, sight)
    const before = readFileTable(project.root, sight)
    await runLogged(stage, project, ports)
    const written = compareFiles(before, readFileTable(project.root, sight))
    const paths = new Set(written.map(({ path }) => path))
    const touched = [...named.filter(({ path }) => !paths.has(path)), ...written]
    return { touched, whole: false, isNew: (path) => !before.has(path) }
  }
  const folder = openTraceFolder(project)
  try {
    const touched = createTouched(sight.inside)
    const shell = createTracingShell(ports.shell, { options: tracer.options, folder, tell: touched.add })
    await runLogged(stage, project, { ...ports, shell })
    return { touched: touched.list(), whole: shell.isWhole, isNew: () => false }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function trackedByGit(project: Project, paths: readonly RepoPath[]): Promise<Set<RepoPath>> {
  const git = await project.git()
  const found = new Set<RepoPath>()
  for (const path of paths) if ((await git.tracked(project.gitPath(path))).length > 0) found.add(path)
  return found
}

/** Whether the run may be recorded, as a run of the stage that it describes: all that the user declares is there, nothing that was read has changed
 *  since the command began, and no out holds what an earlier run may have left. Where not all was seen, whatever it wrote must be new, because
 *  it may have read what was there. */
function isSettled(
  { deps, outs }: Stage,
  { uses, described, sight }: { uses: Uses; described: Described; sight: Sight },
  { root, since, whole, isNew }: Pick<Watched, 'whole' | 'isNew'> & { root: string; since: number },
): boolean {
  const look = (path: RepoPath) => lstatSync(join(root, path), { throwIfNoEntry: false })
  const written = (folder: RepoPath) => [...uses.writes.keys()].filter((path) => isWithin(path, folder)).length
  const isOwn = (path: RepoPath) => !look(path)?.isDirectory() || countFiles(sight, path, written(path), true) <= written(path)
  return (
    (whole ? uses.consumed.length === 0 : uses.removes.length === 0 && [...uses.writes.keys()].every(isNew)) &&
    [...deps, ...outs].every(({ path }) => look(path) !== undefined) &&
    [...uses.reads.keys()].every((path) => (look(path)?.ctimeMs ?? since) < since - TICK) &&
    described.outs.every((path) => described.persist.has(path) || isOwn(path))
  )
}

/** Runs a command once and describes it as a stage by what it reads and writes in the project. mlv.yaml is only read.
 *  @param add what the user declares himself is kept; `force` lets it replace a stage
 *  @throws STAGE_FAILED, INTERRUPTED when the command fails; before it runs: USAGE when there is such a stage, PATH_INVALID, PATH_MISSING; before it runs
 *  for what the user declares, else behind it: PIPELINE_INVALID and PATH_TRACKED for what belongs to another stage or a pointer */
export async function inferStage(
  project: Project,
  add: { name: string; given: NewStage; force: boolean },
  ports: InferPorts,
): Promise<InferredStage> {
  const { name, given } = add
  const { stage, graph, outs } = await readDraft(project, name, add)
  const sight = createSight(project, graph, { name, outs: [...stage.outs, ...outs] })
  const { tracer } = ports
  const since = Date.now()
  const { touched, whole, isNew } = await watchRun(stage, project, { ...ports, sight })
  const uses = findUses(touched, sight, { root: project.root, since })
  const described = describeUses(uses, stage, { root: project.root, sight, graph })
  refuseForeign(described, stage, { sight, graph })
  const tracked = await trackedByGit(project, described.outs)
  const notes = notesOf(uses, described)
  if (tracer.kind === 'none')
    notes.unshift(
      `only what it writes was seen, and its deps are the files that the command names: ${tracer.why}. ${tracer.hint}`,
    )
  else if (!whole) notes.unshift('not all was seen: strace ended before the command')
  return {
    stage: composeStage(given, stage.wdir, { described, tracked }),
    seen: tracer.kind === 'none' ? 'writes' : 'reads and writes',
    notes,
    isSettled: () => isSettled(stage, { uses, described, sight }, { root: project.root, since, whole, isNew }),
  }
}

/** Records the run that a stage was inferred from, so that it does not run again.
 *  @returns files to commit; undefined when something has changed since, so that nobody knows what the outs are of   @throws as applyAccept */
export async function recordInferred(
  project: Project,
  name: string,
  { isSettled }: Pick<InferredStage, 'isSettled'>,
): Promise<RepoPath[] | undefined> {
  if (!isSettled()) return undefined
  const scene = await openScene(project)
  try {
    const plan = await planAccept(scene, { stages: [name], inputs: true })
    // By now the deps are hashed: what changes from here on is seen to differ.
    return isSettled() ? await applyAccept(plan) : undefined
  } finally {
    await scene.data.close()
  }
}
