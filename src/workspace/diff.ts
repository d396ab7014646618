import { hasCode } from '../base/errors.ts'
import { compareUtf8, type RepoPath } from '../base/paths.ts'
import type { PageReader, TreeEntry } from '../store/tree.ts'
import { diffTrees } from '../store/tree-walk.ts'
import { type Entry, sameEntry } from './entry.ts'
import { insidePath } from './worktree.ts'

export interface FileChange {
  kind: 'added' | 'deleted' | 'modified' | 'renamed' | 'absent'
  path: RepoPath
  /** renamed: where it was */
  from?: RepoPath
  /** bytes before and after, where there were any */
  before?: number
  after?: number
}

export interface EntryDiff {
  path: RepoPath
  before: Entry | undefined
  after: Entry | undefined
  /** undefined where the trees' pages cannot be read: then only the totals are known */
  changes: FileChange[] | undefined
}

/** Pairs a deletion and an addition of the same bytes as a rename. */
export function pairRenames(changes: (FileChange & { oid?: string })[]): FileChange[] {
  const gone = new Map<string, FileChange & { oid?: string }>()
  for (const change of changes) if (change.kind === 'deleted' && change.oid && change.before) gone.set(change.oid, change)
  const paired: FileChange[] = []
  const used = new Set<FileChange>()
  for (const change of changes) {
    const from = change.kind === 'added' && change.oid ? gone.get(change.oid) : undefined
    if (!from || used.has(from)) continue
    used.add(from)
    used.add(change)
    paired.push({ kind: 'renamed', path: change.path, from: from.path, before: from.before, after: change.after })
  }
  const rest = changes.filter((change) => !used.has(change)).map(({ oid: _oid, ...change }) => change)
  return [...rest, ...paired].sort((a, b) => compareUtf8(a.path, b.path))
}

function fileChange(
  path: RepoPath,
  before: TreeEntry | Entry | undefined,
  after: TreeEntry | Entry | undefined,
): FileChange & { oid?: string } {
  return {
    kind: !before ? 'added' : !after ? 'deleted' : 'modified',
    path,
    before: before?.size,
    after: after?.size,
    oid: (before && after ? undefined : (after ?? before))?.oid,
  }
}

/** What keeps a tree's pages from being read: then only its totals are known. */
export const UNREADABLE = [
  'OBJECT_MISSING',
  'OBJECT_CORRUPT',
  'BLOB_MISSING',
  'REMOTE_MISSING',
  'REMOTE_UNREACHABLE',
  'REMOTE_DENIED',
  'REMOTE_FAILED',
] as const

/** Compares what a path was with what it is, down to files. Reads tree pages only, no data. */
export async function diffEntries(
  path: RepoPath,
  before: Entry | undefined,
  after: Entry | undefined,
  read: PageReader,
): Promise<EntryDiff> {
  if (sameEntry(before, after)) return { path, before, after, changes: [] }
  const oldTree = before?.kind === 'tree' ? before : undefined
  const newTree = after?.kind === 'tree' ? after : undefined
  const changes: (FileChange & { oid?: string })[] = []
  const oldFile = oldTree ? undefined : before
  const newFile = newTree ? undefined : after
  if (oldFile || newFile) changes.push(fileChange(path, oldFile, newFile))
  if (oldTree || newTree)
    try {
      for await (const change of diffTrees(oldTree?.oid, newTree?.oid, read))
        changes.push(fileChange(insidePath(path, change.path), change.before, change.after))
    } catch (error) {
      if (hasCode(error, ...UNREADABLE)) return { path, before, after, changes: undefined }
      throw error
    }
  return { path, before, after, changes: pairRenames(changes) }
}
