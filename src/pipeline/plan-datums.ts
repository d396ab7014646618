import type { Oid } from '../base/oid.ts'
import { canonicalJson } from './canonical-json.ts'
import { readTable, readUnfinished, type StoredTable } from './datum-table.ts'
import { type Datum, datumKeys, listDatums } from './datums.ts'
import type { DecisionView } from './decide.ts'
import type { StageInputs } from './inputs.ts'
import { placeText, type Stage } from './stage.ts'

export interface PlannedDatum {
  datum: Datum
  key: Oid
  state: 'done' | 'new' | 'failed'
}

export interface DatumPlan {
  datums: PlannedDatum[]
  /** results of earlier runs */
  known: StoredTable['rows']
  /** what the run that mlv.lock records gave, where nothing has run since */
  recorded: StoredTable | undefined
}

/** All that counts for every datum: what the stage reads besides the inputs that are cut into parts. */
function sharedKey(stage: Stage, { deps, params, env }: Pick<StageInputs, 'deps' | 'params' | 'env'>): string {
  const cut = new Set(stage.deps.filter((dep) => dep.each).map((dep) => dep.path))
  return canonicalJson([
    stage.cmd,
    stage.wdir,
    stage.shell,
    deps.filter(({ path }) => !cut.has(path)).map(({ path, entry }) => [path, entry.kind, entry.oid]),
    params.map(({ file, key, value }) => [file, key, value]),
    env.map(({ name, value }) => [name, value]),
  ])
}

/** Cuts a map stage's inputs into datums and looks up which have run already. Only reads. @throws PIPELINE_INVALID when there are too many */
export async function planDatums(
  stage: Stage,
  inputs: Pick<StageInputs, 'deps' | 'params' | 'env'>,
  view: Pick<DecisionView, 'project' | 'data' | 'observer' | 'lock'>,
): Promise<DatumPlan> {
  const each = stage.each!
  const files = []
  for (const { path } of each.inputs) files.push(await view.observer.files(path))
  const shared = sharedKey(stage, inputs)
  const unfinished = readUnfinished(view.project, stage.name)
  const recorded = await readTable(view.lock.stages.get(stage.name)?.datums, view.data)
  const since = unfinished && (await readTable(unfinished.table, view.data)).rows
  const known = since ? new Map([...recorded.rows, ...since]) : recorded.rows
  const failed = new Set<string>([...(unfinished?.failed ?? []), ...(unfinished?.names ?? [])])
  const keyOf = datumKeys(shared)
  const datums = listDatums(each, files, `${placeText(stage.at)}: stage "${stage.name}": each`).map((datum): PlannedDatum => {
    const key = keyOf(datum)
    return { datum, key, state: known.has(key) ? 'done' : failed.has(key) || failed.has(datum.name) ? 'failed' : 'new' }
  })
  return { datums, known, recorded: unfinished ? undefined : recorded }
}
