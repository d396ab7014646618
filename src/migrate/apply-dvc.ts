import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic, writeFilesAtomic } from '../base/atomic.ts'
import { fileError, MlvError } from '../base/errors.ts'
import { joinPath, parentOf, quotePath, type RepoPath } from '../base/paths.ts'
import type { LockedStage } from '../pipeline/lock.ts'
import { updateLock } from '../pipeline/lock-file.ts'
import { createObserver } from '../pipeline/observer.ts'
import { openScene } from '../pipeline/open-scene.ts'
import { LOCK_FILE, PIPELINE_FILE } from '../pipeline/stage.ts'
import { createDirBlobs } from '../transport/dir-blobs.ts'
import { openBlobs } from '../transport/open-blobs.ts'
import { pointerEntry } from '../workspace/add-checks.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import { IGNORE_FILE, loadIgnore } from '../workspace/ignore.ts'
import { hideFromGit } from '../workspace/ignored.ts'
import { openWorkspaceData } from '../workspace/open-data.ts'
import { withCredentials } from '../workspace/open-project.ts'
import { formatPointer, pointerPathOf, readPointer } from '../workspace/pointer.ts'
import type { Project } from '../workspace/project.ts'
import { openSaving } from '../workspace/saving.ts'
import { keptSource } from '../workspace/source.ts'
import { branchExperiments, describeExperiment } from './dvc-experiments.ts'
import { emptyFolders } from './dvc-hash.ts'
import { migrateLocked, openDvcWorkspace } from './dvc-lock.ts'
import type { DvcData, Leftover } from './dvc-out.ts'
import { createImporter, type DvcStore, type Importer, type Missing } from './import-objects.ts'
import { dataOf, type MigrationPlan, paramsFileOf } from './plan-dvc.ts'

export interface MigrationResult {
  /** tracked paths that have a pointer now */
  tracked: { path: RepoPath; entry: Entry }[]
  /** stages of mlv.yaml */
  stages: number
  /** of these, whose last run mlv.lock knows now */
  locked: number
  /** different files that were read and checked */
  files: number
  bytes: number
  /** for the user to commit */
  written: RepoPath[]
  /** DVC's files whose content mlv's files hold now */
  replaced: RepoPath[]
  /** branches that hold DVC's experiments */
  branches: string[]
  leftovers: Leftover[]
}

export interface MigrationOptions {
  force: boolean
  /** leave data that is nowhere with DVC */
  allowMissing: boolean
  /** make a branch of each experiment */
  experiments: boolean
}

async function openStores({ project, config, caches }: MigrationPlan): Promise<DvcStore[]> {
  const { env } = project.surroundings
  const stores: DvcStore[] = caches.map((root) => ({ name: config.cacheDir, blobs: createDirBlobs({ root }) }))
  for (const { name, settings } of config.remotes) {
    const blobs = await openBlobs(settings, { root: project.root, env: withCredentials(env, settings) })
    stores.push({ name: `remote "${name}"`, blobs })
  }
  return stores
}

function missingError(missing: Missing[]): MlvError {
  const shown = missing.slice(0, 5).map(({ path, object, wrong }) => {
    const damage = wrong.length > 0 ? `, damaged in ${wrong.join(' and ')}` : ''
    return `${quotePath(path)} (${object}${damage})`
  })
  const more = missing.length > 5 ? ` and ${missing.length - 5} more` : ''
  return new MlvError('OBJECT_MISSING', `DVC's cache and remotes lack ${shown.join(', ')}${more}; nothing was written`, {
    hint: 'Get it with "dvc fetch" or "dvc pull", or leave it with DVC by --allow-missing.',
  })
}

interface Taken {
  entries: Map<RepoPath, { entry: Entry; data: DvcData }>
  linked: RepoPath[]
  exceptions: string[]
  missing: Missing[]
}

