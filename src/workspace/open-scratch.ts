import { join } from 'node:path'
import { makeFolders } from '../base/make-folders.ts'
import type { Config, RemoteConfig } from './config.ts'
import { createProject } from './open-project.ts'
import type { Project, Surroundings } from './project.ts'

/** The name by which a scratch project knows its one remote. */
const REMOTE = 'task'

export interface ScratchSettings {
  /** an absolute folder; undefined: below the scratch folder, gone with it */
  cache?: string
  /** its url absolute */
  remote?: RemoteConfig
  /** of run records, where the settings name none */
  scope?: string
  /** all else */
  config: Config
}

function configOf({ cache, remote, scope, config }: ScratchSettings): Config {
  const own: Record<string, unknown> = {
    'cache.dir': cache,
    'core.remote': remote && REMOTE,
    'run_cache.write': config.get('run_cache.write') ?? scope,
  }
  return {
    ...config,
    get: ((key: string) => (Object.hasOwn(own, key) ? own[key] : config.get(key as 'core.remote'))) as Config['get'],
    remote: (name) => (name === REMOTE ? remote : undefined),
    remotes: () => (remote ? [REMOTE] : []),
  }
}

/** Opens a project without a repository in a new, empty folder: `work` is its root, `mlv` holds what .git/mlv does elsewhere. */
export function openScratch(folder: string, settings: ScratchSettings, surroundings: Surroundings): Project {
  const root = join(folder, 'work')
  const homeDir = join(folder, 'mlv')
  // Where links are tried.
  makeFolders(join(root, '.mlv'))
  const nothing = join(homeDir, 'git')
  const where = {
    ...{ root, homeDir, prefix: '', stateDir: join(homeDir, 'state', 'main'), isGitless: true as const },
    place: { workTree: root, gitDir: nothing, commonDir: nothing },
  }
  return createProject(where, configOf(settings), { ...surroundings, cwd: root }, undefined)
}
