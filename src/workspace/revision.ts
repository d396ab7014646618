import type { RepoPath } from '../base/paths.ts'

/** A commit, or the workspace, read the same way. Paths are relative to the project's root. Needs no data and no credentials. */
export interface Revision {
  /** what the user called it; `workspace` for the workspace */
  readonly name: string
  /** full commit id; undefined for the workspace */
  readonly commit: string | undefined
  /** bytes of a file that git tracks there (in the workspace: of the file as it is); undefined when there is none */
  read(path: RepoPath): Promise<Uint8Array | undefined>
  /** files that git tracks there (in the workspace: tracked, or untracked and not ignored), at or below `folder` */
  list(folder?: RepoPath): Promise<RepoPath[]>
}