/** Takes over all data, objects before anything that names them. */
async function takeData(plan: MigrationPlan, importer: Importer): Promise<Taken> {
  const taken: Taken = { entries: new Map(), linked: [], exceptions: [], missing: [] }
  const task = plan.project.surroundings.progress.start('taking over')
  try {
    for (const data of dataOf(plan)) {
      const result = await importer.take(data)
      if (Array.isArray(result)) {
        taken.missing.push(...result)
        continue
      }
      taken.entries.set(data.path, { entry: result.entry, data })
      taken.exceptions.push(...result.exceptions)
      if (result.linked) taken.linked.push(data.path)
    }
  } finally {
    task.finish()
  }
  return taken
}

/** @returns the files written   @throws PATH_TRACKED where a pointer says something else already */
async function writePointers(plan: MigrationPlan, taken: Taken, force: boolean): Promise<RepoPath[]> {
  const { root } = plan.project
  const pending: { path: RepoPath; bytes: string }[] = []
  for (const { path, desc, labels, meta, source } of plan.tracked) {
    const found = taken.entries.get(path)
    if (!found) continue
    const before = await readPointer(root, path)
    if (before && !force && !sameEntry(before.entry, found.entry))
      throw new MlvError('PATH_TRACKED', `${pointerPathOf(path)} says something else than DVC`, {
        hint: `Replace it with --force, or remove it with "mlv remove ${quotePath(path)}".`,
      })
    const text = await formatPointer({
      entry: pointerEntry(path, found.entry),
      desc,
      labels,
      meta,
      source: source && keptSource(source),
    })
    pending.push({ path: pointerPathOf(path), bytes: text })
  }
  if (plan.pipeline !== undefined) pending.push({ path: PIPELINE_FILE as RepoPath, bytes: plan.pipeline })
  writeFilesAtomic(pending.map(({ path, bytes }) => ({ path: join(root, path), bytes })))
  return pending.map(({ path }) => path)
}

function readLines(path: string): string[] {
  try {
    return existsSync(path) ? readFileSync(path, 'utf8').split(/\r?\n/) : []
  } catch (error) {
    throw fileError(error, 'reading', path)
  }
}

/** Puts the patterns of each .dvcignore into the .mlvignore beside it, and exceptions for what DVC tracks though mlv would not.
 *  @returns the files written */
function writeIgnoreFiles({ project, ignoreFiles }: MigrationPlan, exceptions: string[]): RepoPath[] {
  const folders = new Map<RepoPath, string[]>([['' as RepoPath, []]])
  for (const path of ignoreFiles)
    folders.set(
      parentOf(path),
      readLines(join(project.root, path)).filter((line) => line.trim() !== '' && !line.startsWith('#')),
    )
  folders.get('' as RepoPath)!.push(...exceptions)
  return [...folders].flatMap(([folder, wanted]) => {
    const target = joinPath(folder, IGNORE_FILE)
    const before = readLines(join(project.root, target))
    const added = wanted.filter((line) => !before.includes(line))
    if (added.length === 0) return []
    const kept = before.join('\n').replace(/\n*$/, '')
    writeFileAtomic(join(project.root, target), `${kept === '' ? '' : `${kept}\n`}${added.join('\n')}\n`)
    return [target]
  })
}

/** Records the last runs that DVC knows. @returns how many; those that cannot be go to the leftovers */
async function writeLock(
  plan: MigrationPlan,
  taken: Taken,
  given: { importer: Importer; leftovers: Leftover[] },
): Promise<number> {
  const { project } = plan
  const scene = await openScene(project)
  try {
    const observer = createObserver(project, scene.data, scene.graph.makers)
    const workspace = openDvcWorkspace(project.root, loadIgnore(project.root, '', '.dvcignore'), plan.caches)
    const { known } = given.importer
    const imported = (data: DvcData): Entry | undefined => {
      const here = taken.entries.get(data.path)
      return here?.data.md5 === data.md5 && here?.data.folder === data.folder ? here.entry : known(data)
    }
    const view = { workspace, imported, dep: observer.dep, out: observer.out }
    const locked = new Map<string, LockedStage>()
    for (const { stage, ran } of plan.ran) {
      const result = await migrateLocked(stage, ran, { view, fileOf: (name) => paramsFileOf(stage, name) })
      if ('runKey' in result) locked.set(stage.name, result)
      else
        given.leftovers.push({
          at: result.at,
          what: `stage "${stage.name}" will run: ${result.path} is no longer as it was when it last ran, or its data is missing`,
        })
    }
    await updateLock(project, (lock) => {
      for (const [name, stage] of locked) lock.stages.set(name, stage)
    })
    return locked.size
  } finally {
    await scene.data.close()
  }
}

