import { hasCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { changesOf } from './compare-folders.ts'
import { type Entry, sameEntry } from './entry.ts'
import { parsePointer, pointerPathOf } from './pointer.ts'
import type { Project } from './project.ts'
import type { Snapshot } from './snapshot.ts'
import { recordedEntry, type Worktree } from './worktree.ts'

/** Whether a pointer for `path` named this entry in any commit of any branch or tag. */
async function isInHistory(project: Project, path: RepoPath, entry: Entry): Promise<boolean> {
  const git = await project.git()
  const head = await git.resolve('HEAD')
  const refs = await git.refs()
  const from = [...new Set([...refs.map((ref) => ref.commit), ...(head ? [head] : [])])]
  if (from.length === 0) return false
  const pointer = project.gitPath(pointerPathOf(path))
  const blobs = new Set<string>()
  for (const { changed } of await git.logChanges(from, { paths: [`:(literal)${pointer}`] }))
    for (const change of changed) if (change.path === pointer && change.blob !== undefined) blobs.add(change.blob)
  for (const bytes of (await git.readBlobs(blobs)).values())
    try {
      if (sameEntry((await parsePointer(Buffer.from(bytes).toString('utf8'), pointer)).entry, entry)) return true
    } catch (error) {
      if (!hasCode(error, 'POINTER_INVALID', 'POINTER_CONFLICT')) throw error
    }
  return false
}

/** What mlv last placed or recorded at a path here. Where the state that tells so is lost, a version that git's history knows counts as placed:
 *  it is an old one, not the user's work. */
export async function placedEntry(worktree: Worktree, snapshot: Snapshot): Promise<Entry | undefined> {
  const { path, entry } = snapshot
  const recorded = recordedEntry(worktree.cache, path)
  if (recorded || !entry) return recorded
  return (await isInHistory(worktree.project, path, entry)) ? entry : undefined
}

/** Whether what lies there is what was placed, or such a part of it that nothing is missing that ever was here. */
export async function isAsPlaced(snapshot: Snapshot, placed: Entry, store: ObjectStore): Promise<boolean> {
  if (sameEntry(snapshot.entry, placed)) return true
  const changes = await changesOf(snapshot, placed, store)
  return changes?.every((change) => change.kind === 'absent') ?? false
}
