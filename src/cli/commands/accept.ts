import { type Configure, example } from '../command.ts'
import { tellWritten } from '../tell-written.ts'

export const configure: Configure = (command, act) => {
  command
    .argument('[stages...]', 'stages to accept; without, all whose outs changed by hand')
    .option('--inputs', 'also take the present deps, params and command as those that made the outs, so that it does not run')
  example(command, 'mlv accept train')
  command.action(
    act(async ({ output, project: open }, stages: string[], options: { inputs?: boolean }) => {
      const project = await open()
      const [{ openScene }, { applyAccept, planAccept }, { recoverAside }] = await Promise.all([
        import('../../pipeline/open-scene.ts'),
        import('../../pipeline/accept.ts'),
        import('../../pipeline/aside.ts'),
      ])
      recoverAside(project, false)
      const scene = await openScene(project)
      try {
        const plan = await planAccept(scene, { stages, inputs: options.inputs })
        const written = await applyAccept(plan)
        const accepted = plan.stages.map(({ stage, outs, inputs }) => ({ stage: stage.name, outs, inputs: inputs !== undefined }))
        output.answer({ accepted, written }, () => {
          if (output.quiet) return ''
          if (accepted.length === 0) return 'No stage has outs that changed by hand'
          return accepted
            .map(({ stage, outs }) => `accepted   ${stage}${outs.length === 0 ? '' : `  (${outs.join(', ')})`}`)
            .join('\n')
        })
        await tellWritten(project, output, written)
      } finally {
        await scene.data.close()
      }
    }),
  )
}
