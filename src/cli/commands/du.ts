import { MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'
import { openData } from '../data-arguments.ts'

function parseDepth(text: string): number {
  const depth = Number(text)
  if (/^\d{1,3}$/.test(text)) return depth
  throw new MlvError('USAGE', `--max-depth takes a whole number, not "${text}"`, { hint: 'For example --max-depth 2.' })
}

export const configure: Configure = (command, act) => {
  command
    .argument('[repo]', 'another repository: a url, or its folder')
    .argument('[path]', 'a tracked path, or a folder around or inside one')
    .option('--rev <revision>', "as it was there; the workspace's pointers by default, HEAD of another repository")
    .option('-d, --max-depth <levels>', 'folders this deep (1); 0 for the sum alone', parseDepth)
  example(command, 'mlv du', 'mlv du data -d 2 --rev main')
  command.action(
    act(async (context, repo: string | undefined, path: string | undefined, options: { rev?: string; maxDepth?: number }) => {
      const words = [repo, path].filter((word) => word !== undefined)
      const place = await openData(context, words, options.rev)
      try {
        const [{ measureUsage }, { renderUsage }] = await Promise.all([
          import('../../workspace/list-data.ts'),
          import('../render/listing.ts'),
        ])
        const rows = await measureUsage(place.project, place.revision, { path: place.path, depth: options.maxDepth ?? 1 })
        context.output.answer(rows, () => renderUsage(rows))
      } finally {
        await place.close()
      }
    }),
  )
}
