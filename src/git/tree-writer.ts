import { faultPoint } from '../base/fault-point.ts'
import type { GitProcess } from './git-process.ts'

/** Names in git are bytes: as latin1 each byte is one character and stays what it is. */
const raw = (name: string) => Buffer.from(name).toString('latin1')

/** What a folder is to hold: the id of a file, or the same of a folder below. */
type Changes = Map<string, string | Changes>

async function writeBlobs(git: GitProcess, files: ReadonlyMap<string, string>): Promise<Changes> {
  const root: Changes = new Map()
  for (const [path, text] of files) {
    faultPoint('git: write object')
    const { stdout } = await git.run(['hash-object', '-w', '--stdin'], { input: text })
    const names = path.split('/').map(raw)
    let folder = root
    for (const name of names.slice(0, -1)) {
      const below = folder.get(name)
      const next: Changes = below instanceof Map ? below : new Map()
      folder.set(name, next)
      folder = next
    }
    folder.set(names.at(-1)!, stdout.toString().trim())
  }
  return root
}

/** @param base a tree or commit; undefined: an empty folder */
async function writeFolder(git: GitProcess, base: string | undefined, changes: Changes): Promise<string> {
  const listed = base === undefined ? '' : (await git.run(['ls-tree', '-z', '--full-tree', base])).stdout.toString('latin1')
  const entries = new Map<string, string>()
  // MODE TYPE ID, tab, name
  for (const line of listed.split('\0').filter(Boolean)) entries.set(line.slice(line.indexOf('\t') + 1), line)
  for (const [name, change] of changes) {
    const [, type, id] = entries.get(name)?.split(/[ \t]/) ?? []
    entries.set(
      name,
      typeof change === 'string'
        ? `100644 blob ${change}\t${name}`
        : `040000 tree ${await writeFolder(git, type === 'tree' ? id : undefined, change)}\t${name}`,
    )
  }
  faultPoint('git: write object')
  const input = Buffer.from(Array.from(entries.values(), (line) => `${line}\0`).join(''), 'latin1')
  // What the base has may lie on a git remote alone, in a partial clone.
  return (await git.run(['mktree', '-z', '--missing'], { input })).stdout.toString().trim()
}

/** Writes the tree of a commit with some files replaced, as objects alone: neither an index file nor anything else is left where it is cut off.
 *  @param files text by path from the top   @returns the tree's id   @throws GIT_FAILED */
export async function writeTreeWith(git: GitProcess, base: string, files: ReadonlyMap<string, string>): Promise<string> {
  return writeFolder(git, base, await writeBlobs(git, files))
}
