import { MlvError } from '../../base/errors.ts'
import type { RepoPath } from '../../base/paths.ts'
import type { TriggerPlan } from '../../workspace/trigger.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import type { TriggerAnswer } from '../render/trigger.ts'
import { typedPaths } from '../typed-paths.ts'

interface Flags {
  commit?: boolean
  branch?: string
  push?: boolean
  read?: boolean
}

const BRANCH = 'mlv/update'

/** Names the stages that would run again because of each import. */
async function findStages(context: Context, imports: TriggerPlan['imports']): Promise<Pick<TriggerAnswer, 'imports' | 'stages'>> {
  const project = await context.project()
  const [{ readPipeline }, { buildGraph }, { affectedStages }] = await Promise.all([
    import('../../pipeline/open-pipeline.ts'),
    import('../../pipeline/graph.ts'),
    import('../../pipeline/affected.ts'),
  ])
  const pipeline = await readPipeline(project)
  const graph = pipeline && buildGraph(pipeline)
  const affected = (changed: RepoPath[]) => (graph ? affectedStages(graph, changed) : [])
  return {
    imports: imports.map((item) => ({ ...item, stages: affected(item.changed) })),
    stages: affected(imports.flatMap(({ changed }) => changed)),
  }
}

function checkFlags({ commit, branch, push }: Flags): void {
  const [given] = [branch !== undefined ? '--branch' : undefined, push ? '--push' : undefined].filter(Boolean)
  if (given && !commit)
    throw new MlvError('USAGE', `${given} goes with --commit`, {
      hint: `For example: mlv trigger --commit ${given}${push ? '' : ' NAME'}`,
    })
}

async function trigger(context: Context, typed: string[], flags: Flags): Promise<number> {
  checkFlags(flags)
  const project = await context.project()
  const { output } = context
  const [{ planTrigger }, { commitImports }, { importFailures }, { renderTrigger, triggerJson }] = await Promise.all([
    import('../../workspace/trigger.ts'),
    import('../../workspace/commit-imports.ts'),
    import('../../workspace/update.ts'),
    import('../render/trigger.ts'),
  ])
  const { commit = false, branch = BRANCH, push = false, read = false } = flags
  const revision = await project.revision(commit ? 'HEAD' : undefined)
  const plan = await planTrigger(project, typedPaths(project, typed), { revision, read })
  try {
    const found = await findStages(context, plan.imports)
    const committed = commit ? await commitImports(project, plan, { branch, push }) : undefined
    const answer: TriggerAnswer = { ...found, committed }
    output.answer(triggerJson(answer), () => (output.quiet ? '' : renderTrigger(answer)))
    const failed = plan.imports.flatMap(({ path, error }) => (error ? [{ path, error }] : []))
    failed.push(...(committed?.failed ?? []))
    if (failed.length > 1) for (const { error } of failed) output.error(error)
    const failure = importFailures(failed)
    if (failure) throw failure
    return (committed ? committed.paths.length > 0 : plan.looks.size > 0) ? 1 : 0
  } finally {
    plan.close()
  }
}

export const configure: Configure = (command, act) => {
  command
    .argument('[paths...]', 'imported paths; all by default')
    .option('--commit', 'commit the new versions onto a branch; the workspace stays as it is')
    .option('--branch <name>', `the branch to commit to; ${BRANCH} by default`)
    .option('--push', "with --commit: data to the remote, then the branch to git's remote")
    .option('--read', 'read files whose server names no version, and compare them')
  example(command, 'mlv trigger --json', 'mlv trigger --commit --push   # exit 1: a new version was committed')
  command.action(act((context, typed: string[], flags: Flags) => trigger(context, typed, flags)))
}
