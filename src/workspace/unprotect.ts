import { chmodSync, copyFileSync, lstatSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryName } from '../base/atomic.ts'
import { fileError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { refuseUnknownPart } from './asked-part.ts'
import type { Project } from './project.ts'
import { scannedFiles } from './scan.ts'
import { checkParents, findTracked, notTracked } from './tracked.ts'
import { insidePath, openWorktree } from './worktree.ts'

/** Replaces read-only links into the cache by writable copies. @returns the files that were links   @throws PATH_MISSING, DISK_FULL */
export async function unprotect(project: Project, paths: readonly RepoPath[]): Promise<RepoPath[]> {
  const worktree = openWorktree(project)
  const freed: RepoPath[] = []
  for (const path of paths) {
    const tracked = await findTracked(project.root, path)
    if (!tracked) throw notTracked(path)
    await refuseUnknownPart(
      project,
      [{ target: { path: tracked.path, entry: tracked.pointer.entry }, part: tracked.below }],
      true,
    )
    checkParents(project.root, path)
    const { scan } = await worktree.snapshot(path)
    const files = scan.kind === 'folder' ? [...scannedFiles(scan.folder)] : scan.kind === 'file' ? [scan.file] : []
    for (const file of files) {
      const shown = insidePath(path, file.path)
      const absolute = join(project.root, shown)
      const stats = lstatSync(absolute)
      const shares = stats.isSymbolicLink() ? file.kind !== 'link' : stats.nlink > 1 || (stats.mode & 0o200) === 0
      if (!shares) continue
      const temporary = temporaryName(absolute)
      try {
        copyFileSync(absolute, temporary)
        chmodSync(temporary, statSync(absolute).mode | 0o200)
        renameSync(temporary, absolute)
      } catch (error) {
        rmSync(temporary, { force: true })
        throw fileError(error, 'writing', shown)
      }
      freed.push(shown)
    }
  }
  return freed
}
