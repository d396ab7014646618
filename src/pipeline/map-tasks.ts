import { posix } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { type Oid, oidOfBytes } from '../base/oid.ts'
import { compareUtf8, joinPath, quotePath, type RepoPath, upwards } from '../base/paths.ts'
import type { DataFile } from '../workspace/data.ts'
import { fillCommand, listLine, pathsOf } from './datum-command.ts'
import type { Part } from './datums.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedDep } from './lock.ts'
import { type GivenTask, noteTasks } from './map-task-results.ts'
import type { PipelineScene } from './plan.ts'
import { type PlannedDatum, planDatums } from './plan-datums.ts'
import { cutBatches } from './run-datums.ts'
import { keepInputs, readForTask, refusePartial, sendInputs, type TaskPlan } from './send-task.ts'
import { shellWord } from './shell-line.ts'
import type { Stage } from './stage.ts'
import { makeTask, type Task, type TaskInput } from './task.ts'
import { formatTask } from './task-text.ts'

/** A batch of datums as a task like any other: its deps are the files of these datums and the list that the command gets, and its out has a folder
 *  `0`, `1`, … for what each datum gives. */
interface BatchPlan {
  task: Task
  datums: Oid[]
  /** the file of the list, an input that lies nowhere yet */
  list: Buffer
}

export interface MapTasksPlan extends Pick<TaskPlan, 'absent' | 'view'> {
  stage: Stage
  /** a task for each batch of those that have not run */
  batches: BatchPlan[]
  /** of the stage, with those that have run */
  datums: number
  /** all that the stage reads */
  inputs: TaskInput[]
}

/** Folders that one command line makes: a line of 128 KiB is the longest that systems take. */
const FOLDERS_A_LINE = 200

type FilesBelow = (folder: Part) => readonly DataFile[]

/** The files of parts that are folders, by one pass over what lies at each input. */
async function filesOfFolders(stage: Stage, parts: readonly Part[], view: TaskPlan['view']): Promise<FilesBelow> {
  const found = new Map<string, DataFile[]>(parts.flatMap(({ kind, path }) => (kind === 'folder' ? [[path, []]] : [])))
  if (found.size > 0)
    for (const { path } of stage.each!.inputs)
      for (const file of await view.observer.files(path)) {
        const full = file.path === '' ? path : joinPath(path, file.path)
        for (const at of upwards(full)) found.get(at)?.push({ ...file, path: full })
      }
  return ({ path }) => found.get(path) ?? []
}

/** What a batch reads: all that the stage's datums share, its own files, and its list. */
async function depsOf(
  stage: Stage,
  inputs: StageInputs,
  batch: { parts: readonly Part[]; list: LockedDep; filesBelow: FilesBelow; view: TaskPlan['view'] },
): Promise<LockedDep[]> {
  const cut = new Set(stage.deps.filter((dep) => dep.each).map((dep) => dep.path))
  const deps = new Map(inputs.deps.filter(({ path }) => !cut.has(path)).map((dep) => [dep.path, dep]))
  const add = async (path: RepoPath, { kind, oid, size }: Omit<DataFile, 'path'>) => {
    // Of a notebook the sources count.
    const entry = path.endsWith('.ipynb') ? await batch.view.observer.dep(path) : { kind, oid, size }
    if (entry && !deps.has(path)) deps.set(path, { path, entry })
  }
  for (const part of batch.parts) {
    const { path, kind } = part
    const whole = kind === 'folder' ? inputs.deps.find((dep) => dep.path === path) : undefined
    if (whole) deps.set(path, whole)
    else if (kind === 'folder') for (const file of batch.filesBelow(part)) await add(file.path as RepoPath, file)
    else await add(path, { ...part, kind })
  }
  deps.set(batch.list.path, batch.list)
  return [...deps.values()].sort((a, b) => compareUtf8(a.path, b.path))
}

