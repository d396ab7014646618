import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'
import { plural } from '../render/amount.ts'
import { typedPaths } from '../typed-paths.ts'

export const configure: Configure = (command, act) => {
  command
    .argument('[paths...]', 'only these')
    .option('--remote [name]', 'also say what is not pushed')
    .option('--exit-code', 'exit 1 when anything differs')
  command.addHelpText(
    'after',
    '\nIn the counts of a folder, + is added, − deleted, ~ modified, → renamed,\nand ? not here, where a list of files that is not here either counts as one.',
  )
  example(command, 'mlv status', 'mlv status --remote')
  command.action(
    act(async (context, typed: string[], options: { remote?: boolean | string; exitCode?: boolean }) => {
      const project = await context.project()
      const paths = typedPaths(project, typed)
      const [{ readStatus }, { renderStatus, renderMissing }] = await Promise.all([
        import('../../workspace/status.ts'),
        import('../render/changes.ts'),
      ])
      const statuses = await readStatus(project, paths)
      const stages = await stageStatus(context, paths.length > 0)
      const name = typeof options.remote === 'string' ? options.remote : undefined
      const unpushed = options.remote
        ? await (await import('../../workspace/sync.ts')).push(project, { remote: name, paths, dryRun: true })
        : undefined
      const changed = statuses.filter((status) => status.state !== 'unchanged' || status.uncached)
      const answer = {
        paths: statuses,
        stages: stages.answer,
        unpushed: unpushed && {
          remote: unpushed.remote,
          objects: unpushed.objects,
          bytes: unpushed.bytes,
          missing: unpushed.missing,
        },
      }
      context.output.answer(answer, () => {
        const parts = [renderStatus(statuses), stages.text]
        if (unpushed && unpushed.objects > 0)
          parts.push(`not pushed to ${unpushed.remote}: ${plural(unpushed.objects, 'object')}; run "mlv push"`)
        if (unpushed && unpushed.missing.length > 0)
          parts.push(`neither here nor on ${unpushed.remote}:\n${renderMissing(unpushed.missing)}`)
        const text = parts.filter(Boolean).join('\n')
        if (text !== '') return text
        if (statuses.length === 0 && stages.answer.length === 0) return 'nothing is tracked yet; start with "mlv add PATH"'
        return 'up to date'
      })
      const differs = changed.length > 0 || stages.text !== '' || (unpushed?.objects ?? 0) > 0
      return options.exitCode && differs ? 1 : 0
    }),
  )
}

/** Which stages would run, and why. */
async function stageStatus(context: Context, partial: boolean): Promise<{ answer: unknown[]; text: string }> {
  const project = await context.project()
  const { existsSync } = await import('node:fs')
  if (partial || !existsSync(`${project.root}/mlv.yaml`)) return { answer: [], text: '' }
  const { readPipelineStatus } = await import('../pipeline-status.ts')
  return readPipelineStatus(project)
}
