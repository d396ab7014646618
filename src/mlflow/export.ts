import { setTimeout as sleep } from 'node:timers/promises'
import { mapBounded } from '../base/concurrency.ts'
import { hasCode, MlvError } from '../base/errors.ts'
import { shortId } from '../git/short-id.ts'
import type { MlflowClient } from './client.ts'
import { DIGEST_TAG, type ExportRun, KEY_TAG } from './run.ts'
import { datasetIdentity, LIMITS, type Metric, type MlflowExperiment, type MlflowRun, planBatches } from './wire.ts'

/** Runs written at once: enough to hide the network, few enough for a server on SQLite. */
const RUNS_AT_ONCE = 4
/** Up to here, one search per run costs less than reading every run of the experiment. */
const FEW = 20

export type ExportStep =
  | { kind: 'create'; run: ExportRun }
  /** an interrupted export left it, or this version of mlv says more than the one that made it */
  | { kind: 'complete'; run: ExportRun; found: MlflowRun }
  | { kind: 'unchanged'; run: ExportRun; found: MlflowRun }
  /** someone deleted it in MLflow: it stays deleted */
  | { kind: 'deleted'; run: ExportRun; found: MlflowRun }

export interface ExportPlan {
  experiment: { name: string /** undefined: will be created */; id: string | undefined }
  /** oldest commit first */
  steps: ExportStep[]
  /** what the user should know, without repeats */
  notes: string[]
  /** why the server could not be asked; every run then counts as new */
  unseen: string | undefined
}

export interface ExportedRun {
  outcome: 'created' | 'completed' | 'unchanged' | 'deleted'
  runId: string
  commit: string
  name: string
}

export interface ExportResult {
  experiment: { name: string; id: string }
  runs: ExportedRun[]
}

function checkExperimentName(name: string): void {
  if (name.trim() !== '' && [...name].length <= LIMITS.experimentName) return
  throw new MlvError('USAGE', `An MLflow experiment's name has 1 to ${LIMITS.experimentName} characters`, {
    hint: 'Give another with --experiment NAME.',
  })
}

async function findExperiment(client: MlflowClient, name: string): Promise<MlflowExperiment | undefined> {
  const experiment = await client.experimentByName(name)
  if (experiment?.stage === 'deleted')
    throw new MlvError('MLFLOW_FAILED', `The experiment "${name}" is deleted in MLflow, and its name stays taken`, {
      hint: `Restore it with "mlflow experiments restore --experiment-id ${experiment.id}", or give another with --experiment NAME.`,
    })
  return experiment
}

async function findRuns(client: MlflowClient, experimentId: string, runs: ExportRun[]): Promise<Map<string, MlflowRun[]>> {
  const filters = runs.length <= FEW ? [...new Set(runs.map((run) => filterOf(run)))] : [`tags.\`${KEY_TAG}\` LIKE '%'`]
  const pages = await mapBounded(filters, RUNS_AT_ONCE, (filter) => client.searchRuns(experimentId, filter))
  const found = new Map<string, MlflowRun[]>()
  for (const run of pages.flat()) {
    const key = run.tags.get(KEY_TAG) ?? ''
    found.set(key, [...(found.get(key) ?? []), run])
  }
  return found
}

/** By the commit alone, which needs no quoting; other projects of the repository are sorted out by their whole key. */
function filterOf(run: ExportRun): string {
  return `tags.\`${KEY_TAG}\` LIKE '${run.commit}%'`
}

/** The run that counts of those with one key: alive before deleted, complete before incomplete, then the lowest id, so that every client picks the same. */
function pick(runs: MlflowRun[], digest: string): MlflowRun | undefined {
  const rank = (run: MlflowRun) => (run.stage === 'deleted' ? 2 : run.tags.get(DIGEST_TAG) === digest ? 0 : 1)
  return [...runs].sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1))[0]
}

/** Params are written once: a value that another version of mlv wrote otherwise stays. */
function keptParams(step: ExportStep): string[] {
  if (step.kind !== 'complete') return []
  const { run, found } = step
  return run.params
    .filter((param) => found.params.has(param.key) && found.params.get(param.key) !== param.value)
    .map((param) => `commit ${shortId(run.commit)}: MLflow keeps the value it has of param "${param.key}"`)
}

function stepFor(run: ExportRun, found: MlflowRun | undefined): ExportStep {
  if (!found) return { kind: 'create', run }
  if (found.stage === 'deleted') return { kind: 'deleted', run, found }
  return { kind: found.tags.get(DIGEST_TAG) === run.digest ? 'unchanged' : 'complete', run, found }
}

/** Compares the runs with what the server holds. Only reads. With `allowUnseen` a server that does not answer is no error: every run counts as new.
 *  @throws MLFLOW_FAILED, also where the experiment is deleted; USAGE for its name */
