import { accessSync, constants, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { fileError, MlvError } from '../../base/errors.ts'
import { isOid, type Oid } from '../../base/oid.ts'
import type { Task } from '../../pipeline/task.ts'
import type { TaskEnd } from '../../pipeline/task-result.ts'
import type { ScratchSettings } from '../../workspace/open-scratch.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import type { Output } from '../output.ts'
import { checkReplaced, readTypedFile } from '../typed-file.ts'

interface ExecOptions {
  remote?: string
  endpoint?: string
  region?: string
  profile?: string
  cache?: string
  out?: string
  force?: boolean
}

/** A report of an earlier run must not be taken for this one's, and one that cannot be written is to be known of before hours of work.
 *  @param parse refuses what is no report   @throws as checkReplaced, FILE_UNWRITABLE */
async function clearReport(path: string, parse: (bytes: Uint8Array) => unknown): Promise<void> {
  await checkReplaced(path, { what: 'report', instead: '--json prints it', parse })
  try {
    accessSync(dirname(path), constants.W_OK)
    rmSync(path, { force: true })
  } catch (error) {
    throw fileError(error, 'writing', path)
  }
}

/** What went wrong with the task matters more than that nobody can be told. */
function tellFailure(tell: () => void, output: Output): void {
  try {
    tell()
  } catch (error) {
    if (!(error instanceof MlvError)) throw error
    output.warn(`the report could not be written: ${error.message}`)
  }
}

/** Opens an empty project for one task, and removes all of it at the end. */
async function inScratch<T>(
  { surroundings, output }: Context,
  stores: ScratchSettings,
  work: (project: Project) => Promise<T>,
): Promise<T> {
  const [{ makeScratchFolder }, { openScratch }] = await Promise.all([
    import('../../pipeline/task-scratch.ts'),
    import('../../workspace/open-scratch.ts'),
  ])
  const scratch = makeScratchFolder(tmpdir())
  try {
    const project = openScratch(scratch.folder, stores, surroundings)
    try {
      return await work(project)
    } finally {
      await project.close()
    }
  } finally {
    const left = scratch.remove()
    if (left) output.warn(`${scratch.folder} could not be removed: ${left.message}`)
  }
}

/** A task that `mlv stage task --push` left in a store. @throws OBJECT_MISSING, REMOTE_MISSING */
async function readStored(context: Context, oid: Oid, stores: ScratchSettings): Promise<Buffer> {
  if (!stores.remote)
    throw new MlvError('REMOTE_MISSING', `Which store has the task ${oid} is not said`, { hint: 'Give it with --remote URL.' })
  return inScratch(context, stores, async (project) => (await project.remote()).store.read(oid))
}

function noStore({ name }: Task): MlvError {
  return new MlvError('REMOTE_MISSING', `Which store has what task "${name}" reads, and gets what it writes, is not said`, {
    hint: 'Give it with --remote URL or --cache DIR; "mlv stage task STAGE --push" writes it into the task.',
  })
}

async function execute(
  context: Context,
  { task, stores, force }: { task: Task; stores: ScratchSettings; force: boolean },
  write: (bytes: Uint8Array) => void,
): Promise<TaskEnd> {
  const { output } = context
  const [{ execTask }, { createLocalExecutor }, { createShell }, { createStageOutput }] = await Promise.all([
    import('../../pipeline/exec-task.ts'),
    import('../../pipeline/executor/local.ts'),
    import('../../pipeline/executor/shell.ts'),
    import('../stage-output.ts'),
  ])
  const shown = createStageOutput(output, 1)
  return inScratch(context, stores, (project) =>
    execTask(task, project, {
      executor: createLocalExecutor(createShell()),
      force,
      onStart: () => output.say(`${'running'.padEnd(12)}${task.name}`),
      onOutput: (bytes, from) => {
        write(bytes)
        return shown.onOutput(task.name, bytes, from)
      },
    }),
  )
}

async function exec(context: Context, typed: string, options: ExecOptions): Promise<void> {
  const { surroundings, output } = context
  const { cwd } = surroundings
  const [
    { parseTask, TASK_BYTES },
    { findStores },
    { failedEnd, formatReport, parseReport, reportJson },
    { startNotes },
    { renderEnd },
    { writeFileAtomic },
  ] = await Promise.all([
    import('../../pipeline/task-text.ts'),
    import('../../pipeline/open-task.ts'),
    import('../../pipeline/task-result.ts'),
    import('../../pipeline/run-notes.ts'),
    import('../render/task-result.ts'),
    import('../../base/atomic.ts'),
  ])
  const { endpoint, region, profile, remote, cache, force = false } = options
  const asked = { remote, cache, bucket: { endpoint, region, profile } }
  const bytes = isOid(typed)
    ? await readStored(context, typed, await findStores(asked, undefined, surroundings))
    : await readTypedFile(typed, cwd, { most: TASK_BYTES, wanted: 'the file that "mlv stage task" wrote' })
  const out = options.out === undefined ? undefined : resolve(cwd, options.out)
  if (out !== undefined) await clearReport(out, (found) => parseReport(found, out))
  const task = parseTask(bytes, typed === '-' ? 'stdin' : typed)
  const notes = startNotes()
  const tell = (end: TaskEnd) => {
    const report = { ...end, ...notes.finish() }
    if (out !== undefined) writeFileAtomic(out, formatReport(report))
    return report
  }
  let end: TaskEnd
  try {
    const stores = await findStores(asked, task.home, surroundings)
    if (!stores.remote && stores.cache === undefined) throw noStore(task)
    end = await execute(context, { task, stores, force }, notes.write)
  } catch (error) {
    if (error instanceof MlvError)
      tellFailure(() => {
        const report = tell(failedEnd(task, error))
        if (output.json) output.answer(reportJson(report), () => '')
      }, output)
    throw error
  }
  output.answer(reportJson(tell(end)), () => (output.quiet ? '' : renderEnd(end)))
}

export const configure: Configure = (command, act) => {
  command
    .argument('<task>', 'what "mlv stage task" wrote: a file, - for stdin, or its oid in the store')
    .option(
      '-r, --remote <url>',
      "the store that has its inputs and gets its outs: a url, or a remote's name; by default what the task says",
    )
    .option('--endpoint <url>', 'where an S3-compatible server listens')
    .option('--region <name>', 'region of the bucket')
    .option('--profile <name>', 'profile of your AWS configuration')
    .option('--cache <dir>', "a cache that tasks share; the project's or the settings' by default, else none is kept")
    .option('-o, --out <file>', 'write a report there, also of a failure')
    .option('-f, --force', 'run also what has been run before')
  example(command, 'mlv exec train.task', 'mlv stage task train --push | ssh node7 mlv exec -')
  command.action(act(exec))
}
