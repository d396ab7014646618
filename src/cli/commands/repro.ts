import { MlvError } from '../../base/errors.ts'
import type { RepoPath } from '../../base/paths.ts'
import type { Shell } from '../../pipeline/executor/shell.ts'
import type { ReproPlan } from '../../pipeline/plan.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import { tellWritten } from '../tell-written.ts'
import { parseJobs } from '../typed-paths.ts'

type DepChecker = import('../../pipeline/trace/check-deps.ts').DepChecker

interface Options {
  dryRun?: boolean
  force?: boolean
  singleStage?: boolean
  downstream?: boolean
  pull?: boolean
  keepGoing?: boolean
  allowMissing?: boolean
  exitCode?: boolean
  jobs?: number
  explain?: boolean
  runCache?: boolean
  retryFailed?: boolean
  watch?: boolean
  checkDeps?: boolean
}

/** Outs of a stage that ran when mlv was killed come back; a dry run only tells. */
async function putBackKilled({ output }: Context, project: Project, options: Options): Promise<void> {
  const { findAside, recoverAside } = await import('../../pipeline/aside.ts')
  if (options.dryRun)
    for (const stage of findAside(project))
      output.warn(`stage ${stage} was running when mlv was killed; "mlv repro" first puts its earlier outs back`)
  else
    for (const { stage, failed } of recoverAside(project, options.force ?? false)) {
      const where = failed ? `; what it had written is in ${failed}` : ''
      output.warn(`stage ${stage} was running when mlv was killed; its earlier outs are back${where}`)
    }
}

async function makePlan(context: Context, project: Project, given: { stages: string[]; options: Options }): Promise<ReproPlan> {
  const [{ openScene }, { planRepro }] = await Promise.all([
    import('../../pipeline/open-scene.ts'),
    import('../../pipeline/plan.ts'),
  ])
  const { options, stages } = given
  await putBackKilled(context, project, options)
  const wanted = {
    stages,
    force: options.force,
    singleStage: options.singleStage,
    downstream: options.downstream,
    allowMissing: options.allowMissing,
  }
  const scene = await openScene(project)
  if (!options.pull) return planRepro(scene, wanted)
  // What would be fetched is taken to be there.
  if (options.dryRun) return planRepro(scene, { ...wanted, asked: true, lost: new Set() })
  const { pullInputs } = await import('../../pipeline/pull-inputs.ts')
  const { fetched, plan } = await pullInputs(scene, wanted)
  if (fetched.length > 0) context.output.say(`fetched     ${fetched.join(', ')}`)
  return plan
}

/** Prints the plan. With --exit-code, 1 when a command would run; without, what forbids one is an error. */
async function showPlan({ output }: Context, plan: ReproPlan, { exitCode, explain }: Options): Promise<number> {
  const [{ planJson, renderPlan }, { wouldRun }] = await Promise.all([
    import('../render/stages.ts'),
    import('../../pipeline/plan.ts'),
  ])
  output.answer(planJson(plan), () => (output.quiet ? '' : renderPlan(plan, output.verbose, explain)))
  if (exitCode) return wouldRun(plan) ? 1 : 0
  for (const { decision } of plan.stages) if (decision.kind === 'blocked') throw decision.error
  return 0
}

/** What watches stages with --check-deps. Without strace it says so; @throws STAGE_FAILED where undeclared files are to be errors */
async function openChecker(
  { output }: Context,
  { project, graph }: ReproPlan['view'],
  shell: Shell,
): Promise<DepChecker | undefined> {
  const [{ findTracer }, { createDepChecker }] = await Promise.all([
    import('../../pipeline/trace/strace.ts'),
    import('../../pipeline/trace/check-deps.ts'),
  ])
  const tracer = await findTracer(project)
  const fail = project.config.get('repro.undeclared') === 'error'
  if (tracer.kind === 'strace') return createDepChecker(project, graph, { shell, tracer, fail })
  if (fail)
    throw new MlvError('STAGE_FAILED', `Nobody can see what stages read and write: ${tracer.why}`, {
      hint: `${tracer.hint} Or run without --check-deps.`,
    })
  output.warn(`nobody can see what stages read and write: ${tracer.why}. ${tracer.hint}`)
  return undefined
}

/** Tells of a plan that changes nothing, without what carries one out. */
async function showSettled({ output }: Context, plan: ReproPlan): Promise<void> {
  const { createUnchangedLines, eventJson } = await import('../render/stages.ts')
  const lines = createUnchangedLines(plan.stages.length, output.verbose)
  const events = plan.stages.map(({ stage, decision }) => ({ kind: decision.kind as 'unchanged' | 'frozen', stage: stage.name }))
  for (const event of events) {
    const line = lines.take(event)
    if (line !== '') output.say(line)
  }
  const counted = lines.flush()
  if (counted !== '') output.say(counted)
  if (output.json) output.answer({ added: [], stages: events.map(eventJson), written: [] }, () => '')
}

