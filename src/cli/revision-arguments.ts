import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { hasCode, MlvError } from '../base/errors.ts'
import { shortId } from '../git/short-id.ts'
import type { Project } from '../workspace/project.ts'
import type { Revision } from '../workspace/revision.ts'
import { wordsBehindDashes } from './dashes.ts'

/** Two revisions to compare. A repository without any commit has no `before`. */
export interface RevisionPair {
  before: Revision | undefined
  after: Revision
  /** how a reader calls them */
  labels: { before: string; after: string }
}

/** Splits a command's operands at `--`, which commander takes out: revisions before it, paths behind it. */
export function splitAtDashes(command: Command, operands: string[]): { revisions: string[]; paths: string[] } {
  const paths = wordsBehindDashes(command).length
  return { revisions: operands.slice(0, operands.length - paths), paths: operands.slice(operands.length - paths) }
}

/** Opens one revision; a file's name given by mistake is told where paths belong. @throws REVISION_UNKNOWN, USAGE */
export async function openNamed(project: Project, name: string | undefined): Promise<Revision> {
  try {
    return await project.revision(name)
  } catch (error) {
    if (name === undefined || !hasCode(error, 'REVISION_UNKNOWN') || !existsSync(resolve(project.surroundings.cwd, name)))
      throw error
    throw new MlvError('USAGE', `"${name}" is a file or folder, not a revision`, {
      hint: `Put paths behind "--": -- ${name}`,
      cause: error,
    })
  }
}

async function openRange(project: Project, text: string): Promise<RevisionPair> {
  const [{ commitRevision, resolveRange }, git] = await Promise.all([import('../workspace/open-revision.ts'), project.git()])
  const [base, tip] = (await resolveRange(git, text))!
  const cut = text.indexOf('...')
  const from = text.slice(0, cut) || 'HEAD'
  const to = text.slice(cut + 3) || 'HEAD'
  return {
    before: commitRevision(git, project.prefix, base, shortId(base)),
    after: commitRevision(git, project.prefix, tip, to),
    labels: { before: `${from} (base)`, after: to },
  }
}

/** Reads `[A] [B]` or `A...B`: HEAD against the workspace by default, A against the workspace, A against B, or B against where it left A.
 *  @throws REVISION_UNKNOWN, GIT_SHALLOW, USAGE */
export async function openPair(project: Project, revisions: string[]): Promise<RevisionPair> {
  const [first, second, ...more] = revisions
  if (more.length > 0)
    throw new MlvError('USAGE', `Two revisions can be compared, not ${revisions.length}`, { hint: 'Put paths behind "--".' })
  if (first?.includes('...') && second === undefined) return openRange(project, first)
  const [a, b] = second === undefined && first?.includes('..') && !first.includes('...') ? first.split('..', 2) : [first, second]
  const after = await openNamed(project, b || (b === '' ? 'HEAD' : undefined))
  const name = a || 'HEAD'
  if (a === undefined && (await (await project.git()).resolve('HEAD')) === undefined)
    return { before: undefined, after, labels: { before: 'HEAD', after: after.name } }
  const before = await openNamed(project, name)
  return { before, after, labels: { before: before.name, after: after.name } }
}
