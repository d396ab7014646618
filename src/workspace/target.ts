import { mapBounded } from '../base/concurrency.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8, isWithin, type RepoPath } from '../base/paths.ts'
import type { Entry } from './entry.ts'
import { findPointers } from './find-pointers.ts'
import { dataPathOf, POINTER_SUFFIX, type Pointer, parsePointer } from './pointer.ts'
import type { Project } from './project.ts'
import type { Revision } from './revision.ts'

/** A path whose data mlv keeps, at one revision: named by a pointer, or by the lock as a stage's out. */
export interface Target {
  path: RepoPath
  entry: Entry
  origin: 'pointer' | 'stage'
  /** the remote its pointer names */
  remote?: string
  /** kept beside the data, and never placed: the table of what a map stage's datums gave, or what an import took, which may be nowhere */
  derived?: true
  /** stages: git keeps it and all else that its stage made; only the run is of interest */
  git?: true
  /** stages: the key of the run that made it */
  run?: Oid
}

const LOCK_FILE = 'mlv.lock' as RepoPath

/** What an import took, as its pointer names it: derived, and of a size that only a store that has it knows. */
export function filesTarget(path: RepoPath, { source, remote }: Pointer): Target | undefined {
  const oid = source?.files
  if (typeof oid !== 'string' || !isOid(oid)) return undefined
  return { path, entry: { kind: 'file', oid, size: 0 }, origin: 'pointer', remote, derived: true }
}

/** What a pointer file names. */
export function pointerTargets(file: RepoPath, pointer: Pointer, derived: boolean): Target[] {
  const path = dataPathOf(file)
  const files = derived ? filesTarget(path, pointer) : undefined
  const data: Target = { path, entry: pointer.entry, origin: 'pointer', remote: pointer.remote }
  return files ? [data, files] : [data]
}

/** All targets of a revision, sorted by path. @param derived also those that are never placed   @throws POINTER_INVALID, POINTER_CONFLICT, LOCK_INVALID */
export async function readTargets(project: Project, revision: Revision, derived = false): Promise<Target[]> {
  const pointers =
    revision.commit === undefined
      ? findPointers(project)
      : (await revision.list()).filter((path) => path.endsWith(POINTER_SUFFIX))
  const read = await mapBounded(pointers, 16, async (path): Promise<Target[]> => {
    const bytes = await revision.read(path)
    if (!bytes) return []
    const pointer = await parsePointer(Buffer.from(bytes).toString('utf8'), revision.commit ? `${revision.name}:${path}` : path)
    return pointerTargets(path, pointer, derived)
  })
  const targets = read.flat()
  const known = new Set(targets.map((target) => target.path))
  const lock = await revision.read(LOCK_FILE)
  if (lock && project.lockOuts)
    for (const out of await project.lockOuts(Buffer.from(lock).toString('utf8'), derived ? 'git' : undefined))
      if (!known.has(out.path) && (derived || !out.derived)) targets.push({ ...out, origin: 'stage' })
  return targets.sort((a, b) => compareUtf8(a.path, b.path))
}

/** Targets at, above or below the paths asked for; all when none are. Each with the part below it that is wanted ('' for the whole). */
export function selectTargets(targets: readonly Target[], paths: readonly RepoPath[]): { target: Target; part: string }[] {
  if (paths.length === 0) return targets.map((target) => ({ target, part: '' }))
  const selected: { target: Target; part: string }[] = []
  for (const target of targets) {
    if (paths.some((path) => isWithin(target.path, path))) selected.push({ target, part: '' })
    else
      for (const path of paths)
        if (isWithin(path, target.path)) selected.push({ target, part: path.slice(target.path.length + 1) })
  }
  return selected
}
