import { type Configure, example } from '../command.ts'
import { plural } from '../render/amount.ts'
import { typedPaths } from '../typed-paths.ts'

export const configure: Configure = (command, act) => {
  command.argument('<paths...>', 'files and folders that are links into the cache')
  example(command, 'mlv unprotect data/labels.csv')
  command.action(
    act(async (context, typed: string[]) => {
      const project = await context.project()
      const { unprotect } = await import('../../workspace/unprotect.ts')
      const files = await unprotect(project, typedPaths(project, typed))
      context.output.answer({ files }, () => {
        if (context.output.quiet) return ''
        return files.length === 0
          ? 'no links into the cache there: all can be edited'
          : `${plural(files.length, 'file')} can be edited now`
      })
    }),
  )
}
