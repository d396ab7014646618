import { MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'

const SHELLS = ['bash', 'zsh', 'fish']

export const configure: Configure = (command, act) => {
  command.argument('<shell>', SHELLS.join(', '))
  example(
    command,
    'mlv completion bash > ~/.local/share/bash-completion/completions/mlv',
    'mlv completion zsh > ~/.zsh/functions/_mlv',
    'mlv completion fish > ~/.config/fish/completions/mlv.fish',
  )
  command.action(
    act(async ({ output }, shell: string) => {
      const [{ readVocabulary }, { bashScript, fishScript, zshScript }] = await Promise.all([
        import('../vocabulary.ts'),
        import('../render/completion.ts'),
      ])
      const scripts: Record<string, typeof bashScript> = { bash: bashScript, zsh: zshScript, fish: fishScript }
      const render = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined
      if (!render)
        throw new MlvError('USAGE', `mlv has no completion for "${shell}"`, { hint: `Shells are: ${SHELLS.join(', ')}.` })
      const vocabulary = await readVocabulary()
      output.answer(vocabulary, () => render(vocabulary))
    }),
  )
}
