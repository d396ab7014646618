import { MlvError } from '../../base/errors.ts'
import { nameOf } from '../../base/paths.ts'
import { type Configure, example } from '../command.ts'
import { tellWritten } from '../tell-written.ts'
import { typedPaths } from '../typed-paths.ts'

interface ImportOptions {
  rev?: string
  out?: string
  force?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('<repo>', 'a git repository with an mlv project: a url, or its folder')
    .argument('<path>', 'a tracked path there, or a file or folder in one')
    .option('--rev <revision>', 'a branch or tag to follow, or a commit; HEAD by default')
    .option('-o, --out <path>', 'where to put it; its own name in the current folder by default')
    .option('-f, --force', 'replace what is there')
  example(command, 'mlv import https://github.com/team/datasets.git images/cats --rev v2')
  command.action(
    act(async (context, repo: string, path: string, options: ImportOptions) => {
      const project = await context.project()
      const clean = path.replace(/^(\.\/)+/, '').replace(/\/+$/, '')
      if (clean === '' || clean === '.')
        throw new MlvError('USAGE', `No path in ${repo} is given`, { hint: 'See what there is with "mlv ls REPO".' })
      const [{ importRepository }, { renderImported }, { refuseStageOuts }] = await Promise.all([
        import('../../workspace/import-repository.ts'),
        import('../render/imports.ts'),
        import('../stage-outs.ts'),
      ])
      const [out] = typedPaths(project, [options.out ?? nameOf(clean)])
      await refuseStageOuts(project, [out!])
      const request = { repo, path: clean, revision: options.rev, out: out!, force: options.force ?? false }
      const result = await importRepository(project, request)
      context.output.answer(result, () => (context.output.quiet ? '' : renderImported([result])))
      await tellWritten(project, context.output, result.written)
    }),
  )
}
