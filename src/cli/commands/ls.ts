import type { Listed } from '../../workspace/list-data.ts'
import { type Configure, example } from '../command.ts'
import { openData } from '../data-arguments.ts'

interface LsOptions {
  rev?: string
  recursive?: boolean
  long?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('[repo]', 'another repository: a url, or its folder')
    .argument('[path]', 'a tracked path, or a folder around or inside one')
    .option('--rev <revision>', "as it was there; the workspace's pointers by default, HEAD of another repository")
    .option('-R, --recursive', 'every file below, and no folders')
    .option('-l, --long', 'with kind, size, files and oid')
  example(command, 'mlv ls -l data --rev v1.0', 'mlv ls https://github.com/team/datasets.git images')
  command.action(
    act(async (context, repo: string | undefined, path: string | undefined, options: LsOptions) => {
      const words = [repo, path].filter((word) => word !== undefined)
      const place = await openData(context, words, options.rev)
      try {
        const [{ listData }, { renderListing }] = await Promise.all([
          import('../../workspace/list-data.ts'),
          import('../render/listing.ts'),
        ])
        const rows: Listed[] = []
        for await (const row of listData(place.project, place.revision, { path: place.path, recursive: options.recursive }))
          rows.push(row)
        context.output.answer(rows, () => renderListing(rows, place.path, options.long ?? false))
      } finally {
        await place.close()
      }
    }),
  )
}
