import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { compareUtf8, foldersAround, quotePath, type RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { parsePlace } from '../transport/place.ts'
import type { RemoteConfig } from '../workspace/config.ts'
import { type Entry, sameEntry } from '../workspace/entry.ts'
import { type Carried, sendEntries } from '../workspace/fetch-entries.ts'
import { IGNORE_FILE } from '../workspace/ignore.ts'
import type { Project } from '../workspace/project.ts'
import { registerOnce } from '../workspace/sync.ts'
import type { DecisionView } from './decide.ts'
import { stageNamed } from './graph.ts'
import { readInputs, type StageInputs } from './inputs.ts'
import { type PipelineScene, planRepro } from './plan.ts'
import { placeText, type Stage } from './stage.ts'
import { makeTask, type Task, type TaskHome, type TaskInput } from './task.ts'
import { formatTask, HOME_KEYS } from './task-text.ts'

export interface TaskPlan {
  task: Task
  /** inputs that the workspace does not hold */
  absent: ReadonlySet<RepoPath>
  view: DecisionView
}

/** Only by its run record does a result come back. @throws USAGE for what has none */
function refuseUnrecorded(stage: Stage): void {
  const why = stage.frozen ? 'is frozen' : stage.always ? 'always runs' : whyHere(stage)
  if (why === undefined) return
  const name = quotePath(stage.name)
  throw new MlvError('USAGE', `${placeText(stage.at)}: stage "${stage.name}" ${why}, so its result would not come back`, {
    hint: stage.frozen ? `Let it run again with "mlv unfreeze ${name}" first.` : `Run it here with "mlv repro ${name}".`,
  })
}

/** Why a result cannot be recorded, whoever runs the commands. */
export function whyHere({ outs }: Pick<Stage, 'outs'>): string | undefined {
  const kept = outs.find((out) => out.persist)
  if (kept) return `keeps ${kept.path} from run to run`
  return outs.length === 0 ? 'has no outs' : undefined
}

/** What hides files of the outs from mlv must hide them elsewhere, too. */
function ignoreFiles(stage: Stage, root: string): RepoPath[] {
  const folders = foldersAround(stage.outs.map(({ path }) => path))
  return Array.from(folders, (folder) => (folder === '' ? IGNORE_FILE : `${folder}/${IGNORE_FILE}`) as RepoPath).filter((path) =>
    lstatSync(join(root, path), { throwIfNoEntry: false })?.isFile(),
  )
}

/** What a stage would read now as a task. Only reads.
 *  @throws STAGE_UNKNOWN, USAGE for a stage that runs here alone, WORKSPACE_OUTDATED when another stage has to run first, PATH_MISSING */
export async function readForTask(
  scene: PipelineScene,
  name: string,
): Promise<{ stage: Stage; inputs: StageInputs; view: DecisionView }> {
  const { project } = scene
  const stage = stageNamed(scene.graph, name)
  refuseUnrecorded(stage)
  const { stages, view } = await planRepro(scene, { stages: [stage.name] })
  const before = stages.find((one) => one.stage !== stage && ['run', 'blocked'].includes(one.decision.kind))
  if (before)
    throw new MlvError('WORKSPACE_OUTDATED', `Stage "${stage.name}" waits for "${before.stage.name}", which would run first`, {
      hint: `Run "mlv repro ${quotePath(before.stage.name)}", then make the task.`,
    })
  const inputs = await readInputs(stage, scene.lock.stages.get(stage.name), { ...view, env: project.surroundings.env })
  if (inputs.problem) throw inputs.problem
  return { stage, inputs, view }
}

/** A folder is stored as it lies here. @throws OBJECT_MISSING for one that lacks tracked data */
export function refusePartial({ name }: Pick<Stage, 'name'>, { deps, absent }: StageInputs): void {
  const own = new Set(deps.map(({ path }) => path))
  const away = absent.find(({ path }) => !own.has(path))
  if (away)
    throw new MlvError('OBJECT_MISSING', `Stage "${name}" reads ${away.path}, which is not in the workspace`, {
      hint: `Get it with "mlv checkout ${quotePath(away.path)}", or with "mlv pull ${quotePath(away.path)}".`,
    })
}

/** Makes a task of a stage, not a map stage, and of what it would read now. Only reads. @throws as readForTask */
export async function planTask(scene: PipelineScene, name: string): Promise<TaskPlan> {
  const { project, data } = scene
  const { stage, inputs, view } = await readForTask(scene, name)
  refusePartial(stage, inputs)
  const task = await makeTask(stage, inputs, data)
  const known = new Set(task.inputs.map(({ path }) => path))
  for (const path of ignoreFiles(stage, project.root)) {
    const entry = known.has(path) ? undefined : await data.hash(path)
    if (entry) task.inputs.push({ path, entry })
  }
  task.inputs.sort((a, b) => compareUtf8(a.path, b.path))
  return { task, absent: new Set(inputs.absent.map(({ path }) => path)), view }
}

function lacking({ path }: TaskInput, carried: Exclude<Carried, { kind: 'whole' }>, where: string): MlvError {
  const { kind, oid } = carried
  switch (kind) {
    case 'purged':
      return new MlvError('OBJECT_PURGED', `${path} holds data that was purged (${oid})`, {
        hint: 'Nothing brings it back: run the stage without it.',
      })
    case 'damaged':
      return new MlvError('OBJECT_CORRUPT', `${path} is damaged ${where} (${oid})`, {
        hint: 'Whoever has the data mends it with "mlv push", or sends it again with "mlv stage task STAGE --push".',
      })
    case 'missing':
      return new MlvError('OBJECT_MISSING', `${path} is not whole ${where} (${oid})`, {
        hint: 'Where the data is, send it with "mlv stage task STAGE --push".',
      })
  }
}

/** Carries the objects of all inputs. @throws OBJECT_MISSING, OBJECT_PURGED, OBJECT_CORRUPT naming the input that lacks one */
export async function carryInputs(
  inputs: readonly TaskInput[],
  carry: (entries: Entry[]) => Promise<Carried>,
  where: string,
): Promise<void> {
  const all = await carry(inputs.map(({ entry }) => entry))
  if (all.kind === 'whole') return
  for (const input of inputs) {
    const one = await carry([input.entry])
    if (one.kind !== 'whole') throw lacking(input, one, where)
  }
}

function homeOf(project: Project, { url, ...settings }: RemoteConfig): TaskHome {
  const { root, surroundings, config } = project
  const place = parsePlace(url, { root, env: surroundings.env })
  const shared = Object.entries(settings).filter(([key]) => (HOME_KEYS as readonly string[]).includes(key))
  const scope = config.get('run_cache.write')
  return {
    ...Object.fromEntries(shared),
    url: place.kind === 'folder' ? place.folder : url,
    ...(scope === undefined ? {} : { scope }),
  }
}

/** Stores what lies there. @throws FILE_CHANGED */
export async function keepInputs(
  inputs: readonly TaskInput[],
  { absent, view }: Pick<TaskPlan, 'absent' | 'view'>,
): Promise<void> {
  const present = inputs.filter(({ path }) => !absent.has(path))
  const kept = await view.observer.keep(present.map(({ path }) => path))
  const changed = present.find(({ path, entry }) => !sameEntry(entry, kept.get(path)))
  if (changed)
    throw new MlvError('FILE_CHANGED', `${changed.path} changed while the task was made`, { hint: 'Run the command again.' })
}

/** Sends all inputs, which the cache has, to a remote. @returns what tasks say of it   @throws as applyTask */
export async function sendInputs(
  project: Project,
  inputs: readonly TaskInput[],
  remote: string | undefined,
): Promise<{ name: string; store: ObjectStore; home: TaskHome }> {
  const { name, store } = await project.remote(remote, 'write')
  await registerOnce(project, store)
  await carryInputs(inputs, (entries) => sendEntries(project, entries, store), 'here or on the remote')
  return { name, store, home: homeOf(project, project.config.remote(name)!) }
}

export interface SentTask {
  task: Task
  text: string
  /** the remote's name, when it has all inputs, and the text as the object `oid` */
  sent?: { remote: string; oid: Oid }
}

/** Stores all that the task reads in the cache, and sends it to a remote if asked.
 *  @throws FILE_CHANGED, OBJECT_MISSING, REMOTE_MISSING, REMOTE_UNKNOWN, and what the remote throws */
export async function applyTask(plan: TaskPlan, to: { push: boolean; remote?: string }): Promise<SentTask> {
  const { task, view } = plan
  const { project, data } = view
  await keepInputs(task.inputs, plan)
  if (!to.push) return { task, text: formatTask(task) }
  const { name, store, home } = await sendInputs(project, task.inputs, to.remote)
  const shipped = { ...task, home }
  const text = formatTask(shipped)
  const bytes = Buffer.from(text)
  const collector = await data.collector()
  const oid = await collector.put(bytes)
  await collector.finish()
  await sendEntries(project, [{ kind: 'file', oid, size: bytes.length }], store)
  return { task: shipped, text, sent: { remote: name, oid } }
}
