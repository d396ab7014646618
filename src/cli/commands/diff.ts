import { type Configure, example } from '../command.ts'
import { openPair, splitAtDashes } from '../revision-arguments.ts'
import { typedPaths } from '../typed-paths.ts'

interface DiffOptions {
  md?: boolean
  stat?: boolean
  exitCode?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('[revisions...]', 'A, A B, or A...B; HEAD against the workspace by default; paths behind --')
    .option('--md', 'as a Markdown table')
    .option('--stat', 'totals per path, without the files')
    .option('--exit-code', 'exit 1 when anything differs')
  example(command, 'mlv diff main', 'mlv diff main...HEAD --md', 'mlv diff v1 v2 -- data/train')
  command.action(
    act(async (context, operands: string[], options: DiffOptions) => {
      const { revisions, paths } = splitAtDashes(command, operands)
      const project = await context.project()
      const [{ diffRevisions }, { renderDiff }] = await Promise.all([
        import('../../workspace/diff-revisions.ts'),
        import('../render/changes.ts'),
      ])
      const pair = await openPair(project, revisions)
      const diffs = await diffRevisions(project, pair, typedPaths(project, paths))
      context.output.answer({ before: pair.labels.before, after: pair.labels.after, paths: diffs }, () => {
        const text = renderDiff(diffs, { md: options.md ?? false, stat: options.stat ?? false })
        return text === '' ? `no data differs between ${pair.labels.before} and ${pair.labels.after}` : text
      })
      return options.exitCode && diffs.length > 0 ? 1 : 0
    }),
  )
}
