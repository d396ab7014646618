import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemCode } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Project } from '../workspace/project.ts'
import type { StageGraph } from './graph.ts'
import { PIPELINE_FILE } from './stage.ts'

/** Editors write in several steps, and copies take a while: a run begins when nothing has changed for this long. */
const SETTLE_MS = 300
/** How often is looked where the system tells of no changes. */
const POLL_MS = 2000

/** Why a path may not be watched: it is not there yet, or the system has no room for more. It is looked at now and then. */
const UNWATCHED = ['ENOENT', 'ENOSPC', 'EMFILE', 'EACCES', 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM']

/** The paths whose change may call for a run: what stages read and no stage makes, and mlv.yaml. */
export function watchedPaths({ stages, makers }: StageGraph): RepoPath[] {
  const paths = new Set<RepoPath>([PIPELINE_FILE as RepoPath])
  for (const { deps, params } of stages.values()) {
    for (const { path } of deps) if (!makers.has(path)) paths.add(path)
    for (const { file } of params) if (!makers.has(file)) paths.add(file)
  }
  return [...paths].sort()
}

export interface Watch {
  /** Waits for the first change since the watch began, and then until all has settled. @returns false when the user wants no more */
  next(): Promise<boolean>
  close(): void
}

/** Begins to watch paths of a project, files and whole folders. */
export async function watchPaths(project: Pick<Project, 'root' | 'surroundings'>, paths: readonly RepoPath[]): Promise<Watch> {
  const { signal } = project.surroundings
  const watchers: FSWatcher[] = []
  let wake: (() => void) | undefined
  let changes = 0
  let deaf = false
  const changed = () => {
    changes++
    wake?.()
  }
  for (const path of paths) {
    const full = join(project.root, path)
    try {
      // A file that is replaced keeps its name and not its inode: its folder is watched.
      const watcher = (await stat(full)).isDirectory()
        ? watch(full, { recursive: true }, changed)
        : watch(dirname(full), (_event, name) => {
            if (name === null || name === basename(full)) changed()
          })
      watcher.on('error', () => {
        deaf = true
      })
      watchers.push(watcher)
    } catch (error) {
      if (!UNWATCHED.includes(systemCode(error) ?? '')) throw error
      deaf = true
    }
  }
  return {
    async next() {
      await new Promise<void>((done) => {
        wake = done
        signal?.addEventListener('abort', () => done(), { once: true })
        if (deaf) setTimeout(done, POLL_MS)
        if (changes > 0 || signal?.aborted) done()
      })
      for (let seen = -1; seen !== changes && !signal?.aborted; await sleep(SETTLE_MS)) seen = changes
      return !signal?.aborted
    },
    close() {
      for (const watcher of watchers) watcher.close()
    },
  }
}
