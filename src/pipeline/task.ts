import type { Oid } from '../base/oid.ts'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { PlaceSettings } from '../transport/open-blobs.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import type { StageInputs } from './inputs.ts'
import type { LockedDep, LockedParam, LockedVariable } from './lock.ts'
import { needOf } from './resources.ts'
import { expectedKey } from './run-key.ts'
import type { Need } from './schedule.ts'
import type { Stage } from './stage.ts'

/** What is needed of a stage to run its commands. */
export type StageCommands = Pick<Stage, 'name' | 'at' | 'cmd' | 'cmdAt' | 'wdir' | 'shell' | 'outs' | 'timeout' | 'retry'>

/** A path that the commands may read, and what lies there. */
export interface TaskInput {
  path: RepoPath
  entry: Entry
}

/** The remote that has a task's inputs and gets its outs, and the scope of its run record. */
export type TaskHome = Pick<PlaceSettings, 'url' | 'endpoint' | 'region' | 'path_style' | 'sse' | 'sse_kms_key' | 'checksum'> & {
  scope?: string
}

/** One run of a stage, with all that decides its result. Plain data: whoever has it and its inputs' objects can run it, without git and mlv.yaml. */
export interface Task extends StageCommands {
  /** of what follows: see runKey */
  key: Oid
  deps: LockedDep[]
  params: LockedParam[]
  env: LockedVariable[]
  /** all that has to lie there: deps as they are (a notebook with its outputs), and files of params; by path */
  inputs: TaskInput[]
  resources: Omit<Need, 'mutex'>
  home?: TaskHome
}

/** A stage and what it reads now as a task. @throws PIPELINE_INVALID for resources that say nothing */
export async function makeTask(stage: Stage, read: StageInputs, data: Pick<WorkspaceData, 'hash'>): Promise<Task> {
  const { name, at, cmd, cmdAt, wdir, shell, outs, timeout, retry } = stage
  const { deps, params, env } = read
  const { cpus, memory, gpus } = needOf(stage)
  const inputs = new Map<RepoPath, Entry>(deps.map(({ path, entry }) => [path, entry]))
  // A notebook counts by its sources, a file of params by some of its values: the command reads the whole.
  const whole = [
    ...deps.filter(({ path, entry }) => entry.kind !== 'tree' && path.endsWith('.ipynb')),
    ...params.map(({ file }) => ({ path: file })),
  ]
  for (const { path } of whole) {
    const entry = await data.hash(path)
    if (entry) inputs.set(path, entry)
  }
  return {
    ...{ key: expectedKey(stage, read), name, at, cmd, cmdAt, wdir, shell, deps, params, env, retry },
    ...(timeout === undefined ? {} : { timeout }),
    outs: [...outs].sort((a, b) => compareUtf8(a.path, b.path)),
    inputs: Array.from(inputs, ([path, entry]) => ({ path, entry })).sort((a, b) => compareUtf8(a.path, b.path)),
    resources: { cpus, memory, gpus },
  }
}

/** The declared variables as its commands get them, whatever they are set to around it. */
export function taskEnvironment({ env }: Pick<Task, 'env'>): Record<string, string | undefined> {
  return Object.fromEntries(env.map(({ name, value }) => [name, value ?? undefined]))
}
