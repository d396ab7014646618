import { quotePath } from '../../base/paths.ts'
import type { MigrationResult } from '../../migrate/apply-dvc.ts'
import { describeExperiment } from '../../migrate/dvc-experiments.ts'
import type { Leftover } from '../../migrate/dvc-out.ts'
import { dataOf, type MigrationPlan } from '../../migrate/plan-dvc.ts'
import { formatBytes, plural } from './amount.ts'

function leftoverLines(leftovers: readonly Leftover[]): string[] {
  if (leftovers.length === 0) return []
  return ['', 'not taken over as it was:', ...leftovers.map(({ at, what }) => `  ${at}: ${what}`)]
}

function plannedLeftovers({ leftovers, experiments }: MigrationPlan, makesBranches: boolean): Leftover[] {
  return makesBranches ? leftovers : [...leftovers, ...experiments.map(describeExperiment)]
}

export function planJson(plan: MigrationPlan, makesBranches: boolean): unknown {
  return {
    tracked: plan.tracked.map(({ path }) => path),
    stages: plan.stages.map(({ name }) => name),
    ran: plan.ran.map(({ stage }) => stage.name),
    replaced: plan.replaced,
    experiments: plan.experiments,
    leftovers: plannedLeftovers(plan, makesBranches),
  }
}

export function renderPlan(plan: MigrationPlan, makesBranches: boolean): string {
  const bytes = dataOf(plan).reduce((sum, { size = 0 }) => sum + size, 0)
  return [
    `would take over ${formatBytes(bytes)} and write`,
    `  ${plural(plan.tracked.length, 'pointer')}`,
    ...(plan.pipeline === undefined ? [] : [`  mlv.yaml with ${plural(plan.stages.length, 'stage')}`]),
    ...(plan.ran.length === 0 ? [] : [`  mlv.lock with the last run of ${plural(plan.ran.length, 'stage')}`]),
    ...(makesBranches ? plan.experiments.map(({ branch }) => `  branch ${branch}`) : []),
    ...leftoverLines(plannedLeftovers(plan, makesBranches)),
  ].join('\n')
}

export function resultJson({ tracked, ...result }: MigrationResult): unknown {
  return { tracked: tracked.map(({ path, entry }) => ({ path, ...entry })), ...result }
}

export function renderResult(result: MigrationResult): string {
  return [
    `took over ${plural(result.files, 'file')}, ${formatBytes(result.bytes)}, each checked against its MD5`,
    `wrote ${plural(result.tracked.length, 'pointer')}, ${plural(result.stages, 'stage')}, the last run of ${result.locked}`,
    ...(result.branches.length === 0 ? [] : [`branches of experiments: ${result.branches.join(', ')}`]),
    ...leftoverLines(result.leftovers),
    ...(result.replaced.length === 0
      ? []
      : ['', "DVC's files are still there. Once all is as you want it:", `  git rm ${result.replaced.map(quotePath).join(' ')}`]),
  ].join('\n')
}
