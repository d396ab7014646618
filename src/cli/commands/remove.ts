import { type Configure, example } from '../command.ts'
import { shown } from '../render/changes.ts'
import { tellWritten } from '../tell-written.ts'
import { typedPaths } from '../typed-paths.ts'

export const configure: Configure = (command, act) => {
  command
    .argument('<paths...>', 'tracked paths, or entries of a tracked folder')
    .option('--delete', 'delete the files as well')
    .option('-f, --force', 'with --delete: also what is in no cache')
  example(command, 'mlv remove data/old.csv')
  command.action(
    act(async (context, typed: string[], options: { delete?: boolean; force?: boolean }) => {
      const project = await context.project()
      const { removePaths } = await import('../../workspace/remove.ts')
      const result = await removePaths(project, typedPaths(project, typed), options)
      context.output.answer(result, () => {
        if (context.output.quiet) return ''
        const lines = result.removed.map(
          (path) => `no longer tracked  ${shown(path)}${options.delete ? '' : '  (the files stay)'}`,
        )
        return lines.join('\n')
      })
      await tellWritten(project, context.output, result.written)
    }),
  )
}
