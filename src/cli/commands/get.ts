import { resolve } from 'node:path'
import { MlvError } from '../../base/errors.ts'
import { nameOf } from '../../base/paths.ts'
import { type Configure, example } from '../command.ts'
import { openData } from '../data-arguments.ts'
import { formatBytes, plural } from '../render/amount.ts'

interface GetOptions {
  rev?: string
  out?: string
  force?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('<repo-or-path>', 'a tracked path, or a file or folder in one; or another repository: a url, or its folder')
    .argument('[path]', 'the path in the other repository')
    .option('--rev <revision>', "as it was there; the workspace's pointer by default, HEAD of another repository")
    .option('-o, --out <file>', 'where to write it; its own name in the current folder by default')
    .option('-f, --force', 'overwrite what is there')
  example(
    command,
    'mlv get data/train.csv --rev v1.0 -o old.csv',
    'mlv get https://github.com/team/datasets.git images/cats --rev v2',
  )
  command.action(
    act(async (context, first: string, second: string | undefined, options: GetOptions) => {
      const place = await openData(context, second === undefined ? [first] : [first, second], options.rev)
      try {
        const { project, revision, path } = place
        if (place.repo !== undefined && path === '')
          throw new MlvError('USAGE', `No path in ${place.repo} is given`, {
            hint: `See what there is with "mlv ls ${place.repo}".`,
          })
        const { getPath } = await import('../../workspace/get.ts')
        const named = options.out ?? nameOf(path)
        const out = resolve(context.surroundings.cwd, named)
        const result = await getPath(project, { path, revision, out, force: options.force ?? false })
        const from = place.repo === undefined ? {} : { repo: place.repo, commit: revision.commit }
        context.output.answer({ path, out, ...result, ...from }, () =>
          context.output.quiet
            ? ''
            : `wrote ${named}  (${result.paths ? `${plural(result.paths.length, 'tracked path')}, ` : ''}${formatBytes(result.bytes)})`,
        )
      } finally {
        await place.close()
      }
    }),
  )
}
