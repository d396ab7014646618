import type { Command } from 'commander'
import { MlvError } from '../base/errors.ts'
import { isWithin, type RepoPath, repoPathFrom } from '../base/paths.ts'
import type { MeasureKind, Measures, Problem } from '../measure/read.ts'
import type { Project } from '../workspace/project.ts'
import { type Configure, example } from './command.ts'
import type { Context } from './context.ts'
import type { Output } from './output.ts'
import type { TableFormat } from './render/table.ts'
import { openNamed, openPair, splitAtDashes } from './revision-arguments.ts'

export interface TableOptions {
  md?: boolean
  csv?: boolean
  precision?: number
}

interface ShowOptions extends TableOptions {
  targets?: string[]
}

interface DiffOptions extends ShowOptions {
  all?: boolean
  exitCode?: boolean
}

/** Significant digits people compare by. */
const PRECISION = 5

/** Exit status of METRICS_INVALID and its like, for a run that showed the rest. */
const BROKEN = 2

function parsePrecision(text: string): number {
  const digits = Number(text)
  if (Number.isInteger(digits) && digits >= 1 && digits <= 17) return digits
  throw new MlvError('USAGE', `--precision takes 1 to 17 significant digits, not "${text}"`, {
    hint: 'For example --precision 3.',
  })
}

/** Adds the options that shape a table. */
export function addTableOptions(command: Command): Command {
  return command
    .option('--md', 'a Markdown table, as GitHub shows it')
    .option('--csv', 'CSV with all digits')
    .option('--precision <digits>', `significant digits (${PRECISION})`, parsePrecision)
}

/** @throws USAGE when both --md and --csv are given */
export function readTableOptions(
  options: TableOptions,
  output: Output,
): { format: TableFormat; precision: number; color: boolean } {
  if (options.md && options.csv) throw new MlvError('USAGE', '--md and --csv exclude each other', { hint: 'Give one of them.' })
  return {
    format: options.md ? 'md' : options.csv ? 'csv' : 'text',
    precision: options.precision ?? PRECISION,
    color: output.color,
  }
}

function targetsOf(project: Project, typed: string[]): RepoPath[] {
  return typed.map((path) => repoPathFrom(path, project.surroundings.cwd, project.root)).filter((path) => path !== '')
}

/** @throws PATH_MISSING for a target that no side has */
function refuseMissing(targets: RepoPath[], sides: Measures[]): void {
  for (const target of targets) {
    const found = sides.some((side) =>
      [...side.files.keys(), ...side.problems.map((problem) => problem.file)].some((file) => isWithin(file, target)),
    )
    if (!found)
      throw new MlvError('PATH_MISSING', `There are no values at ${target}`, {
        hint: `Looked in ${sides.map((side) => side.revision.name).join(' and ')}; check the path.`,
      })
  }
}

function problemLines(problems: Problem[], format: TableFormat): string[] {
  return format === 'md' ? problems.map((problem) => `\n**Not read:** ${problem.message}`) : []
}

function warnAbout({ output }: Context, ...sides: Measures[]): Problem[] {
  const problems = sides.flatMap((side) => side.problems)
  for (const line of new Set([...sides.at(-1)!.warnings, ...problems.map((problem) => problem.message)])) output.warn(line)
  return problems
}

function nothingLine(kind: MeasureKind, measures: Measures): string {
  const where = measures.revision.commit === undefined ? 'the workspace' : measures.revision.name
  return kind === 'params'
    ? `No params in ${where}: put them into params.yaml, or name other files under "params" of a stage in mlv.yaml.`
    : `No metrics in ${where}: name them under "metrics" in mlv.yaml, and write them with "mlv repro".`
}

