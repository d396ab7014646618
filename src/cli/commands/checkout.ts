import { hasCode, MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'
import { tellWritten } from '../tell-written.ts'
import { typedPaths } from '../typed-paths.ts'

interface CheckoutOptions {
  force?: boolean
  relink?: boolean
  dryRun?: boolean
  allowMissing?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('[paths...]', 'only these')
    .option('-f, --force', 'overwrite and remove also what is in no cache')
    .option('--relink', 'write the files anew, with the link type of cache.link')
    .option('--dry-run', 'say what would be done')
    .option('--allow-missing', 'place what the cache has, and leave out the rest')
  example(command, 'mlv checkout', 'mlv checkout data/train')
  command.action(
    act(async (context, typed: string[], options: CheckoutOptions) => {
      const project = await context.project()
      const [{ checkout }, { renderCheckout, renderMissing }] = await Promise.all([
        import('../../workspace/checkout.ts'),
        import('../render/changes.ts'),
      ])
      let result: Awaited<ReturnType<typeof checkout>>
      try {
        result = await checkout(project, typedPaths(project, typed), options)
      } catch (error) {
        const branch = typed.length === 1 && hasCode(error, 'PATH_MISSING') ? typed[0]! : undefined
        if (branch && (await (await project.git()).resolve(branch)))
          throw new MlvError('USAGE', `"${branch}" is a branch or commit, and "mlv checkout" takes paths`, {
            hint: `Run "git switch ${branch}", then "mlv checkout".`,
          })
        throw error
      }
      context.output.answer(result, () => {
        if (context.output.quiet) return ''
        const text = renderCheckout(result, options.dryRun ?? false)
        return result.missing.length === 0 ? text : `${text}\nnot in the cache:\n${renderMissing(result.missing)}`.trimStart()
      })
      await tellWritten(project, context.output, result.written)
    }),
  )
}
