import type { PlaceSettings } from '../transport/open-blobs.ts'

export type LinkType = 'reflink' | 'hardlink' | 'symlink' | 'copy'

/** Settings of one remote, as in `remotes.NAME` of a config file. */
export interface RemoteConfig extends PlaceSettings {
  /** Never from the committed file; without them the AWS SDK's own chain decides. */
  access_key_id?: string
  secret_access_key?: string
  session_token?: string
}

export type ConfigOrigin = 'default' | 'user' | 'project' | 'local' | 'environment'

export interface ConfigValue {
  key: string
  value: unknown
  origin: ConfigOrigin
  /** the file or variable it was read from; undefined for defaults */
  from?: string
}

/** The merged settings: the user's, .mlv/config, .git/mlv/config, environment; later ones win. */
export interface Config {
  get(key: 'core.remote' | 'cache.dir' | 'mlflow.tracking_uri' | 'mlflow.experiment'): string | undefined
  /** whose run records count; where the own ones go */
  get(key: 'run_cache.read'): string[] | undefined
  get(key: 'run_cache.write'): string | undefined
  get(key: 'core.autostage'): boolean
  /** whether a file's ctime tells that it may have been written to */
  get(key: 'core.trust_ctime'): boolean
  /** what "mlv repro --check-deps" makes of files that a stage uses without declaring them */
  get(key: 'repro.undeclared'): 'warn' | 'error'
  /** link types to try, in order */
  get(key: 'cache.link'): LinkType[] | undefined
  /** seconds */
  get(key: 'core.lock_timeout'): number
  /** transfers at once */
  get(key: 'core.jobs'): number | undefined
  /** bytes per second */
  get(key: 'core.limit_rate'): number | undefined
  remote(name: string): RemoteConfig | undefined
  remotes(): string[]
  /** every value that counts, by key; secrets are shown as `***` */
  list(): ConfigValue[]
}

/** One file's (or the environment's) values by full key, already checked. */
export interface ConfigLayer {
  origin: ConfigOrigin
  values: Map<string, { value: unknown; from: string }>
}

const DEFAULTS: [string, unknown][] = [
  ['core.autostage', false],
  ['core.trust_ctime', true],
  ['core.lock_timeout', 30],
  ['repro.undeclared', 'warn'],
]

export const SECRET_KEYS: ReadonlySet<string> = new Set(['access_key_id', 'secret_access_key', 'session_token'])

function shown(key: string, value: unknown): unknown {
  if (SECRET_KEYS.has(key.slice(key.lastIndexOf('.') + 1))) return '***'
  return typeof value === 'string' ? value.replace(/(:\/\/[^/@:]*):[^/@]*@/, '$1:***@') : value
}

/** Merges layers; of two that set a key the later one wins. A remote counts once some layer gives its url. */
export function createConfig(layers: ConfigLayer[]): Config {
  const merged = new Map<string, ConfigValue>(DEFAULTS.map(([key, value]) => [key, { key, value, origin: 'default' }]))
  for (const layer of layers)
    for (const [key, { value, from }] of layer.values) merged.set(key, { key, value, origin: layer.origin, from })

  const byName = new Map<string, Record<string, unknown>>()
  for (const { key, value } of merged.values()) {
    const [section, name, setting] = key.split('.')
    if (section !== 'remotes' || !name || !setting) continue
    const remote = byName.get(name) ?? {}
    remote[setting] = value
    byName.set(name, remote)
  }
  const names = [...byName].filter(([, remote]) => typeof remote.url === 'string').map(([name]) => name)
  return {
    get: ((key: string) => merged.get(key)?.value) as Config['get'],
    remote: (name) => (names.includes(name) ? (byName.get(name) as unknown as RemoteConfig) : undefined),
    remotes: () => names.sort(),
    list: () =>
      [...merged.values()]
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .map((item) => ({ ...item, value: shown(item.key, item.value) })),
  }
}