async function makeBatch(
  stage: Stage,
  inputs: StageInputs,
  { datums, filesBelow, view }: { datums: readonly PlannedDatum[]; filesBelow: FilesBelow; view: TaskPlan['view'] },
): Promise<BatchPlan> {
  const here = stage.wdir === '' ? '.' : stage.wdir
  const out = stage.outs[0]!.path
  const outs = datums.map((_, at) => posix.relative(here, `${out}/${at}`))
  const path = `${out}.datums.jsonl` as RepoPath
  const list = Buffer.from(datums.map(({ datum }, at) => listLine(datum, stage, outs[at]!)).join(''))
  const named = posix.relative(here, path)
  const entry = { kind: 'file' as const, oid: oidOfBytes(list), size: list.length }
  const parts = datums.flatMap(({ datum }) => datum.parts)
  const single = stage.batch === undefined ? datums[0]!.datum : undefined
  const own = single
    ? { MLV_IN: pathsOf(single, stage).join('\n'), MLV_OUT: outs[0]!, MLV_DATUM: single.name, MLV_LIST: named }
    : { MLV_LIST: named }
  const env = inputs.env.filter(({ name }) => !Object.hasOwn(own, name))
  for (const [name, value] of Object.entries(own)) env.push({ name, value })
  const folders: string[] = []
  for (let at = 0; at < outs.length; at += FOLDERS_A_LINE)
    folders.push(
      `mkdir -p ${outs
        .slice(at, at + FOLDERS_A_LINE)
        .map(shellWord)
        .join(' ')}`,
    )
  const given = { datum: single, out: outs[0]!, list: named }
  const { each: _cut, batch: _size, ...plain } = stage
  const task = await makeTask(
    { ...plain, cmd: [...folders, ...stage.cmd.map((line) => fillCommand(line, stage, given))] },
    {
      ...inputs,
      deps: await depsOf(stage, inputs, { parts, list: { path, entry }, filesBelow, view }),
      env: env.sort((a, b) => compareUtf8(a.name, b.name)),
    },
    { hash: async (file) => (file === path ? entry : view.data.hash(file)) },
  )
  return { task, datums: datums.map(({ key }) => key), list }
}

/** Makes a task for each batch of a map stage's datums that have not run. Only reads.
 *  @throws as planTask; OBJECT_MISSING when an input to be cut is not in the workspace */
export async function planMapTasks(scene: PipelineScene, name: string): Promise<MapTasksPlan> {
  const { stage, inputs, view } = await readForTask(scene, name)
  refusePartial(stage, inputs)
  const absent = new Set(inputs.absent.map(({ path }) => path))
  const away = stage.each!.inputs.find(({ path }) => absent.has(path))
  if (away)
    throw new MlvError('OBJECT_MISSING', `Stage "${name}" cuts ${away.path} into datums, which is not in the workspace`, {
      hint: `Get it with "mlv checkout ${quotePath(away.path)}", or with "mlv pull ${quotePath(away.path)}".`,
    })
  const { datums } = await planDatums(stage, inputs, view)
  const todo = datums.filter(({ state }) => state !== 'done')
  const parts = todo.flatMap(({ datum }) => datum.parts)
  const filesBelow = await filesOfFolders(stage, parts, view)
  const batches: BatchPlan[] = []
  for (const batch of cutBatches(todo, stage.batch ?? 1))
    batches.push(await makeBatch(stage, inputs, { datums: batch, filesBelow, view }))
  return { stage, batches, datums: datums.length, inputs: (await makeTask(stage, inputs, view.data)).inputs, absent, view }
}

export interface SentTasks {
  tasks: { task: Task; text: string; datums: number }[]
  /** the remote's name, when it has all inputs */
  remote?: string
}

/** Stores all that the tasks read in the cache, sends it to a remote if asked, and notes which datums each has, so that a run of the stage takes what
 *  they gave.   @throws as applyTask */
export async function applyMapTasks(plan: MapTasksPlan, to: { push: boolean; remote?: string }): Promise<SentTasks> {
  const { view, batches, stage } = plan
  const { project, data } = view
  await keepInputs(plan.inputs, plan)
  const collector = await data.collector()
  const lists: TaskInput[] = []
  for (const { task, list } of batches) {
    const oid = await collector.put(list)
    lists.push(task.inputs.find((input) => input.entry.oid === oid)!)
  }
  await collector.finish()
  const sends = to.push && batches.length > 0
  const sent = sends ? await sendInputs(project, [...plan.inputs, ...lists], to.remote) : undefined
  const tasks = batches.map(({ task, datums }) => {
    const shipped = sent ? { ...task, home: sent.home } : task
    return { task: shipped, text: formatTask(shipped), datums: datums.length }
  })
  noteTasks(
    project,
    stage.name,
    batches.map(({ task, datums }): GivenTask => ({ key: task.key, datums })),
  )
  return sent ? { tasks, remote: sent.name } : { tasks }
}
