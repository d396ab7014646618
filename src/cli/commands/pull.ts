import { type Configure, example } from '../command.ts'
import { addSyncOptions, answerOf, bringRuns, failOnUnfetched, type SyncFlags, syncOptions } from '../sync-command.ts'
import { tellWritten } from '../tell-written.ts'

export const configure: Configure = (command, act) => {
  addSyncOptions(command)
  command.option('-f, --force', 'overwrite and remove also what is in no cache')
  example(command, 'mlv pull', 'mlv pull data/train')
  command.action(
    act(async (context, typed: string[], flags: SyncFlags & { force?: boolean }) => {
      const project = await context.project()
      const [{ pull }, { renderCheckout, renderMissing, renderSync }] = await Promise.all([
        import('../../workspace/pull.ts'),
        import('../render/changes.ts'),
      ])
      const result = await pull(project, { ...syncOptions(project, typed, flags), force: flags.force })
      const runs = flags.dryRun ? 0 : await bringRuns(project, result)
      const words = { done: 'fetched', would: 'would fetch', nothing: '' }
      context.output.answer({ ...answerOf(result), runs, checkedOut: result.checkedOut }, () => {
        if (context.output.quiet) return ''
        const dryRun = flags.dryRun ?? false
        const parts = [renderSync(result, words, dryRun), renderCheckout(result.checkedOut, dryRun)]
        if (result.missing.length > 0) parts.push(`not on ${result.remote}:\n${renderMissing(result.missing)}`)
        return parts.filter(Boolean).join('\n')
      })
      await tellWritten(project, context.output, result.checkedOut.written)
      await failOnUnfetched(project, result, context.output, 'then pull again')
    }),
  )
}
