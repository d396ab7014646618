import { type Configure, example } from '../command.ts'

interface Options {
  dryRun?: boolean
  force?: boolean
  allowMissing?: boolean
  experiments?: boolean
}

export const configure: Configure = (command, act) => {
  const dvc = command
    .command('dvc')
    .description("make pointers, mlv.yaml and mlv.lock of DVC's files, and take its data over, checked")
    .option('-n, --dry-run', 'only say what would be done, and what has no counterpart')
    .option('--allow-missing', 'leave data that is in neither the cache nor a remote with DVC')
    .option('--experiments', 'make a git branch exp/NAME of each experiment')
    .option('-f, --force', 'replace an mlv.yaml and pointers that say something else')
  example(dvc, 'mlv init && mlv migrate dvc --dry-run', 'mlv migrate dvc')
  dvc.action(
    act(async ({ output, project: open }, options: Options) => {
      const project = await open()
      const [{ planMigration }, render] = await Promise.all([
        import('../../migrate/plan-dvc.ts'),
        import('../render/migration.ts'),
      ])
      const plan = await planMigration(project, { force: options.force ?? false })
      if (options.dryRun) {
        const { experiments = false } = options
        output.answer(render.planJson(plan, experiments), () => render.renderPlan(plan, experiments))
        return
      }
      const { applyMigration } = await import('../../migrate/apply-dvc.ts')
      const { force = false, allowMissing = false, experiments = false } = options
      const result = await applyMigration(plan, { force, allowMissing, experiments })
      output.answer(render.resultJson(result), () => (output.quiet ? '' : render.renderResult(result)))
      const { tellWritten } = await import('../tell-written.ts')
      await tellWritten(project, output, result.written)
    }),
  )
  example(command, 'mlv migrate dvc --dry-run')
}
