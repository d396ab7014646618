import { hasCode, MlvError } from '../base/errors.ts'
import { compareUtf8, isWithin, type RepoPath } from '../base/paths.ts'
import type { WorkspaceData } from '../workspace/data.ts'
import type { Entry } from '../workspace/entry.ts'
import { sameEntry } from '../workspace/entry.ts'
import type { StageGraph } from './graph.ts'
import type { LockedDep, LockedParam, LockedStage, LockedVariable } from './lock.ts'
import type { Observer } from './observer.ts'
import { type Dep, placeText, type Stage } from './stage.ts'

/** What a stage would run with now. */
export interface StageInputs {
  deps: LockedDep[]
  params: LockedParam[]
  env: LockedVariable[]
  /** deps and params that a stage will make anew first: their value now says nothing */
  pending: Set<string>
  /** deps, and tracked data in folders that are deps, that are not all in the workspace: what their pointer, or the lock, says counts */
  absent: LockedDep[]
  /** deps whose pointer says something else than the workspace holds */
  edited: RepoPath[]
  /** what forbids to run it */
  problem?: MlvError
}

/** Where inputs are looked for. */
export interface InputView {
  graph: StageGraph
  observer: Observer
  data: Pick<WorkspaceData, 'away'>
  env: Record<string, string | undefined>
  /** stages that will run before */
  willRun: ReadonlySet<string>
  /** outs that are not there, or not yet, and count as what the lock says */
  expected: ReadonlyMap<RepoPath, Entry>
  /** deps that are nowhere count as what the lock says */
  allowMissing: boolean
}

/** Stages whose outs are, hold, or lie in `path`. */
function makersOf(path: RepoPath, stage: Stage, graph: StageGraph): string[] {
  return graph.upstream.get(stage.name)!.filter((name) => {
    const { outs } = graph.stages.get(name)!
    return outs.some((out) => isWithin(path, out.path) || isWithin(out.path, path))
  })
}

type DepFound = { entry: Entry; absent: boolean; edited: boolean } | 'pending' | 'as locked' | 'missing'

async function findPointer(path: RepoPath, view: InputView): Promise<Entry | 'unknown' | undefined> {
  try {
    return await view.observer.tracked(path)
  } catch (error) {
    // A path inside tracked data, and no cache knows what lies there.
    if (hasCode(error, 'OBJECT_MISSING', 'OBJECT_PURGED')) return 'unknown'
    throw error
  }
}

async function findDep(dep: Dep, stage: Stage, locked: Entry | undefined, view: InputView): Promise<DepFound> {
  const makers = makersOf(dep.path, stage, view.graph)
  if (makers.some((name) => view.willRun.has(name))) return 'pending'
  const expected = view.expected.get(dep.path)
  if (expected) return { entry: expected, absent: true, edited: false }
  const near = makers.length > 0 && [...view.expected.keys()].some((path) => isWithin(dep.path, path) || isWithin(path, dep.path))
  if (near) return locked ? 'as locked' : 'pending'
  const entry = await view.observer.dep(dep.path, dep.each)
  if (makers.length > 0) return entry ? { entry, absent: false, edited: false } : 'missing'
  const pointer = await findPointer(dep.path, view)
  if (pointer === 'unknown' || pointer === undefined) {
    if (entry) return { entry, absent: false, edited: false }
    return locked && (view.allowMissing || pointer === 'unknown') ? 'as locked' : 'missing'
  }
  if (!entry) return { entry: pointer, absent: true, edited: false }
  if (sameEntry(entry, pointer)) return { entry, absent: false, edited: false }
  const away = await view.data.away(dep.path)
  return away ? { entry: away, absent: true, edited: false } : { entry, absent: false, edited: true }
}

function missingDep(dep: Dep, stage: Stage, makers: string[]): MlvError {
  const hint =
    makers.length > 0
      ? `Stage "${makers[0]}" makes it: run "mlv repro ${stage.name}" with it, or "mlv repro ${makers[0]}" first.`
      : `Create it, fetch it with "mlv pull", or take it out of mlv.yaml.`
  return new MlvError('PATH_MISSING', `${placeText(dep.at)}: stage "${stage.name}" needs ${dep.path}, which does not exist`, {
    hint,
  })
}

async function readParams(stage: Stage, view: InputView, inputs: StageInputs): Promise<void> {
  for (const ref of stage.params) {
    if (makersOf(ref.file, stage, view.graph).some((name) => view.willRun.has(name))) {
      inputs.pending.add(ref.file)
      continue
    }
    try {
      inputs.params.push({ file: ref.file, key: ref.key, value: await view.observer.param(ref) })
    } catch (error) {
      if (!hasCode(error, 'PATH_MISSING', 'PATH_INVALID', 'PARAMS_INVALID', 'YAML_INVALID')) throw error
      inputs.problem ??= error
    }
  }
  if (inputs.params.length > 1) inputs.params.sort((a, b) => compareUtf8(a.file, b.file) || compareUtf8(a.key, b.key))
}

function readVariables(stage: Stage, env: InputView['env']): LockedVariable[] {
  const read = (name: string) => ({ name, value: env[name] ?? null })
  return stage.env.map(read).sort((a, b) => compareUtf8(a.name, b.name))
}

/** Looks up everything a stage reads. Only reads. */
export async function readInputs(stage: Stage, locked: LockedStage | undefined, view: InputView): Promise<StageInputs> {
  const inputs: StageInputs = { deps: [], params: [], env: [], pending: new Set(), absent: [], edited: [] }
  for (const dep of stage.deps) {
    const before = locked?.deps.find((one) => one.path === dep.path)
    const found = await findDep(dep, stage, before?.entry, view)
    if (found === 'pending') inputs.pending.add(dep.path)
    else if (found === 'as locked') {
      inputs.deps.push(before!)
      inputs.absent.push(before!)
    } else if (found === 'missing') inputs.problem ??= missingDep(dep, stage, makersOf(dep.path, stage, view.graph))
    else {
      inputs.deps.push({ path: dep.path, entry: found.entry })
      if (found.absent) inputs.absent.push({ path: dep.path, entry: found.entry })
      else if (found.entry.kind === 'tree') {
        const { away, edited } = await view.observer.unlike(dep.path)
        for (const [path, entry] of away) inputs.absent.push({ path, entry })
        inputs.edited.push(...edited)
      }
      if (found.edited) inputs.edited.push(dep.path)
    }
  }
  if (inputs.deps.length > 1) inputs.deps.sort((a, b) => compareUtf8(a.path, b.path))
  await readParams(stage, view, inputs)
  inputs.env = readVariables(stage, view.env)
  return inputs
}
