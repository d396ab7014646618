import { type Configure, example } from '../command.ts'
import { VERSION } from '../version.ts'

export const configure: Configure = (command, act) => {
  example(command, 'mlv version --json')
  command.action(
    act(async ({ output, surroundings }) => {
      const { gitVersion } = await import('../../git/version.ts')
      const git = await gitVersion(surroundings.env)
      output.answer({ mlv: VERSION, node: process.versions.node, git: git ?? null }, () =>
        [`mlv ${VERSION}`, `node ${process.versions.node}`, git ? `git ${git}` : 'git: none on PATH'].join('\n'),
      )
    }),
  )
}
