import { MlvError } from '../../base/errors.ts'
import type { Config } from '../../workspace/config.ts'
import type { Surroundings } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'

interface ExportOptions {
  trackingUri?: string
  experiment?: string
  allBranches?: boolean
  allCommits?: boolean
  number?: number
  dryRun?: boolean
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new MlvError('USAGE', `-n takes how many commits to export, not "${text}"`, { hint: 'For example -n 20.' })
}

const LOGIN = ['MLFLOW_TRACKING_USERNAME', 'MLFLOW_TRACKING_PASSWORD', 'MLFLOW_TRACKING_TOKEN']

/** The server, and the environment its login is read from. Who writes the committed settings is not to be sent the login of who exports.
 *  @throws USAGE when no server is named */
function nameServer(context: Context, config: Config, given: string | undefined): { uri: string; env: Surroundings['env'] } {
  const { env } = context.surroundings
  const uri = given ?? config.get('mlflow.tracking_uri')
  if (!uri)
    throw new MlvError('USAGE', 'No MLflow server is named', {
      hint: 'Give --tracking-uri URL, set MLFLOW_TRACKING_URI, or run "mlv config set mlflow.tracking_uri URL".',
    })
  const shared =
    given === undefined && config.list().some(({ key, origin }) => key === 'mlflow.tracking_uri' && origin === 'project')
  if (!shared) return { uri, env }
  if (LOGIN.some((name) => env[name]))
    context.output.warn(
      'the MLflow server is named by the committed .mlv/config, so your login is not sent to it; if you trust it, name it yourself: "mlv config set mlflow.tracking_uri URL --local", or --tracking-uri URL',
    )
  return { uri, env: {} }
}

async function exportRuns(context: Context, revisions: string[], options: ExportOptions): Promise<void> {
  const { output, surroundings } = context
  const project = await context.project()
  const server = nameServer(context, project.config, options.trackingUri)
  if (revisions.length > 0 && (options.allBranches || options.allCommits || options.number))
    throw new MlvError('USAGE', 'Commits are named twice: as revisions and by an option', {
      hint: 'Give either REVS, or --all-branches, --all-commits or -n.',
    })
  const [
    { parseTrackingUri },
    { createMlflowClient },
    { readExportRows, defaultExperiment },
    { formatRun },
    { planExport, applyExport },
    render,
  ] = await Promise.all([
    import('../../mlflow/tracking-uri.ts'),
    import('../../mlflow/client.ts'),
    import('../../mlflow/rows.ts'),
    import('../../mlflow/run.ts'),
    import('../../mlflow/export.ts'),
    import('../render/mlflow.ts'),
  ])
  const client = createMlflowClient(parseTrackingUri(server.uri, server.env), { signal: surroundings.signal })
  const choice = { revisions, allBranches: options.allBranches, allCommits: options.allCommits, limit: options.number }
  const { rows, source, notes } = await readExportRows(project, choice)
  const experiment = options.experiment ?? project.config.get('mlflow.experiment') ?? defaultExperiment(source)
  const runs = rows.map((row) => formatRun(row, source))
  const plan = await planExport(runs, client, { experiment, allowUnseen: options.dryRun })
  plan.notes.unshift(...notes)
  for (const note of plan.notes) output.warn(note)
  if (options.dryRun) {
    if (plan.unseen) output.warn(`${plan.unseen}; every run counts as new`)
    output.answer(render.exportPlanAnswer(plan, client.url), () => render.renderExportPlan(plan, client.url))
    return
  }
  const result = await applyExport(plan, client)
  output.answer(render.exportAnswer(result, plan.notes, client.url), () => render.renderExport(result, client.url))
}

export const configure: Configure = (command, act) => {
  const exported = command
    .command('export')
    .description(
      'make experiments runs of an MLflow server: HEAD and the tips of exp/ branches, or the commits named; a second export changes nothing',
    )
    .argument('[revs...]', 'commits, branches, tags, or ranges A..B')
    .option('--tracking-uri <url>', 'the server; else MLFLOW_TRACKING_URI or the setting mlflow.tracking_uri')
    .option('--experiment <name>', 'else MLFLOW_EXPERIMENT_NAME, the setting mlflow.experiment, or the name of the repository')
    .option('-a, --all-branches', 'the tips of all branches')
    .option('-A, --all-commits', 'every commit that changed params, metrics or the lock')
    .option('-n, --number <commits>', 'the newest of these commits', parseCount)
    .option('--dry-run', 'say what would be sent; needs no server')
  example(
    exported,
    'mlv mlflow export --tracking-uri http://127.0.0.1:5000',
    'mlv mlflow export --all-commits --experiment penguins --dry-run',
  )
  exported.action(act(exportRuns))
  example(command, 'mlv mlflow export --tracking-uri http://127.0.0.1:5000')
  command.allowExcessArguments(true)
  command.action(
    act(async () => {
      throw new MlvError('USAGE', 'Nothing to do with MLflow was named', { hint: 'Run "mlv mlflow export --help".' })
    }),
  )
}
