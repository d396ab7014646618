import { hasCode, MlvError } from '../base/errors.ts'
import { parsePlace } from '../transport/place.ts'
import type { Config, RemoteConfig } from '../workspace/config.ts'
import { cacheFolder } from '../workspace/link.ts'
import { openConfig } from '../workspace/open-config.ts'
import { openProject } from '../workspace/open-project.ts'
import type { ScratchSettings } from '../workspace/open-scratch.ts'
import type { Surroundings } from '../workspace/project.ts'
import type { TaskHome } from './task.ts'

/** Where the user says that a task's inputs are, and where its outs go. */
export interface AskedStores {
  /** a remote of the settings by its name, or a url; undefined: the task's home */
  remote?: string
  /** settings of the bucket that `remote` is */
  bucket: Pick<RemoteConfig, 'endpoint' | 'region' | 'profile'>
  /** a folder; undefined: that of the settings, else one that goes with the scratch folder */
  cache?: string
}

/** The settings around the current folder: a project's where there is one, though nothing is asked of git. */
async function openSettings(surroundings: Surroundings): Promise<{ config: Config; root: string; cache: string | undefined }> {
  const { cwd, env, warn } = surroundings
  try {
    const project = await openProject(surroundings)
    return { config: project.config, root: project.root, cache: cacheFolder(project) }
  } catch (error) {
    if (!hasCode(error, 'GIT_MISSING', 'PROJECT_MISSING')) throw error
  }
  const config = await openConfig({ env, warn })
  const folder = config.get('cache.dir')
  return {
    config,
    root: cwd,
    cache: folder === undefined ? undefined : cacheFolder({ root: cwd, homeDir: cwd, config, surroundings }),
  }
}

/** Drops what is not set. */
function given<T extends object>(settings: T): Partial<T> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as Partial<T>
}

/** Finds the stores that a task runs with. @throws REMOTE_UNKNOWN, CONFIG_INVALID, SECRET_REFUSED, and what reading settings throws */
export async function findStores(
  asked: AskedStores,
  home: TaskHome | undefined,
  surroundings: Surroundings,
): Promise<ScratchSettings> {
  const { cwd, env } = surroundings
  const { config, root, cache } = await openSettings(surroundings)
  const absolute = (url: string, from: string) => {
    const place = parsePlace(url, { root: from, env })
    return place.kind === 'folder' ? place.folder : url
  }
  const { scope, ...homePlace } = home ?? { url: undefined, scope: undefined }

  /** What the settings say of that place, keys above all, then what the task and the user say. */
  function settingsOf(url: string): RemoteConfig {
    const name = config.remotes().find((one) => absolute(config.remote(one)!.url, root) === url)
    const own = name === undefined ? {} : config.remote(name)!
    return { ...(homePlace.url === url ? homePlace : {}), ...own, ...given(asked.bucket), url }
  }

  function remote(): RemoteConfig | undefined {
    if (asked.remote === undefined) return homePlace.url === undefined ? undefined : settingsOf(absolute(homePlace.url, '/'))
    const named = config.remote(asked.remote)
    if (named) return { ...named, ...given(asked.bucket), url: absolute(named.url, root) }
    if (/[/\\.~:]/.test(asked.remote)) return settingsOf(absolute(asked.remote, cwd))
    throw new MlvError('REMOTE_UNKNOWN', `There is no remote "${asked.remote}" in the settings here`, {
      hint: 'Give its url: --remote s3://BUCKET/PREFIX, or a folder.',
    })
  }

  return { config, remote: remote(), scope, cache: asked.cache === undefined ? cache : absolute(asked.cache, cwd) }
}
