import { existsSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { nameOf, parentOf, parentsOf, type RepoPath } from '../base/paths.ts'
import { PIPELINE_FILE, type Stage } from '../pipeline/stage.ts'
import type { Project } from '../workspace/project.ts'
import type { Revision } from '../workspace/revision.ts'
import { checkParents } from '../workspace/tracked.ts'
import { type DvcConfig, readDvcConfig } from './dvc-config.ts'
import { type DvcExperiment, findExperiments } from './dvc-experiments.ts'
import { type DvcLockedStage, type DvcTracked, parseDvcFile, parseDvcLock, pathInside } from './dvc-files.ts'
import type { DvcData, Leftover } from './dvc-out.ts'
import { joinFiles, type MigratedFile, migrateFile } from './dvc-pipeline.ts'
import { type DvcSourceContext, sourceOf } from './dvc-source.ts'

/** A stage that dvc.lock knows, under its name in mlv.yaml. */
export interface RanStage {
  stage: Stage
  ran: DvcLockedStage
}

export interface MigrationPlan {
  project: Project
  config: DvcConfig
  /** absolute folders that DVC links from */
  caches: string[]
  tracked: DvcTracked[]
  /** the text of mlv.yaml; undefined without a dvc.yaml */
  pipeline: string | undefined
  stages: Stage[]
  ran: RanStage[]
  /** .dvcignore files, relative to the project */
  ignoreFiles: RepoPath[]
  experiments: DvcExperiment[]
  /** files that say in DVC's words what mlv's files say once it is done */
  replaced: RepoPath[]
  leftovers: Leftover[]
}

async function readText(workspace: Revision, path: RepoPath): Promise<string> {
  const bytes = await workspace.read(path)
  if (!bytes) throw new MlvError('PATH_MISSING', `No such file: ${path}`, { hint: 'Restore it with "git checkout".' })
  return Buffer.from(bytes).toString('utf8')
}

interface Reading {
  workspace: Revision
  /** what names of sources mean */
  sources: Omit<DvcSourceContext, 'folder'>
  replaced: RepoPath[]
  leftovers: Leftover[]
}

async function readTracked(files: RepoPath[], reading: Reading): Promise<DvcTracked[]> {
  const found = new Map<RepoPath, DvcTracked>()
  for (const path of files.filter((file) => nameOf(file).endsWith('.dvc') && nameOf(file) !== '.dvc')) {
    const sourceIn = (dep: Record<string, unknown>) => sourceOf(dep, { folder: parentOf(path), ...reading.sources })
    const { tracked, leftovers } = parseDvcFile(await readText(reading.workspace, path), path, sourceIn)
    reading.leftovers.push(...leftovers)
    for (const data of tracked) {
      const other = found.get(data.path)
      if (other)
        throw new MlvError('DVC_INVALID', `${data.at}: "${data.path}" is tracked by ${other.at}, too`, {
          hint: 'Remove one of them.',
        })
      found.set(data.path, data)
    }
    if (tracked.length > 0) reading.replaced.push(path)
  }
  return [...found.values()]
}

/** All dvc.yaml files as one, and what their dvc.lock files say of its stages. */
async function readPipelines(
  files: RepoPath[],
  reading: Reading,
): Promise<{ pipeline: string | undefined; stages: Stage[]; ran: RanStage[] }> {
  const paths = files.filter((file) => nameOf(file) === 'dvc.yaml').sort((a, b) => a.length - b.length)
  if (paths.length === 0) return { pipeline: undefined, stages: [], ran: [] }
  const read = (path: RepoPath) => reading.workspace.read(path)
  const migrated: MigratedFile[] = []
  const taken = new Set<string>()
  for (const path of paths) {
    const file = await migrateFile(await readText(reading.workspace, path), path, { read, taken })
    for (const name of file.names.values()) taken.add(name)
    reading.leftovers.push(...file.leftovers)
    reading.replaced.push(path)
    migrated.push(file)
  }
  const { text, stages, nameOf: nameIn } = await joinFiles(migrated, read)
  const byName = new Map(stages.map((stage) => [stage.name, stage]))
  const ran: RanStage[] = []
  for (const path of paths) {
    const lockPath = path.replace(/yaml$/, 'lock') as RepoPath
    if (!files.includes(lockPath)) continue
    reading.replaced.push(lockPath)
    const stageOf = (name: string) => byName.get(nameIn(path, name) ?? '')
    const locked = parseDvcLock(
      await readText(reading.workspace, lockPath),
      lockPath,
      (name) => stageOf(name)?.wdir ?? parentOf(path),
    )
    for (const [name, stage] of locked) {
      const own = stageOf(name)
      if (own) ran.push({ stage: own, ran: stage })
      else reading.leftovers.push({ at: stage.at, what: `stage "${name}" stands in no dvc.yaml any more and is left out` })
    }
  }
  return { pipeline: stages.length === 0 && text.trim() === '' ? undefined : text, stages, ran }
}

/** Data within other data would be stored twice, and a folder that is a link could lead what is written out of the project.
 *  @throws DVC_INVALID, PATH_INVALID */
function checkPlaces(root: string, tracked: DvcTracked[], stages: Stage[]): void {
  const places = new Map(tracked.map(({ path, at }) => [path, at]))
  for (const { name, outs } of stages)
    for (const { path } of outs) {
      if (places.has(path))
        throw new MlvError('DVC_INVALID', `${places.get(path)}: "${path}" is also an out of stage "${name}"`, {
          hint: 'DVC would refuse it, too: take it out of one of them.',
        })
      places.set(path, `stage "${name}"`)
    }
  for (const [path, at] of places) {
    checkParents(root, path)
    for (const folder of parentsOf(path))
      if (places.has(folder))
        throw new MlvError('DVC_INVALID', `${at}: "${path}" lies within "${folder}" (${places.get(folder)})`, {
          hint: 'DVC would refuse it, too: keep one of them.',
        })
  }
}

/** What lies in git, and in .dvc, and stays there. */
function findLeftovers(cacheDir: string, reading: Reading): void {
  if (existsSync(join(cacheDir, 'runs')))
    reading.leftovers.push({
      at: join(cacheDir, 'runs'),
      what: "DVC's run cache is left out: its keys are made of MD5s of runs long past, whose inputs nobody can read again to tell mlv's keys",
    })
}

/** @throws PATH_TRACKED where mlv.yaml says something else already */
async function refuseExisting(pipeline: string | undefined, workspace: Revision): Promise<void> {
  const bytes = pipeline === undefined ? undefined : await workspace.read(PIPELINE_FILE as RepoPath)
  if (bytes && Buffer.from(bytes).toString('utf8') !== pipeline)
    throw new MlvError('PATH_TRACKED', 'There is an mlv.yaml already, and it says something else than dvc.yaml', {
      hint: 'Move it away, or replace it with --force.',
    })
}

/** Reads a DVC repository: .dvc files, dvc.yaml, dvc.lock, .dvcignore and settings. Only reads, and no data.
 *  @throws DVC_INVALID, YAML_INVALID with file, line and column; PATH_TRACKED, PROJECT_MISSING, FILE_UNREADABLE */
export async function planMigration(project: Project, options: { force: boolean }): Promise<MigrationPlan> {
  if (!statSync(join(project.root, '.dvc'), { throwIfNoEntry: false })?.isDirectory())
    throw new MlvError('DVC_INVALID', `There is no .dvc in ${project.root}`, {
      hint: 'Run this in a repository that "dvc init" has made.',
    })
  const workspace = await project.revision(undefined)
  const files = (await workspace.list()).filter((path) => !path.startsWith('.dvc/'))
  const config = readDvcConfig({ root: project.root, env: project.surroundings.env })
  const sources = { remotes: config.remotes, root: project.root }
  const reading: Reading = { workspace, sources, replaced: [], leftovers: [] }
  reading.leftovers.push(...config.leftovers)
  const tracked = await readTracked(files, reading)
  const pipelines = await readPipelines(files, reading)
  checkPlaces(project.root, tracked, pipelines.stages)
  findLeftovers(config.cacheDir, reading)
  const experiments = await findExperiments(project)
  const ignoreFiles = files.filter((file) => nameOf(file) === '.dvcignore')
  const caches = existsSync(config.cacheDir) ? [realpathSync(config.cacheDir)] : []
  const { replaced, leftovers } = reading
  if (!options.force) await refuseExisting(pipelines.pipeline, workspace)
  return {
    ...{ project, config, caches, tracked, ...pipelines, ignoreFiles, experiments },
    ...{ replaced: [...replaced, ...ignoreFiles], leftovers },
  }
}

/** The data that is to be taken over: what .dvc files track, and outs that stages store. */
export function dataOf(plan: MigrationPlan): DvcData[] {
  const outs = plan.ran.flatMap(({ stage, ran }) =>
    ran.outs.filter((data) => data.md5 !== undefined && stage.outs.some((out) => out.path === data.path && !out.git)),
  )
  return [...plan.tracked, ...outs]
}

/** A params file of dvc.lock, relative to the project. */
export function paramsFileOf(stage: Stage, name: string): string | undefined {
  return pathInside(stage.wdir, name)
}
