import type { Command } from 'commander'
import { MlvError } from '../../base/errors.ts'
import { quotePath } from '../../base/paths.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import { wordsBehindDashes } from '../dashes.ts'
import { showResult } from '../stage-result.ts'
import { writeTasks } from '../stage-task.ts'

interface AddOptions {
  dep?: string[]
  param?: string[]
  out?: string[]
  metric?: string[]
  plots?: string[]
  wdir?: string
  force?: boolean
  infer?: boolean
  dryRun?: boolean
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}

function some<T>(key: string, items: T[] | undefined): Record<string, T[]> {
  return items && items.length > 0 ? { [key]: items } : {}
}

/** `mlv stage add -- python train.py` would make a stage called python. @throws USAGE */
async function refuseNameless(
  name: string,
  words: string[],
  { options, command }: { options: AddOptions; command: Command },
): Promise<void> {
  if (wordsBehindDashes(command).length <= words.length) return
  const [{ STAGE_NAME }, { shellWord }] = await Promise.all([
    import('../../pipeline/schema-keys.ts'),
    import('../../pipeline/shell-line.ts'),
  ])
  const given = [name, ...words]
  const script = given.map((word) => /([^/]+)\.\w+$/.exec(word)?.[1]).find((stem) => stem !== undefined && STAGE_NAME.test(stem))
  const infer = options.infer ? '--infer ' : ''
  throw new MlvError('USAGE', 'The stage has no name: all that stands behind "--" is its command', {
    hint: `Put a name before it: mlv stage add ${infer}${script ?? 'NAME'} -- ${given.map(shellWord).join(' ')}`,
  })
}

async function add(context: Context, name: string, words: string[], options: AddOptions, command: Command): Promise<void> {
  await refuseNameless(name, words, { options, command })
  if (words.length === 0)
    throw new MlvError('USAGE', `Stage "${name}" has no command`, {
      hint: `Put it last, after --: mlv stage add ${name} -- python ${name}.py`,
    })
  if (options.dryRun && !options.infer)
    throw new MlvError('USAGE', '--dry-run goes with --infer', { hint: `mlv stage add --infer --dry-run ${name} -- COMMAND` })
  const [project, { addStage, paramItems }, { shellLine }, { writePipeline }] = await Promise.all([
    context.project(),
    import('../../pipeline/edit.ts'),
    import('../../pipeline/shell-line.ts'),
    import('../../pipeline/write-pipeline.ts'),
  ])
  const stage = {
    cmd: shellLine(words),
    ...(options.wdir === undefined ? {} : { wdir: options.wdir }),
    ...some('deps', options.dep),
    ...some('params', paramItems(options.param ?? [])),
    ...some('outs', options.out),
    ...some('metrics', options.metric),
    ...some('plots', options.plots),
  }
  const force = options.force ?? false
  if (options.infer) {
    const { inferAndAdd } = await import('../infer-stage.ts')
    return inferAndAdd(context, project, { name, given: stage, force, dryRun: options.dryRun ?? false })
  }
  const written = await writePipeline(project, (text) => addStage(text, name, { stage, force }), name)
  context.output.answer({ stage: name, ...stage, written }, () =>
    context.output.quiet
      ? ''
      : `added stage ${name}; run it with "mlv repro ${name}"\nto commit: git add ${written.map(quotePath).join(' ')}`,
  )
}

async function list({ output, project }: Context): Promise<void> {
  const [{ openPipeline }, { renderStageList, stageListJson }] = await Promise.all([
    import('../../pipeline/open-pipeline.ts'),
    import('../render/stages.ts'),
  ])
  const graph = await openPipeline(await project())
  output.answer(stageListJson(graph), () => renderStageList(graph))
}

export const configure: Configure = (command, act) => {
  const adding = command
    .command('add <name> [command...]')
    .description('write a stage into mlv.yaml')
    .option('-d, --dep <path>', 'a file or folder it reads (may be given again)', collect)
    .option(
      '-p, --param <key>',
      'a key of params.yaml, or FILE:KEY,KEY, or FILE: for all of a file (may be given again)',
      collect,
    )
    .option('-o, --out <path>', 'a file or folder it writes; mlv stores it (may be given again)', collect)
    .option('-m, --metric <path>', 'a file of metrics it writes; git keeps it (may be given again)', collect)
    .option('--plots <path>', 'a file or folder of plots it writes; git keeps it (may be given again)', collect)
    .option('-w, --wdir <dir>', 'where it runs; the paths are relative to it')
    .option('-f, --force', 'replace a stage of that name')
    .option('--infer', 'run the command once, and find out what it reads and writes (needs strace to see what it reads)')
    .option('-n, --dry-run', 'with --infer: run the command, show the stage, and write nothing into mlv.yaml')
  example(
    adding,
    'mlv stage add train -d train.py -d data -p train.lr -o model.bin -m metrics.json -- python train.py',
    'mlv stage add --infer train -- python train.py',
  )
  adding.action(act(add))
  const listing = command.command('list').description('list the stages in the order they run')
  example(listing, 'mlv stage list --json')
  listing.action(act(list))
  const asking = command
    .command('task <stage>')
    .description('write all that a run of a stage needs, for "mlv exec"')
    .option('-o, --out <file>', 'write it there instead of on stdout')
    .option(
      '--out-dir <dir>',
      'of a map stage: write a task for each batch of datums that have not run, as 0.task, 1.task, … into a new folder',
    )
    .option('--push', 'send what it reads to the remote, so that any machine that reaches it can run it')
    .option('-r, --remote <name>', 'push to another remote than the default one')
  example(
    asking,
    'mlv stage task train --push -o train.task',
    'mlv stage task train --push | ssh node7 mlv exec -',
    'mlv stage task thumbs --push --out-dir jobs',
  )
  asking.action(act(writeTasks))
  const ended = command
    .command('result <report>')
    .description('tell how a task ended, and where its result is, from what "mlv exec -o" wrote; ends as the task did')
    .option('-r, --remote <name>', 'look on another remote than the default one')
    .option('--fetch', 'get the result into the cache, where "mlv repro" takes it')
  example(ended, 'mlv stage result train.report', 'mlv stage result train.report -r cluster --fetch && mlv repro')
  ended.action(act(showResult))
  example(command, 'mlv stage add train -d train.py -o model.bin -- python train.py', 'mlv stage list')
}
