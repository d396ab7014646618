import { type Configure, example } from '../command.ts'
import { tellWritten } from '../tell-written.ts'
import { typedPaths } from '../typed-paths.ts'

interface UpdateFlags {
  rev?: string
  force?: boolean
  toRemote?: boolean
  remote?: string
}

export const configure: Configure = (command, act) => {
  command
    .argument('[paths...]', 'imported paths; all by default')
    .option('--rev <revision>', 'a branch, tag or commit to follow from now on, of imports from repositories')
    .option('-f, --force', 'give up changes made here')
    .option('--to-remote', 'straight into the remote, of imports from urls')
    .option('-r, --remote <name>', 'another remote than the default one, with --to-remote')
  example(command, 'mlv update', 'mlv update cats --rev v3')
  command.action(
    act(async (context, typed: string[], flags: UpdateFlags) => {
      const project = await context.project()
      const [{ importFailures, updateImports }, { renderImported }] = await Promise.all([
        import('../../workspace/update.ts'),
        import('../render/imports.ts'),
      ])
      const { rev: revision, force = false, toRemote = false, remote } = flags
      const options = { revision, force, toRemote, remote }
      const { updated, failed } = await updateImports(project, typedPaths(project, typed), options)
      context.output.answer(updated, () => {
        if (context.output.quiet) return ''
        const isNone = updated.length + failed.length === 0
        return isNone ? 'nothing was imported; see "mlv import --help"' : renderImported(updated)
      })
      await tellWritten(project, context.output, [...new Set(updated.flatMap((result) => result.written))])
      if (failed.length > 1) for (const { error } of failed) context.output.error(error)
      const failure = importFailures(failed)
      if (failure) throw failure
    }),
  )
}