export async function planExport(
  runs: ExportRun[],
  client: MlflowClient,
  options: { experiment: string; allowUnseen?: boolean },
): Promise<ExportPlan> {
  const name = options.experiment
  checkExperimentName(name)
  const ordered = [...runs].sort((a, b) => a.time - b.time)
  const notes = ordered.flatMap((run) => run.notes)
  try {
    const experiment = await findExperiment(client, name)
    const found = experiment ? await findRuns(client, experiment.id, ordered) : new Map<string, MlflowRun[]>()
    const steps = ordered.map((run) => {
      const same = found.get(run.key) ?? []
      const counts = pick(same, run.digest)
      if (same.filter((one) => one.stage === 'active').length > 1)
        notes.push(`commit ${shortId(run.commit)} has more than one run in MLflow; mlv keeps to ${counts!.id}, delete the others`)
      return stepFor(run, counts)
    })
    notes.push(...steps.flatMap(keptParams))
    return { experiment: { name, id: experiment?.id }, steps, notes: [...new Set(notes)], unseen: undefined }
  } catch (error) {
    if (!options.allowUnseen || !hasCode(error, 'MLFLOW_FAILED')) throw error
    const steps = ordered.map((run): ExportStep => ({ kind: 'create', run }))
    return { experiment: { name, id: undefined }, steps, notes: [...new Set(notes)], unseen: error.message }
  }
}

/** SQL databases have no infinity; MLflow stores the largest double instead. */
function sameNumber(a: number, b: number): boolean {
  const stored = (value: number) => (Math.abs(value) === Number.POSITIVE_INFINITY ? Math.sign(value) * Number.MAX_VALUE : value)
  return Object.is(stored(a), stored(b)) || a === b
}

function hasMetric(found: MlflowRun, metric: Metric): boolean {
  const there = found.metrics.get(metric.key)
  return (
    there !== undefined &&
    there.timestamp === metric.timestamp &&
    there.step === metric.step &&
    sameNumber(there.value, metric.value)
  )
}

/** Tells the server what `found` lacks. Params can be written once, so those already there are left out; so are metrics and datasets,
 *  because not every server drops repeats. The digest comes last: whoever finds it may rely on the rest. */
async function fill(run: ExportRun, found: MlflowRun, client: MlflowClient): Promise<void> {
  const params = run.params.filter((param) => !found.params.has(param.key))
  const metrics = run.metrics.filter((metric) => !hasMetric(found, metric))
  const datasets = run.datasets.filter((dataset) => !found.datasets.has(datasetIdentity(dataset.name, dataset.digest)))
  for (const batch of planBatches(params, metrics)) await client.logBatch(found.id, batch)
  if (datasets.length > 0) await client.logInputs(found.id, datasets)
}

async function finish(run: ExportRun, runId: string, client: MlflowClient): Promise<void> {
  await client.finishRun(runId, run.time)
  await client.setTag(runId, { key: DIGEST_TAG, value: run.digest })
}

async function createRun(run: ExportRun, experimentId: string, client: MlflowClient): Promise<ExportedRun> {
  const find = async () => {
    const runs = await client.searchRuns(experimentId, filterOf(run))
    return pick(
      runs.filter((one) => one.tags.get(KEY_TAG) === run.key),
      run.digest,
    )
  }
  const request = { experimentId, name: run.name, userId: run.userId, startTime: run.time, tags: run.tags }
  const created = await client.createRun(request, find)
  await fill(run, created, client)
  // MLflow cannot refuse a second run with the same key. Where another export made one meanwhile, both see both, and all but one give way.
  const counts = await find()
  if (counts && counts.id !== created.id && counts.stage === 'active') {
    await client.deleteRun(created.id)
    return { outcome: 'unchanged', runId: counts.id, commit: run.commit, name: counts.name }
  }
  await finish(run, created.id, client)
  const first = await firstComplete(run, experimentId, client)
  if (first && first.id !== created.id) {
    await client.deleteRun(created.id)
    return { outcome: 'unchanged', runId: first.id, commit: run.commit, name: first.name }
  }
  return { outcome: 'created', runId: created.id, commit: run.commit, name: run.name }
}

/** Another export may have looked before this one set its digest, and kept its own run: once each has either its digest or is gone,
 *  the lowest id of the complete ones is the same for all. One whose export died is waited for 5 s. */
async function firstComplete(run: ExportRun, experimentId: string, client: MlflowClient): Promise<MlflowRun | undefined> {
  for (let tries = 0; ; tries++) {
    const alive = (await client.searchRuns(experimentId, filterOf(run))).filter(
      (one) => one.tags.get(KEY_TAG) === run.key && one.stage === 'active',
    )
    const complete = alive.filter((one) => one.tags.get(DIGEST_TAG) === run.digest)
    if (complete.length === alive.length || tries === 20) return complete.sort((a, b) => (a.id < b.id ? -1 : 1))[0]
    await sleep(250)
  }
}

async function applyStep(step: ExportStep, experimentId: string, client: MlflowClient): Promise<ExportedRun> {
  const { run } = step
  switch (step.kind) {
    case 'create':
      return createRun(run, experimentId, client)
    case 'complete':
      await fill(run, step.found, client)
      await finish(run, step.found.id, client)
      return { outcome: 'completed', runId: step.found.id, commit: run.commit, name: step.found.name }
    case 'unchanged':
    case 'deleted':
      return { outcome: step.kind, runId: step.found.id, commit: run.commit, name: step.found.name }
  }
}

/** Makes the server hold what the plan says. Interrupted at any point, the next export completes it; repeated, it changes nothing.
 *  @throws MLFLOW_FAILED */
export async function applyExport(plan: ExportPlan, client: MlflowClient): Promise<ExportResult> {
  const { name } = plan.experiment
  const id = plan.experiment.id ?? (await client.createExperiment(name)).id
  const runs = await mapBounded(plan.steps, RUNS_AT_ONCE, (step) => applyStep(step, id, client))
  return { experiment: { name, id }, runs }
}
