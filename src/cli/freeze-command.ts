import { quotePath } from '../base/paths.ts'
import { type Configure, example } from './command.ts'

/** `mlv freeze` and `mlv unfreeze`. */
export function configureFreeze(word: 'freeze' | 'unfreeze'): Configure {
  return (command, act) => {
    command.argument('<stages...>', 'as mlv.yaml defines them')
    example(command, `mlv ${word} prepare`)
    command.action(
      act(async ({ output, project: open }, names: string[]) => {
        const [project, { setFrozen }, { writePipeline }] = await Promise.all([
          open(),
          import('../pipeline/freeze.ts'),
          import('../pipeline/write-pipeline.ts'),
        ])
        const written = await writePipeline(project, (text) => setFrozen(text, names, word === 'freeze'))
        output.answer({ stages: names, frozen: word === 'freeze', written }, () =>
          output.quiet
            ? ''
            : written.length === 0
              ? 'nothing changed'
              : `${word === 'freeze' ? 'froze' : 'unfroze'} ${names.join(', ')}\nto commit: git add ${written.map(quotePath).join(' ')}`,
        )
      }),
    )
  }
}
