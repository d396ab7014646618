import { MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import { addTableOptions, readTableOptions, type TableOptions } from '../measure-command.ts'

interface ShowOptions extends TableOptions {
  allBranches?: boolean
  allCommits?: boolean
  number?: number
  sort?: string
  keep?: string[]
  drop?: string[]
  allColumns?: boolean
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new MlvError('USAGE', `-n takes how many rows to show, not "${text}"`, { hint: 'For example -n 20.' })
}

async function show(context: Context, options: ShowOptions): Promise<void> {
  const table = readTableOptions(options, context.output)
  const [project, { readHistory }, { chooseColumns, sortRows }, { experimentsAnswer, renderExperiments }] = await Promise.all([
    context.project(),
    import('../../experiment/history.ts'),
    import('../../experiment/columns.ts'),
    import('../render/experiments.ts'),
  ])
  const found = await readHistory(project, {
    allBranches: options.allBranches,
    allCommits: options.allCommits,
    limit: options.number,
  })
  const rows = options.sort === undefined ? found : sortRows(found, options.sort)
  const columns = chooseColumns(rows, { all: options.allColumns, keep: options.keep, drop: options.drop })
  context.output.answer(experimentsAnswer(rows, columns), () => renderExperiments(rows, columns, table))
  const isEmpty = rows.every(({ params, metrics }) => params.size === 0 && metrics.size === 0)
  if (isEmpty && table.format === 'text')
    context.output.say('No params and no metrics yet: put params into params.yaml and name metrics in mlv.yaml.')
}

export const configure: Configure = (command, act) => {
  const shown = command.command('show').description('show the workspace, HEAD and the tips of exp/ branches, or more of history')
  shown
    .option('-a, --all-branches', 'the tips of all branches')
    .option('-A, --all-commits', 'every commit that changed params, metrics or the lock')
    .option('-n, --number <rows>', 'the newest rows of history', parseCount)
    .option('--sort <key>', 'by a param or metric, or by time; KEY-desc turns it round')
    .option('--keep <globs...>', 'show these columns in any case')
    .option('--drop <globs...>', 'hide these columns')
    .option('--all-columns', 'also columns that are equal in all rows')
  addTableOptions(shown)
  example(shown, 'mlv exp show', 'mlv exp show --all-commits --sort accuracy-desc --drop "train.*"')
  shown.action(act(show))
  example(command, 'mlv exp show --all-commits')
  command.allowExcessArguments(true)
  command.action(
    act(async () => {
      const [typed] = command.args
      throw new MlvError('USAGE', typed ? `There is no command "exp ${typed}"` : '"mlv exp" needs one of: show', {
        hint: 'An experiment is a commit: run "git switch -c exp/NAME", "mlv repro" and "git commit", then "mlv exp show" to compare.',
      })
    }),
  )
}
