import { MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'
import { collect, typedPaths } from '../typed-paths.ts'

interface DropFlags {
  remote?: string
  workspace?: boolean
  allBranches?: boolean
  allTags?: boolean
  allCommits?: boolean
  rev?: string[]
  dryRun?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('<paths...>', 'tracked paths, or entries of a tracked folder')
    .option('-r, --remote <name>', 'the remote that must hold them, if not the default one')
    .option('-w, --workspace', 'remove the files in the workspace as well')
    .option('-a, --all-branches', 'the versions of the tips of all branches')
    .option('-T, --all-tags', 'the versions of all tags')
    .option('--all-commits', 'every version in the history of a branch or tag')
    .option('--rev <revision>', 'the version of this revision; may be given more than once', collect)
    .option('--dry-run', 'say what would be done')
  example(command, 'mlv drop data/raw', 'mlv drop --workspace data/raw')
  command.action(
    act(async (context, typed: string[], flags: DropFlags) => {
      if (flags.workspace && (flags.allBranches || flags.allTags || flags.allCommits || flags.rev))
        throw new MlvError('USAGE', 'The workspace has one version of a path: --workspace takes no revisions', {
          hint: 'Run "mlv drop" once with --workspace, and once with the revisions.',
        })
      const project = await context.project()
      const [{ drop }, { namesRevisions }, { renderDrop }] = await Promise.all([
        import('../../workspace/drop.ts'),
        import('../../workspace/selection.ts'),
        import('../render/drop.ts'),
      ])
      const { remote, workspace, allBranches, allTags, allCommits, rev, dryRun } = flags
      const selection = { allBranches, allTags, allCommits, revisions: rev }
      const older = namesRevisions(selection)
      const result = await drop(project, { ...selection, paths: typedPaths(project, typed), remote, workspace, dryRun })
      context.output.answer(result, () => (context.output.quiet ? '' : renderDrop(result, { dryRun: dryRun ?? false, older })))
    }),
  )
}
