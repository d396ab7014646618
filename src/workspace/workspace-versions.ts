import { join } from 'node:path'
import type { RepoPath } from '../base/paths.ts'
import { CHUNK_FROM } from '../store/layout.ts'
import type { Version } from '../store/nearby.ts'
import type { Project } from './project.ts'
import { createStatCache } from './stat-cache.ts'

/** Files of the workspace that held large objects when they were last looked at. Whoever reads them checks what they hold now. */
export function workspaceVersions(project: Project, paths: Iterable<RepoPath>): Version[] {
  const cache = createStatCache(project.stateDir)
  const versions: Version[] = []
  const note = (path: string, row: { oid: Version['oid']; size: number; kind: string }) => {
    if (row.size >= CHUNK_FROM && (row.kind === 'file' || row.kind === 'exec'))
      versions.push({ oid: row.oid, path: join(project.root, path) })
  }
  for (const path of new Set(paths)) {
    const file = cache.files().rows.get(path)
    if (file) note(path, file)
    for (const [below, row] of cache.folder(path).rows) note(join(path, below), row)
  }
  return versions
}
