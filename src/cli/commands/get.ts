import { type Configure, example } from '../command.ts'
import { formatBytes } from '../render/amount.ts'
import { typedPaths } from '../typed-paths.ts'

export const configure: Configure = (command, act) => {
  command
    .argument('<path>', 'a tracked path, or a file or folder in one')
    .option('--rev <revision>', "as it was there; the workspace's pointer by default")
    .option('-o, --out <file>', 'where to write it; its own name in the current folder by default')
    .option('-f, --force', 'overwrite what is there')
  example(command, 'mlv get data/train.csv --rev v1.0 -o old.csv')
  command.action(
    act(async (context, typed: string, options: { rev?: string; out?: string; force?: boolean }) => {
      const project = await context.project()
      const { getPath } = await import('../../workspace/get.ts')
      const { resolve } = await import('node:path')
      const { nameOf } = await import('../../base/paths.ts')
      const [path] = typedPaths(project, [typed])
      const out = resolve(project.surroundings.cwd, options.out ?? nameOf(path!))
      const result = await getPath(project, { path: path!, revision: options.rev, out, force: options.force ?? false })
      context.output.answer({ path, out, ...result }, () =>
        context.output.quiet ? '' : `wrote ${options.out ?? nameOf(path!)}  (${formatBytes(result.bytes)})`,
      )
    }),
  )
}
