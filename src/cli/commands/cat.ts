import { MlvError } from '../../base/errors.ts'
import { parseRepoPath, quotePath, type RepoPath, repoPathFrom } from '../../base/paths.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import { openNamed } from '../revision-arguments.ts'

/** Reads `REV:PATH` as git does: PATH from the project's root, or from here when it starts with `./`. Without a colon it is a path of the workspace. */
function parseObject(typed: string, project: Project): { revision: string | undefined; path: RepoPath } {
  const { cwd } = project.surroundings
  const colon = /^\.{0,2}\//.test(typed) ? -1 : typed.indexOf(':')
  const path = typed.slice(colon + 1)
  if (colon < 0 || /^\.{1,2}\//.test(path))
    return { revision: colon > 0 ? typed.slice(0, colon) : undefined, path: repoPathFrom(path, cwd, project.root) }
  return { revision: typed.slice(0, colon) || undefined, path: parseRepoPath(path, typed) }
}

/** Writes pieces to stdout as fast as its reader takes them, and stops when that has gone. */
async function pour(pieces: AsyncIterable<Buffer>): Promise<void> {
  const { stdout } = process
  for await (const piece of pieces) {
    if (stdout.destroyed || stdout.errored) return
    if (!stdout.write(piece)) await untilDrained(stdout)
  }
}

/** Waits until a stream takes more, or will take nothing any more. */
function untilDrained(stream: NodeJS.WriteStream): Promise<void> {
  const events = ['drain', 'close', 'error']
  return new Promise((resolve) => {
    const done = () => {
      // Those of the other two would add up, piece by piece.
      for (const event of events) stream.off(event, done)
      resolve()
    }
    for (const event of events) stream.on(event, done)
  })
}

export const configure: Configure = (command, act) => {
  command.argument('<object>', 'REV:PATH, or a path of the workspace')
  example(command, 'mlv cat main:data/labels.csv | head', 'mlv cat v1.0:models/model.bin > old.bin')
  command.action(
    act(async (context, typed: string) => {
      const project = await context.project()
      const { findEntry } = await import('../../workspace/find-entry.ts')
      const { revision, path } = parseObject(typed, project)
      const { entry, storeOf } = await findEntry(project, await openNamed(project, revision), path)
      if (entry.kind === 'tree')
        throw new MlvError('PATH_UNSUPPORTED', `${path} is a folder`, {
          hint: `Name a file in it; "mlv ls ${quotePath(path)}${revision ? ` --rev ${revision}` : ''}" lists them.`,
        })
      await pour((await storeOf(entry.oid)).stream(entry.oid, { signal: context.surroundings.signal }))
    }),
  )
}
