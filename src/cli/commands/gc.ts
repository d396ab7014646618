import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { MlvError } from '../../base/errors.ts'
import type { GarbageOptions } from '../../workspace/garbage.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import { collect } from '../typed-paths.ts'

interface GcFlags {
  remote?: string | true
  keep?: Keep[]
  keepDays?: number
  notInRemote?: string | true
  projects?: string[]
  grace?: number
  undo?: boolean
  dryRun?: boolean
  yes?: boolean
  force?: boolean
}

type Keep = 'workspace' | 'branches' | 'tags'
const KEEPS: readonly Keep[] = ['workspace', 'branches', 'tags']
const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 }

function parseKeep(text: string): Keep[] {
  const words = text.split(',')
  const wrong = words.find((word) => !KEEPS.includes(word as Keep))
  if (wrong !== undefined) throw new InvalidArgumentError(`"${wrong}" is none of ${KEEPS.join(', ')}.`)
  return words as Keep[]
}

function parseDays(text: string): number {
  const days = Number(text)
  if (text.trim() === '' || !(days >= 0) || !Number.isFinite(days)) throw new InvalidArgumentError('It takes a number of days.')
  return days
}

/** @returns ms */
function parseSpan(text: string): number {
  const [, count, unit] = /^(\d+)([smhdw]?)$/.exec(text) ?? []
  if (count === undefined || (unit === '' && count !== '0'))
    throw new InvalidArgumentError('It takes a time such as 0, 12h or 30d.')
  return Number(count) * (UNITS[unit!] ?? 0)
}

function addOptions(command: Command): void {
  command
    .option('-r, --remote [name]', 'a remote instead of the cache: this one, or the default')
    .option('--keep <what>', 'keep only what these have: workspace,branches,tags; by default all history', parseKeep)
    .option('--keep-days <days>', 'narrow as --keep does, and keep what commits of the last days have', parseDays)
    .option('--not-in-remote [name]', 'of the cache, also remove what a remote holds; it can be fetched again')
    .option('--projects <folder>', 'another clone whose references count; may be given more than once', collect)
    .option('--grace <time>', 'how long what nothing needs stays: 30d on a remote, 1d in the cache', parseSpan)
    .option('--undo', 'take back what was condemned and is not yet deleted')
    .option('--dry-run', 'say what would be done')
    .option('-y, --yes', 'do not ask')
    .option('-f, --force', 'go on where something is unknown: a shallow or stale clone, other repositories, lists of files')
}

function optionsOf(project: Project, flags: GcFlags): GarbageOptions {
  if (flags.remote !== undefined && flags.notInRemote !== undefined)
    throw new MlvError('USAGE', '--not-in-remote is about the cache, --remote about a remote', { hint: 'Give one of them.' })
  const named = (flag: string | true | undefined) => (flag === undefined ? undefined : { name: flag === true ? undefined : flag })
  const isNarrow = flags.keep !== undefined || flags.keepDays !== undefined
  const keep = flags.keep ?? KEEPS
  return {
    remote: named(flags.remote),
    notInRemote: named(flags.notInRemote),
    keep: isNarrow
      ? {
          branches: keep.includes('branches'),
          tags: keep.includes('tags'),
          since: flags.keepDays === undefined ? undefined : Date.now() - flags.keepDays * UNITS.d!,
        }
      : undefined,
    projects: flags.projects?.map((folder) => resolve(project.surroundings.cwd, folder)),
    grace: flags.grace,
    force: flags.force,
  }
}

export const configure: Configure = (command, act) => {
  addOptions(command)
  example(command, 'mlv gc', 'mlv gc --keep workspace,branches,tags --keep-days 90', 'mlv gc -r origin --dry-run')
  command.action(
    act(async (context, flags: GcFlags) => {
      const { output } = context
      const project = await context.project()
      const options = optionsOf(project, flags)
      const [
        { planGarbage, applyGarbage },
        { findStaleRuns, deleteStaleRuns },
        { answerOfGarbage, isEmpty, renderPlan, renderResult },
      ] = await Promise.all([
        import('../../workspace/garbage.ts'),
        import('../../pipeline/stale-runs.ts'),
        import('../render/garbage.ts'),
      ])
      if (flags.undo) {
        const { planUndo, undoCollect } = await import('../../store/collect-apply.ts')
        const purpose = flags.dryRun ? 'read' : 'write'
        const store = options.remote ? (await project.remote(options.remote.name, purpose)).store : await project.cache(purpose)
        const undone = flags.dryRun ? (await planUndo(store)).length : await undoCollect(store)
        const counts = flags.dryRun ? 'would count' : 'counts'
        output.answer({ undone }, () => (undone > 0 ? `what was condemned ${counts} as present again` : 'nothing was condemned'))
        return
      }
      const { signal } = context.surroundings
      const runs = new Map()
      const planAll = async () => {
        const plan = await planGarbage(project, options)
        return { ...plan, runs: (await findStaleRuns(plan, runs, signal)).length }
      }
      if (flags.dryRun) {
        const plan = await planAll()
        output.answer(answerOfGarbage(plan), () => renderPlan(plan))
        return
      }
      const plan = flags.yes ? undefined : await planAll()
      const ask = plan !== undefined && !isEmpty(plan)
      if (ask) {
        if (!output.json) output.say(renderPlan(plan))
        const { confirm } = await import('../confirm.ts')
        await confirm('Go on?', signal)
      }
      const collectNow = async () => {
        // What was asked about may be needed by now.
        const now = await planAll()
        const done = await applyGarbage(project, now, options)
        return { plan: now, done: { ...done, runs: await deleteStaleRuns(now, runs, signal) } }
      }
      // The lock keeps pointers of this clone from moving; a remote's safety is in its grace period.
      const result = options.remote ? await collectNow() : await project.locked(collectNow)
      output.answer({ ...answerOfGarbage(result.plan), done: result.done }, () =>
        output.quiet ? '' : `${ask ? '' : `${renderPlan(result.plan)}\n`}${renderResult(result.plan, result.done)}`.trimEnd(),
      )
    }),
  )
}
