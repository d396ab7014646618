import { shortId } from '../../git/short-id.ts'
import type { ExportedRun, ExportPlan, ExportResult } from '../../mlflow/export.ts'
import { printable } from '../output.ts'
import { plural } from './amount.ts'
import { renderTable } from './table.ts'

const PLANNED = { create: 'to create', complete: 'to complete', unchanged: 'unchanged', deleted: 'deleted in MLflow' } as const
const DONE = { created: 'created', completed: 'completed', unchanged: 'unchanged', deleted: 'deleted in MLflow' } as const

/** What --json answers for a plan. */
export function exportPlanAnswer(plan: ExportPlan, url: string): unknown {
  return {
    trackingUri: url,
    dryRun: true,
    experiment: { name: plan.experiment.name, id: plan.experiment.id ?? null },
    reachable: plan.unseen === undefined,
    runs: plan.steps.map((step) => ({
      commit: step.run.commit,
      name: 'found' in step ? step.found.name : step.run.name,
      outcome: step.kind,
      runId: 'found' in step ? step.found.id : null,
      params: step.run.params.length,
      metrics: step.run.metrics.length,
      datasets: step.run.datasets.length,
    })),
    notes: plan.notes,
  }
}

/** What --json answers for an export. */
export function exportAnswer(result: ExportResult, notes: string[], url: string): unknown {
  return { trackingUri: url, dryRun: false, experiment: result.experiment, runs: result.runs, notes }
}

/** What would happen to each commit that is not in MLflow as it should be. */
export function renderExportPlan(plan: ExportPlan, url: string): string {
  const { name, id } = plan.experiment
  const rows = plan.steps
    .filter((step) => step.kind === 'create' || step.kind === 'complete')
    .map(({ kind, run }) => [
      kind,
      shortId(run.commit),
      run.name,
      plural(run.params.length, 'param'),
      plural(run.metrics.length, 'metric'),
      run.datasets.length > 0 ? plural(run.datasets.length, 'dataset') : '',
    ])
  const counts = countKinds(
    PLANNED,
    plan.steps.map((step) => step.kind),
  )
  const place = `experiment "${printable(name)}" at ${url}${id === undefined && plan.unseen === undefined ? ', which would be created' : ''}`
  return [renderTable(rows), `would export to ${place}: ${counts}`].filter(Boolean).join('\n')
}

/** What happened, one line for each run written. */
export function renderExport({ experiment, runs }: ExportResult, url: string): string {
  const written = (run: ExportedRun) => run.outcome === 'created' || run.outcome === 'completed'
  const rows = runs
    .filter(written)
    .map((run) => [DONE[run.outcome], shortId(run.commit), run.name, `${url}/#/experiments/${experiment.id}/runs/${run.runId}`])
  const counts = countKinds(
    DONE,
    runs.map((run) => run.outcome),
  )
  return [renderTable(rows), `experiment "${printable(experiment.name)}" at ${url}: ${counts}`].filter(Boolean).join('\n')
}

/** Counts in the order of `kinds`, those that are none left out. */
function countKinds(kinds: Record<string, string>, found: string[]): string {
  const counts = Object.entries(kinds).flatMap(([kind, words]) => {
    const count = found.filter((one) => one === kind).length
    return count === 0 ? [] : [`${count} ${words}`]
  })
  return counts.join(', ') || 'no runs'
}
