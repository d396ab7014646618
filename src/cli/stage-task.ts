import { mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import type { PipelineScene } from '../pipeline/plan.ts'
import type { Context } from './context.ts'
import { checkReplaced } from './typed-file.ts'

interface TaskOptions {
  out?: string
  outDir?: string
  push?: boolean
  remote?: string
}

interface Request {
  name: string
  to: { push: boolean; remote?: string }
  options: TaskOptions
}

async function writeOne({ output, surroundings }: Context, scene: PipelineScene, request: Request): Promise<void> {
  const { name, to, options } = request
  const [{ applyTask, planTask }, { parseTask }, { writeFileAtomic }] = await Promise.all([
    import('../pipeline/send-task.ts'),
    import('../pipeline/task-text.ts'),
    import('../base/atomic.ts'),
  ])
  const out = options.out === undefined ? undefined : resolve(surroundings.cwd, options.out)
  if (out !== undefined)
    await checkReplaced(out, { what: 'task', instead: 'stdout gets it', parse: (found) => parseTask(found, out) })
  const { text, sent, task } = await applyTask(await planTask(scene, name), to)
  if (out === undefined) {
    output.answer({ stage: task.name, key: task.key, ...sent, task: JSON.parse(text) }, () => text)
    return
  }
  writeFileAtomic(out, text)
  const where = sent ? `; ${sent.remote} has all it reads, and the task itself as ${sent.oid}` : ''
  output.answer({ stage: task.name, key: task.key, ...sent, file: options.out }, () =>
    output.quiet ? '' : `wrote ${quotePath(options.out!)}${where}`,
  )
}

/** Tasks of an earlier call would be taken for some of this one's. @throws PATH_OVERLAP, FILE_UNREADABLE */
function checkNewFolder(folder: string, shown: string): void {
  try {
    if (readdirSync(folder).length === 0) return
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    if (systemCode(error) !== 'ENOTDIR') throw fileError(error, 'reading', folder)
  }
  throw new MlvError('PATH_OVERLAP', `${shown} is there already and is not an empty folder`, {
    hint: 'Name a new folder for the tasks.',
  })
}

async function writeMany({ output, surroundings }: Context, scene: PipelineScene, request: Request): Promise<void> {
  const { name, to, options } = request
  const shown = options.outDir!
  const folder = resolve(surroundings.cwd, shown)
  checkNewFolder(folder, shown)
  const [{ applyMapTasks, planMapTasks }, { noDatumsText }, { writeFilesAtomic }, { plural }] = await Promise.all([
    import('../pipeline/map-tasks.ts'),
    import('../pipeline/no-datums.ts'),
    import('../base/atomic.ts'),
    import('./render/amount.ts'),
  ])
  const plan = await planMapTasks(scene, name)
  const { tasks, remote } = await applyMapTasks(plan, to)
  const files = tasks.map(({ text }, at) => ({ path: join(folder, `${at}.task`), bytes: text }))
  try {
    mkdirSync(folder, { recursive: true })
    writeFilesAtomic(files)
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
  const written = tasks.map(({ task, datums }, at) => ({ key: task.key, datums, file: join(shown, `${at}.task`) }))
  output.answer({ stage: name, datums: plan.datums, ...(remote === undefined ? {} : { remote }), tasks: written }, () => {
    if (output.quiet) return ''
    if (plan.datums === 0) return noDatumsText(plan.stage)
    if (written.length === 0) return `all ${plural(plan.datums, 'datum')} of ${name} have run: there is nothing to do`
    const count = written.reduce((sum, { datums }) => sum + datums, 0)
    const span = written.length === 1 ? written[0]!.file : `${written[0]!.file} … ${written.at(-1)!.file}`
    const where = remote === undefined ? '' : `; ${remote} has all they read`
    return `wrote ${plural(written.length, 'task')} of ${plural(count, 'datum')}: ${span}${where}`
  })
}

/** `mlv stage task`: all that a run of a stage needs, in one task, or one for each batch of a map stage's datums. */
export async function writeTasks(context: Context, name: string, options: TaskOptions): Promise<void> {
  const [project, { openScene }, { stageNamed }] = await Promise.all([
    context.project(),
    import('../pipeline/open-scene.ts'),
    import('../pipeline/graph.ts'),
  ])
  const scene = await openScene(project)
  try {
    const push = options.push === true || options.remote !== undefined
    const to = options.remote === undefined ? { push } : { push, remote: options.remote }
    const isMap = stageNamed(scene.graph, name).each !== undefined
    if (isMap && options.outDir === undefined)
      throw new MlvError('USAGE', `Stage "${name}" is a map stage, which makes a task for each batch of its datums`, {
        hint: 'Name a new folder for them with --out-dir.',
      })
    if (!isMap && options.outDir !== undefined)
      throw new MlvError('USAGE', `Stage "${name}" is no map stage: it is one task`, { hint: 'Name a file with -o.' })
    await (isMap ? writeMany : writeOne)(context, scene, { name, to, options })
  } finally {
    await scene.data.close()
  }
}
