import { type Configure, example } from '../command.ts'

export const configure: Configure = (command, act) => {
  command.option('--subdir', 'make a sub-directory of the repository a project of its own')
  example(command, 'mlv init')
  command.action(
    act(async ({ output, surroundings }, options: { subdir?: boolean }) => {
      const { initProject } = await import('../../workspace/init-project.ts')
      const result = initProject(surroundings.cwd, { subdir: options.subdir ?? false })
      output.answer({ root: result.root, created: result.written.length > 0, written: result.written }, () => {
        if (output.quiet) return ''
        if (result.written.length === 0) return `${result.root} is an mlv project already; nothing changed`
        return [
          `${result.root} is an mlv project now`,
          'next:',
          `  git add ${result.written.join(' ')}`,
          '  mlv add PATH                track a file or folder',
          '  mlv remote add origin URL   where others get the data: a folder or s3://BUCKET/PREFIX',
        ].join('\n')
      })
    }),
  )
}
