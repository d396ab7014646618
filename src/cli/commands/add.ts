import { MlvError } from '../../base/errors.ts'
import type { RepoPath } from '../../base/paths.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import { tellWritten } from '../tell-written.ts'
import { collect, typedPaths } from '../typed-paths.ts'

interface AddOptions {
  update?: boolean
  desc?: string
  label?: string[]
  glob?: boolean
  force?: boolean
}

async function expandGlobs(project: Project, patterns: readonly string[]): Promise<RepoPath[]> {
  const { default: glob } = await import('fast-glob')
  const found = await glob(patterns as string[], {
    cwd: project.surroundings.cwd,
    onlyFiles: false,
    dot: false,
    followSymbolicLinks: false,
    ignore: ['**/*.mlv', '**/.git/**', '**/.mlv/**'],
  })
  if (found.length === 0)
    throw new MlvError('PATH_MISSING', `Nothing matches ${patterns.join(' ')}`, {
      hint: 'Quote the pattern so that the shell leaves it alone.',
    })
  const paths = typedPaths(project, found.sort())
  // A folder that matches stands for what it holds.
  return paths.filter((path) => !paths.some((other) => other !== path && path.startsWith(`${other}/`)))
}

export const configure: Configure = (command, act) => {
  command
    .argument('[paths...]', 'files and folders')
    .option('-u, --update', 'add every tracked path that changed')
    .option('--desc <text>', 'a description, kept in the pointer')
    .option('--label <label>', 'a label, kept in the pointer; may be given more than once', collect)
    .option('--glob', 'take the paths as patterns, such as "data/*.csv"')
    .option('-f, --force', 'record what is here, also where the pointer has moved on, and store all that the cache lacks')
  example(command, 'mlv add data models/base.bin', 'mlv add data/new.jpg', 'mlv add -u')
  command.action(
    act(async (context, typed: string[], options: AddOptions) => {
      if (typed.length === 0 && !options.update)
        throw new MlvError('USAGE', 'Name what to add', {
          hint: 'For example "mlv add data", or "mlv add -u" for all that changed.',
        })
      const project = await context.project()
      const [{ addPaths }, { renderAdded }] = await Promise.all([
        import('../../workspace/add.ts'),
        import('../render/changes.ts'),
      ])
      let paths = options.glob ? await expandGlobs(project, typed) : typedPaths(project, typed)
      if (options.update) {
        const { readStatus } = await import('../../workspace/status.ts')
        const changed = (await readStatus(project, paths)).filter(
          (status) => status.origin === 'pointer' && (status.state === 'modified' || status.state === 'diverged'),
        )
        const { isWithin } = await import('../../base/paths.ts')
        // A part that was named stays a part.
        paths = changed.flatMap(({ path }) => {
          const parts = paths.filter((asked) => asked !== path && isWithin(asked, path))
          return parts.length > 0 ? parts : [path]
        })
      } else {
        const { refuseStageOuts } = await import('../stage-outs.ts')
        await refuseStageOuts(project, paths)
      }
      const result = await addPaths(project, paths, { force: options.force, desc: options.desc, labels: options.label })
      context.output.answer({ added: result.added, untracked: result.untracked, written: result.written }, () =>
        context.output.quiet ? '' : renderAdded(result),
      )
      await tellWritten(project, context.output, result.written)
    }),
  )
}