async function apply(
  context: Context,
  project: Project,
  { plan, options }: { plan: ReproPlan; options: Options },
): Promise<boolean> {
  const [
    { applyRepro },
    { createLocalExecutor },
    { createShell },
    { createUnchangedLines, eventJson },
    { createStageOutput },
    { openRunCache },
    { tellCheck },
  ] = await Promise.all([
    import('../../pipeline/run.ts'),
    import('../../pipeline/executor/local.ts'),
    import('../../pipeline/executor/shell.ts'),
    import('../render/stages.ts'),
    import('../stage-output.ts'),
    import('../../pipeline/run-cache.ts'),
    import('../render/stage-check.ts'),
  ])
  const { output } = context
  const { keepGoing = false, jobs = 1 } = options
  const lines = createUnchangedLines(plan.stages.length, output.verbose)
  const stages: unknown[] = []
  let written: RepoPath[] = []
  let ran = false
  const shown = createStageOutput(output, jobs)
  try {
    const runCache = options.runCache === false ? undefined : await openRunCache(project, plan.view.data)
    const { retryFailed } = options
    const shell = createShell()
    const watch = options.checkDeps ? await openChecker(context, plan.view, shell) : undefined
    const ports = {
      executor: createLocalExecutor(shell),
      keepGoing,
      jobs,
      runCache,
      retryFailed,
      watch,
      onOutput: shown.onOutput,
    }
    for await (const event of applyRepro(plan, ports)) {
      if (event.kind === 'ran' || event.kind === 'failed') shown.ended(event.stage, event.kind === 'failed')
      const line = lines.take(event)
      if (line !== '') output.say(line)
      if (event.kind === 'ran' && event.check) tellCheck(output, event.stage, event.check)
      if (event.kind === 'started') shown.started(event.stage)
      if (event.kind === 'written') written = event.files
      else if (event.kind !== 'started' && event.kind !== 'added') stages.push(eventJson(event))
      ran ||= event.kind === 'ran'
    }
  } finally {
    shown.close()
    const counted = lines.flush()
    if (counted !== '') output.say(counted)
    if (output.json) output.answer({ added: plan.edited, stages, written }, () => '')
    await tellWritten(project, output, written)
  }
  return ran
}

async function repro(context: Context, stages: string[], options: Options): Promise<number> {
  if (options.singleStage && options.downstream)
    throw new MlvError('USAGE', '--single-stage and --downstream exclude each other', { hint: 'Give one of them.' })
  if (options.explain && !options.dryRun)
    throw new MlvError('USAGE', '--explain goes with --dry-run', { hint: 'mlv repro --dry-run --explain' })
  if (options.checkDeps && options.dryRun)
    throw new MlvError('USAGE', '--check-deps watches stages that run, and --dry-run runs none', {
      hint: 'Run all again under its eyes: mlv repro --force --check-deps',
    })
  const project = await context.project()
  const plan = await makePlan(context, project, { stages, options })
  try {
    if (options.dryRun) return await showPlan(context, plan, options)
    const { isSettled } = await import('../../pipeline/plan.ts')
    if (isSettled(plan)) {
      await showSettled(context, plan)
      return 0
    }
    const ran = await apply(context, project, { plan, options })
    return options.exitCode && ran ? 1 : 0
  } finally {
    await plan.view.data.close()
  }
}

/** Runs, and again whenever something that is read has changed, until Ctrl-C. */
async function watchRepro(context: Context, stages: string[], options: Options): Promise<number> {
  if (options.dryRun || options.force)
    throw new MlvError('USAGE', `--watch and ${options.dryRun ? '--dry-run' : '--force'} exclude each other`, {
      hint: 'Give one of them.',
    })
  const project = await context.project()
  const [{ watchedPaths, watchPaths }, { openPipeline }] = await Promise.all([
    import('../../pipeline/watch.ts'),
    import('../../pipeline/open-pipeline.ts'),
  ])
  for (;;) {
    let paths: RepoPath[] = ['mlv.yaml' as RepoPath]
    try {
      // The run says what is to be warned of.
      const silent = { ...project, surroundings: { ...project.surroundings, warn: () => {} } }
      paths = watchedPaths(await openPipeline(silent))
    } catch (error) {
      if (!(error instanceof MlvError)) throw error
    }
    // Begun before the run: what changes meanwhile counts, too.
    const watch = await watchPaths(project, paths)
    try {
      await repro(context, stages, options)
    } catch (error) {
      if (!(error instanceof MlvError) || error.code === 'INTERRUPTED') throw error
      context.output.error(error)
    }
    context.output.say(`watching ${paths.length} path${paths.length === 1 ? '' : 's'}; Ctrl-C ends it`)
    try {
      if (!(await watch.next())) return 0
    } finally {
      watch.close()
    }
  }
}

export const configure: Configure = (command, act) => {
  command
    .argument('[stages...]', 'these and all they wait for; all stages without')
    .option('-n, --dry-run', 'show what would run, and why')
    .option('--explain', 'with --dry-run: every reason with its old and new value')
    .option('-f, --force', 'run also what has not changed, and replace outs that are saved nowhere')
    .option('-s, --single-stage', 'only the named stages')
    .option('--downstream', 'the named stages and all that wait for them')
    .option('--pull', 'fetch what the stages that will run read, and nothing else')
    .option('-j, --jobs <count>', 'stages at once, as far as their resources allow', parseJobs)
    .option('-k, --keep-going', 'go on with stages that do not wait for a failed one')
    .option('--watch', 'run again whenever something that stages read changes, until Ctrl-C')
    .option('--retry-failed', 'of map stages, run only the datums that failed')
    .option('--no-run-cache', 'run also what has been run with the same inputs before')
    .option('--check-deps', 'name what stages that run read and write without declaring it (needs strace)')
    .option('--allow-missing', 'data that is not here counts as what mlv.lock and the pointers say')
    .option('--exit-code', 'exit with 1 when something ran, or would')
  example(
    command,
    'mlv repro',
    'mlv repro train --dry-run',
    'mlv repro --dry-run --allow-missing --exit-code   # a check for CI, without data',
  )
  command.action(
    act((context, stages: string[], options: Options) => (options.watch ? watchRepro : repro)(context, stages, options)),
  )
}
