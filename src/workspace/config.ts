/** Settings of one remote, as in `remotes.NAME` of a config file. */
export interface RemoteConfig {
  /** a folder (relative to the project or absolute) or s3://bucket/prefix or https://… (read only) */
  url: string
  endpoint?: string
  region?: string
  profile?: string
  path_style?: boolean
  /** AES256 or aws:kms */
  sse?: string
  sse_kms_key?: string
  /** how uploads are checked: sha256 (default), md5 or none, for servers that refuse the newer checksums */
  checksum?: 'sha256' | 'md5' | 'none'
}

export type ConfigOrigin = 'default' | 'user' | 'project' | 'local' | 'environment'

export interface ConfigValue {
  key: string
  value: unknown
  origin: ConfigOrigin
}

/** The merged settings: the user's, .mlv/config, .git/mlv/config, environment; later ones win. */
export interface Config {
  get(key: 'core.remote' | 'cache.dir' | 'mlflow.tracking_uri' | 'mlflow.experiment'): string | undefined
  get(key: 'core.autostage'): boolean
  /** link types to try, in order */
  get(key: 'cache.link'): ('reflink' | 'hardlink' | 'symlink' | 'copy')[] | undefined
  /** seconds */
  get(key: 'core.lock_timeout'): number
  /** transfers at once */
  get(key: 'core.jobs'): number | undefined
  remote(name: string): RemoteConfig | undefined
  remotes(): string[]
  list(): ConfigValue[]
}
