import { hasCode, MlvError } from '../../base/errors.ts'
import type { Git, GitPlace } from '../../git/git.ts'
import type { HookName } from '../../git/hook-script.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import type { Output } from '../output.ts'
import { formatBytes, plural } from '../render/amount.ts'
import { carryRuns } from '../sync-command.ts'

type HookWork = (project: Project, output: Output) => Promise<void>

async function readInput(): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of process.stdin) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}

async function place(project: Project, output: Output): Promise<void> {
  const { placeAfterSwitch } = await import('../../workspace/git-events.ts')
  const { placed, removed, bytes, missing, kept } = await placeAfterSwitch(project)
  const done = [
    placed > 0 && `placed ${plural(placed, 'file')} (${formatBytes(bytes)})`,
    removed > 0 && `removed ${plural(removed, 'file')}`,
  ]
  if (placed + removed > 0) output.say(`mlv: ${done.filter(Boolean).join(', ')}`)
  for (const { error } of kept) output.warn(`${error.message}. ${error.hint ?? ''}`)
  if (missing.length > 0) {
    const more = missing.length > 1 ? ` and ${missing.length - 1} more` : ''
    output.warn(
      `${missing[0]!.path}${more} ${missing.length > 1 ? 'are' : 'is'} not in the cache; run "mlv pull" to get the data`,
    )
  }
}

async function pushData(project: Project, output: Output, remote: string): Promise<void> {
  const [{ pushBefore }, { parsePushedRefs }] = await Promise.all([
    import('../../workspace/git-events.ts'),
    import('../../git/hook-input.ts'),
  ])
  const result = await pushBefore(project, remote, parsePushedRefs(await input()))
  if (!result) return
  await carryRuns(project, result)
  if (result.objects > 0)
    output.say(`mlv: sent ${plural(result.objects, 'object')} (${formatBytes(result.bytes)}) to ${result.remote}`)
  const [lost] = result.missing
  if (lost)
    throw new MlvError('OBJECT_MISSING', `${lost.path} of ${lost.revision} is not whole in the cache, so it could not be sent`, {
      hint: 'Push the data from a clone that has it, or push without data: "git push --no-verify".',
    })
}

let read: Promise<string> | undefined

/** Several projects in one work tree are told the same. */
function input(): Promise<string> {
  read ??= readInput()
  return read
}

async function warnUnrecorded(project: Project, output: Output): Promise<void> {
  const { findUnrecorded } = await import('../../workspace/git-events.ts')
  for (const path of await findUnrecorded(project))
    output.warn(`${path} differs from its pointer; "mlv add -u" records it for the commit`)
}

/** What a hook has to do, or undefined when there is nothing. @throws USAGE for a hook that mlv does not know */
async function workOf(name: string, args: string[], git: GitPlace): Promise<HookWork | undefined> {
  switch (name as HookName) {
    case 'post-checkout': {
      const { isSwitch } = await import('../../git/hook-input.ts')
      const [previous = '', next = '', flag = ''] = args
      return isSwitch(git, previous, next, flag) ? place : undefined
    }
    case 'post-merge':
      return place
    case 'post-rewrite':
      return args[0] === 'rebase' ? place : undefined
    case 'pre-commit':
      return warnUnrecorded
    case 'pre-push':
      return (project, output) => pushData(project, output, args[0] ?? '')
  }
  throw new MlvError('USAGE', `mlv has nothing to do in a hook "${name}"`, { hint: 'See "mlv hooks install --help".' })
}

async function runWork({ output, surroundings }: Context, gitPlace: GitPlace, work: HookWork): Promise<void> {
  const [{ findProjects }, { openProject }, { openGit }, { lockOuts }] = await Promise.all([
    import('../../workspace/git-events.ts'),
    import('../../workspace/open-project.ts'),
    import('../../git/open-git.ts'),
    import('../../pipeline/lock-outs.ts'),
  ])
  let git: Git | undefined
  const roots = await findProjects(gitPlace, async () => {
    git = await openGit(gitPlace, surroundings.env)
    return git
  })
  git?.close()
  for (const root of roots) {
    const project = await openProject({ ...surroundings, cwd: root }, lockOuts)
    try {
      await work(project, output)
    } finally {
      await project.close()
    }
  }
}

/** Only pre-push may stop git; anywhere else a failure is a warning, because git has done its work already. */
function warnAbout(error: unknown, output: Output): void {
  if (hasCode(error, 'INTERRUPTED')) throw error
  const { message, hint } = error as Partial<MlvError> & Error
  output.warn(hint ? `${message}. ${hint}` : message)
}

export const configure: Configure = (command, act) => {
  command.argument('<name>', 'the hook that git runs').argument('[args...]', 'what git tells it')
  example(command, 'mlv hook post-checkout "$@"')
  command.action(
    act(async (context, name: string, args: string[]) => {
      const { output, surroundings } = context
      if (surroundings.env.MLV_SKIP_HOOKS) return
      const { findGit } = await import('../../git/place.ts')
      const git = findGit(surroundings.cwd)
      const work = git && (await workOf(name, args, git))
      if (!git || !work) return
      try {
        await runWork(context, git, work)
      } catch (error) {
        if (name === 'pre-push') throw error
        warnAbout(error, output)
      }
    }),
  )
}
