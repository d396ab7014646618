import { type Configure, example } from '../command.ts'
import { addSyncOptions, answerOf, bringRuns, failOnUnfetched, type SyncFlags, syncOptions } from '../sync-command.ts'

export const configure: Configure = (command, act) => {
  addSyncOptions(command)
  example(command, 'mlv fetch', 'mlv fetch --rev v1.0 data/train')
  command.action(
    act(async (context, typed: string[], flags: SyncFlags) => {
      const project = await context.project()
      const [{ fetchData }, { renderSync }] = await Promise.all([
        import('../../workspace/sync.ts'),
        import('../render/changes.ts'),
      ])
      const result = await fetchData(project, syncOptions(project, typed, flags))
      const runs = flags.dryRun ? 0 : await bringRuns(project, result)
      const words = { done: 'fetched', would: 'would fetch', nothing: `everything is in the cache already` }
      context.output.answer({ ...answerOf(result), runs }, () =>
        context.output.quiet || (result.objects === 0 && result.missing.length > 0)
          ? ''
          : renderSync(result, words, flags.dryRun ?? false),
      )
      await failOnUnfetched(project, result, context.output, 'with "mlv push --all-commits"')
    }),
  )
}
