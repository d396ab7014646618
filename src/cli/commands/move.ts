import { type Configure, example } from '../command.ts'
import { shown } from '../render/changes.ts'
import { tellWritten } from '../tell-written.ts'
import { typedPaths } from '../typed-paths.ts'

export const configure: Configure = (command, act) => {
  command.argument('<from>', 'a tracked path').argument('<to>', 'its new name, or a folder')
  example(command, 'mlv move data datasets/raw')
  command.action(
    act(async (context, from: string, to: string) => {
      const project = await context.project()
      const { movePath } = await import('../../workspace/move.ts')
      const [source, goal] = typedPaths(project, [from, to])
      const result = await movePath(project, source!, goal!)
      context.output.answer({ from: source, to: result.removed[0], written: result.written }, () =>
        context.output.quiet ? '' : `moved  ${shown(source!)} → ${shown(result.removed[0]!)}`,
      )
      await tellWritten(project, context.output, result.written)
    }),
  )
}
