import { MlvError } from '../../base/errors.ts'
import { isOid } from '../../base/oid.ts'
import { type Configure, example } from '../command.ts'
import { collect, typedPaths } from '../typed-paths.ts'

interface PurgeFlags {
  allCommits?: boolean
  remote?: string[]
  yes?: boolean
  dryRun?: boolean
}

export const configure: Configure = (command, act) => {
  command
    .argument('<paths...>', 'paths, as they were when they were tracked, or oids of objects')
    .option('--all-commits', 'say that it goes from every commit: a purge knows no other way')
    .option('-r, --remote <name>', 'from this remote as well; may be given more than once', collect)
    .option('-y, --yes', 'do not ask')
    .option('--dry-run', 'say what would be deleted')
  example(command, 'mlv purge data/people/ada.jpg --all-commits --remote origin --dry-run')
  command.action(
    act(async (context, typed: string[], flags: PurgeFlags) => {
      if (!flags.allCommits)
        throw new MlvError('USAGE', 'A purge deletes data from every commit and every branch, for good', {
          hint: 'Say so with "--all-commits". "mlv drop" frees disk space, and "mlv remove" stops tracking a path.',
        })
      const project = await context.project()
      const [{ planPurge, applyPurge, isIncomplete }, { questionOf, renderPurge }, { confirm }] = await Promise.all([
        import('../../workspace/purge.ts'),
        import('../render/purge.ts'),
        import('../confirm.ts'),
      ])
      const oids = typed.filter(isOid)
      const paths = typedPaths(
        project,
        typed.filter((word) => !isOid(word)),
      )
      const plan = await planPurge(project, { paths, oids, remotes: flags.remote }, flags.dryRun ? 'read' : 'write')
      const { report } = plan
      const render = (done: boolean) => renderPurge(report, { done, quiet: context.output.quiet })
      if (!flags.dryRun) {
        if (!flags.yes && report.objects.length > 0) {
          if (!context.output.json) context.output.say(render(false))
          await confirm(questionOf(report), context.surroundings.signal)
        }
        await applyPurge(project, plan)
      }
      context.output.answer({ ...report, purged: !flags.dryRun }, () => render(!flags.dryRun))
      return isIncomplete(report) ? 1 : 0
    }),
  )
}
