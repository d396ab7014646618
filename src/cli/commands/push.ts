import { type Configure, example } from '../command.ts'
import { addSyncOptions, answerOf, carryRuns, failOnMissing, type SyncFlags, syncOptions, tellPurged } from '../sync-command.ts'

export const configure: Configure = (command, act) => {
  addSyncOptions(command)
  example(command, 'mlv push', 'mlv push -r backup --all-commits')
  command.action(
    act(async (context, typed: string[], flags: SyncFlags) => {
      const project = await context.project()
      const [{ push }, { renderSync }] = await Promise.all([import('../../workspace/sync.ts'), import('../render/changes.ts')])
      const result = await push(project, syncOptions(project, typed, flags))
      const runs = flags.dryRun ? 0 : await carryRuns(project, result)
      const words = { done: 'sent', would: 'would send', nothing: `everything is on ${result.remote} already` }
      context.output.answer({ ...answerOf(result), runs }, () =>
        context.output.quiet || (result.objects === 0 && result.missing.length > 0)
          ? ''
          : renderSync(result, words, flags.dryRun ?? false),
      )
      tellPurged(result, context.output, { fatal: false })
      await failOnMissing(
        project,
        result,
        `in the cache, so it could not be sent`,
        'If the workspace has it, store it again with "mlv add --force PATH"; else push from a clone that has it.',
      )
    }),
  )
}
