import { mkdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileError, MlvError } from '../../base/errors.ts'
import { quotePath, type RepoPath } from '../../base/paths.ts'
import { checkParents } from '../../workspace/tracked.ts'
import { type Aside, setAside } from '../aside.ts'
import { runCommands } from '../run-command.ts'
import { runDatums } from '../run-datums.ts'
import { changedDeps, placeAbsent, recordOuts, withLog } from '../run-stage.ts'
import { type Task, taskEnvironment } from '../task.ts'
import type { Executor, TaskPlace } from './executor.ts'
import type { Shell } from './shell.ts'

/** How a folder below .git is named to the user, who types it where the command was typed. */
function shownFolder(cwd: string, folder: string): string {
  const inside = relative(cwd, folder)
  return quotePath(inside.startsWith('../../') ? folder : inside)
}

function withFailed(error: unknown, cwd: string, failed: string | undefined, hadOuts: boolean): unknown {
  if (!(error instanceof MlvError)) return error
  const sentences = [error.hint?.trim()]
  if (hadOuts) sentences.push('Its earlier outs are in place.')
  if (failed) sentences.push(`What it had written is in ${shownFolder(cwd, failed)}.`)
  const hint = sentences.filter(Boolean).join(' ')
  return new MlvError(error.code, error.message, { hint: hint || 'Its output above says why.', cause: error.cause })
}

/** Runs tasks and datums where their inputs lie. Of a task it sets earlier outs aside, runs the commands, and stores what they made. */
export function createLocalExecutor(shell: Shell): Executor {
  return {
    async run(task, place) {
      const { project, turn } = place
      const aside = await turn(() => prepare(task, place))
      try {
        const start = performance.now()
        await withLog(project, task.name, place.onOutput, (onOutput) =>
          runCommands(task, project, { shell, aside, onOutput, env: taskEnvironment(task) }),
        )
        const seconds = (performance.now() - start) / 1000
        return await turn(async () => {
          place.check?.()
          const changed = await changedDeps(task, place)
          const outs = await recordOuts(task, place, place.saveAll)
          aside.drop()
          return { outs, changed, seconds }
        })
      } catch (error) {
        return turn(async () => {
          const failed = aside.putBack()
          place.observer.forget()
          throw withFailed(error, project.surroundings.cwd, place.isScratch ? undefined : failed, aside.hadOuts)
        })
      }
    },
    runDatums: (datums, place) => runDatums(datums, { ...place, shell }),
  }
}

/** Those of some paths that are files, unchanged since they were last seen, whose bytes the cache has. */
async function savedFiles(paths: readonly RepoPath[], { data }: Pick<TaskPlace, 'data'>): Promise<Set<RepoPath>> {
  const saved = new Set<RepoPath>()
  for (const path of paths) {
    const entry = data.glance(path)
    if (entry && (await data.isCached(entry))) saved.add(path)
  }
  return saved
}

async function prepare(task: Task, place: TaskPlace): Promise<Aside> {
  const { project } = place
  await placeAbsent(task, place.absent, place)
  const removed = task.outs.filter((out) => !out.persist).map((out) => out.path)
  for (const out of task.outs) checkParents(project.root, out.path)
  const aside = setAside(project, task.name, removed, await savedFiles(removed, place))
  try {
    for (const folder of new Set(task.outs.map((out) => dirname(join(project.root, out.path))))) makeFolder(folder)
    return aside
  } catch (error) {
    aside.putBack()
    throw error
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
}