/** Files that are links into DVC's cache become files of their own: they hold what was just stored. */
async function replaceLinks(project: Project, taken: Taken): Promise<void> {
  if (taken.linked.length === 0) return
  const data = await openWorkspaceData(project)
  try {
    for (const path of taken.linked) await data.place(path, taken.entries.get(path)!.entry, { force: true })
  } finally {
    await data.close()
  }
}

/** DVC's files without those that alone name data which stays with DVC: these are still needed, a dvc.lock with its dvc.yaml. */
function replacedFiles(plan: MigrationPlan, taken: Taken): RepoPath[] {
  const kept = new Set<string>()
  for (const { path, at } of dataOf(plan)) {
    if (taken.entries.has(path)) continue
    const file = at.replace(/(:\d+)*$/, '')
    kept.add(file).add(file.replace(/dvc\.lock$/, 'dvc.yaml'))
  }
  return plan.replaced.filter((path) => !kept.has(path))
}

/** Does what the plan says. Every byte that is taken over is checked against DVC's MD5 while it is read, and stored before anything names it. DVC's own
 *  files stay as they are. Safe to repeat.
 *  @throws OBJECT_MISSING when data is nowhere, before anything is written; PATH_TRACKED, DISK_FULL, REMOTE_* */
export async function applyMigration(plan: MigrationPlan, options: MigrationOptions): Promise<MigrationResult> {
  const { project, caches } = plan
  const stores = await openStores(plan)
  const leftovers = [...plan.leftovers]
  const [ignore, dvcIgnore] = [loadIgnore(project.root, ''), loadIgnore(project.root, '', '.dvcignore')]
  const { list } = openDvcWorkspace(project.root, dvcIgnore, caches)
  const saving = await openSaving(project)
  const { signal } = project.surroundings
  const importer = createImporter({
    root: project.root,
    caches,
    stores,
    saving,
    signal,
    list,
    emptyFolders: (folder) => emptyFolders(project.root, folder, (...at) => ignore.ignores(...at) || dvcIgnore.ignores(...at)),
    ignore,
  })
  let taken: Taken
  try {
    taken = await takeData(plan, importer)
    await saving.finish()
  } finally {
    for (const { blobs } of stores) blobs.close?.()
  }
  if (taken.missing.length > 0 && !options.allowMissing) throw missingError(taken.missing)
  for (const { path, object, wrong } of taken.missing)
    leftovers.push({ at: path, what: `its data (${object}) is ${wrong.length > 0 ? 'damaged' : 'nowhere'}; it stays with DVC` })
  const written = await project.locked(async () => {
    const files = await writePointers(plan, taken, options.force)
    files.push(...writeIgnoreFiles(plan, taken.exceptions), ...(await hideFromGit(project, [...taken.entries.keys()])))
    await replaceLinks(project, taken)
    return files
  })
  const locked = plan.pipeline === undefined ? 0 : await writeLock(plan, taken, { importer, leftovers })
  const { branches, leftovers: others } = options.experiments
    ? await branchExperiments(project, plan.experiments)
    : { branches: [], leftovers: plan.experiments.map(describeExperiment) }
  leftovers.push(...others)
  if (locked > 0) written.push(LOCK_FILE as RepoPath)
  return {
    tracked: plan.tracked.flatMap(({ path }) =>
      taken.entries.has(path) ? [{ path, entry: taken.entries.get(path)!.entry }] : [],
    ),
    stages: plan.stages.length,
    locked,
    files: importer.files,
    bytes: importer.bytes,
    written: [...new Set(written)],
    replaced: replacedFiles(plan, taken),
    branches,
    leftovers,
  }
}