function addShow(parent: Command, kind: MeasureKind, act: Parameters<Configure>[1]): void {
  const command = parent
    .command('show')
    .description(`show the ${kind} of the workspace or of a revision`)
    .argument('[revision]')
    .argument('[paths...]')
  addTableOptions(command).option('--targets <paths...>', 'only these files or folders; also files that mlv.yaml does not name')
  example(command, `mlv ${kind} show main`)
  command.action(
    act(async (context: Context, first: string | undefined, more: string[], options: ShowOptions) => {
      const table = readTableOptions(options, context.output)
      const { revisions, paths } = splitAtDashes(command, first === undefined ? [] : [first, ...more])
      if (revisions.length > 1)
        throw new MlvError('USAGE', 'One revision is shown at a time', {
          hint: `Compare two with "mlv ${kind} diff ${revisions.slice(0, 2).join(' ')}".`,
        })
      const project = await context.project()
      const targets = targetsOf(project, [...paths, ...(options.targets ?? [])])
      const [{ readMeasures }, { renderValues }] = await Promise.all([
        import('../measure/read.ts'),
        import('./render/measures.ts'),
      ])
      const measures = await readMeasures(kind, await openNamed(project, revisions[0]), { targets })
      refuseMissing(targets, [measures])
      const problems = warnAbout(context, measures)
      const rows = [...measures.files].flatMap(([file, values]) => [...values].map(([key, value]) => ({ file, key, value })))
      context.output.answer({ ...measures.revision, rows, problems }, () => {
        const text =
          rows.length === 0 && table.format !== 'csv'
            ? problems.length > 0
              ? ''
              : nothingLine(kind, measures)
            : renderValues(measures, table)
        return [text, ...problemLines(problems, table.format)].filter(Boolean).join('\n')
      })
      return problems.length > 0 ? BROKEN : 0
    }),
  )
}

function addDiff(parent: Command, kind: MeasureKind, act: Parameters<Configure>[1]): void {
  const command = parent
    .command('diff')
    .description(`compare the ${kind} of two revisions: HEAD and the workspace by default`)
    .argument('[revisions...]', 'A, or A and B, or A...B for what B changed since it left A; paths behind "--"')
  addTableOptions(command)
    .option('--all', 'unchanged values, too')
    .option('--targets <paths...>', 'only these files or folders; also files that mlv.yaml does not name')
    .option('--exit-code', 'exit 1 when values differ')
  example(command, `mlv ${kind} diff main`, `mlv ${kind} diff --md main...HEAD`)
  command.action(
    act(async (context: Context, operands: string[], options: DiffOptions) => {
      const table = readTableOptions(options, context.output)
      const { revisions, paths } = splitAtDashes(command, operands)
      const project = await context.project()
      const targets = targetsOf(project, [...paths, ...(options.targets ?? [])])
      const [{ noMeasures, readMeasures }, { compareMeasures, isChanged }, { renderChanges }] = await Promise.all([
        import('../measure/read.ts'),
        import('../measure/compare.ts'),
        import('./render/measures.ts'),
      ])
      const pair = await openPair(project, revisions)
      const before = pair.before ? await readMeasures(kind, pair.before, { targets }) : noMeasures('HEAD')
      const after = await readMeasures(kind, pair.after, { targets })
      refuseMissing(targets, [before, after])
      const problems = warnAbout(context, before, after)
      const all = compareMeasures(before, after)
      const changed = all.some(isChanged)
      const rows = options.all ? all : all.filter((row) => isChanged(row) || row.bound)
      context.output.answer({ before: before.revision, after: after.revision, rows, problems }, () => {
        const text =
          rows.length > 0 || table.format === 'csv'
            ? renderChanges(rows, pair.labels, table)
            : `No ${kind} changed between ${pair.labels.before} and ${pair.labels.after}.`
        return [text, ...problemLines(problems, table.format)].join('\n')
      })
      if (!pair.before) context.output.say('There is no commit yet: every value is new.')
      if (problems.length > 0) return BROKEN
      return options.exitCode && changed ? 1 : 0
    }),
  )
}

/** The commands `mlv params` and `mlv metrics`, which differ only in what they read. */
export function configureMeasure(kind: MeasureKind): Configure {
  return (command, act) => {
    addShow(command, kind, act)
    addDiff(command, kind, act)
    command.allowExcessArguments(true)
    command.action(
      act(async () => {
        throw new MlvError('USAGE', `mlv ${kind} is either shown or compared`, {
          hint: `"mlv ${kind} show", or "mlv ${kind} diff main".`,
        })
      }),
    )
    example(command, `mlv ${kind} diff main`)
  }
}
