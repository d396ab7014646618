import { closeSync, fstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { openRegularFile } from '../base/regular-file.ts'
import { type Config, type ConfigLayer, type ConfigOrigin, createConfig } from './config.ts'
import { checkValue, keysFromEnvironment, knownKeys, parseValue, refuseSecret, typeOfKey } from './config-keys.ts'
import { isOutside, parseFolderUrl } from './folder-url.ts'
import { parsePlainConfig } from './plain-config.ts'

/** Larger than this, a config is no file a person wrote. */
const MAX_BYTES = 1 << 20

export interface ConfigPlace {
  /** absolute; undefined outside a project: then only the user's file and the environment count */
  root?: string
  /** top of the git work tree, absolute */
  workTree?: string
  /** .git/mlv, absolute */
  homeDir?: string
  env: Record<string, string | undefined>
  warn: (line: string) => void
}

/** Where a config file lies, and how messages call it. */
export function configFile(origin: 'user' | 'project' | 'local', place: ConfigPlace): { path: string; name: string } | undefined {
  switch (origin) {
    case 'user': {
      const home = place.env.HOME ?? place.env.USERPROFILE
      const folder = place.env.XDG_CONFIG_HOME || (home ? join(home, '.config') : undefined)
      return folder ? { path: join(folder, 'mlv', 'config'), name: join(folder, 'mlv', 'config') } : undefined
    }
    case 'project':
      return place.root === undefined ? undefined : { path: join(place.root, '.mlv', 'config'), name: '.mlv/config' }
    case 'local':
      return place.homeDir === undefined ? undefined : { path: join(place.homeDir, 'config'), name: '.git/mlv/config' }
  }
}

/** @returns a config file's text, '' when there is none   @throws YAML_INVALID when too large or not UTF-8, FILE_UNREADABLE */
export function readConfigText(path: string, name: string): string {
  let fd: number
  try {
    fd = openRegularFile(path)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return ''
    throw fileError(error, 'reading', path)
  }
  try {
    if (fstatSync(fd).size > MAX_BYTES)
      throw new MlvError('YAML_INVALID', `${name} is larger than 1 MiB`, {
        hint: 'Keep settings only in it; restore it from git.',
      })
    const bytes = readFileSync(fd)
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (cause) {
      throw new MlvError('YAML_INVALID', `${name} is not UTF-8 text`, {
        hint: 'Save it as UTF-8, or restore it from git.',
        cause,
      })
    }
  } catch (error) {
    throw systemCode(error) === 'EISDIR'
      ? new MlvError('CONFIG_INVALID', `${name} is a folder, not a file`, {
          hint: `Move it away, then run "mlv init".`,
          cause: error,
        })
      : fileError(error, 'reading', path)
  } finally {
    closeSync(fd)
  }
}

type Warn = (line: string) => void

/** Walks a parsed file down to full keys; sections are `core`, `cache`, `mlflow`, and `remotes.NAME`. */
function* flatten(
  value: unknown,
  at: (...path: string[]) => string,
  path: string[] = [],
): Generator<{ path: string[]; value: unknown }> {
  const depth = path[0] === 'remotes' ? 3 : 2
  if (path.length === depth) {
    yield { path, value }
    return
  }
  if (value === null || value === undefined) return
  if (typeof value !== 'object' || Array.isArray(value)) {
    if (path.length > 0 && !['core', 'cache', 'mlflow', 'remotes'].includes(path[0]!)) yield { path, value }
    else
      throw new MlvError('CONFIG_INVALID', `${at(...path)}: ${path.join('.') || 'the file'} takes a mapping of keys to values`, {
        hint: 'For example "core:" and below it "  remote: origin".',
      })
    return
  }
  for (const [key, item] of Object.entries(value)) yield* flatten(item, at, [...path, key])
}

async function readYaml(text: string, name: string): Promise<{ value: unknown; at: (...path: string[]) => string }> {
  const { parseYaml } = await import('../base/yaml.ts')
  return parseYaml(text, name)
}

async function warnUnknown(key: string, where: string, warn: Warn): Promise<void> {
  const { nearestKey } = await import('./nearest-key.ts')
  const close = nearestKey(key, knownKeys())
  warn(`${where}: mlv knows no setting "${key}"${close ? `; did you mean "${close}"?` : ''}`)
}

/** Says what a committed file must not decide: where this machine keeps its cache, and folders outside the repository. */
function committedProblem(key: string, value: unknown, place: ConfigPlace): string | undefined {
  if (key === 'cache.dir')
    return `cache.dir does not count in the committed file; use "mlv config set cache.dir ${String(value)} --local"`
  if (/^remotes\.[^.]+\.url$/.test(key) && typeof value === 'string' && place.root !== undefined) {
    const folder = parseFolderUrl(value, place.root, place.env)
    if (folder !== undefined && isOutside(folder, place.workTree ?? place.root))
      return `a remote that is a folder outside the repository does not count in the committed file; use "mlv remote add ${key.split('.')[1]} ${value} --local"`
  }
  return undefined
}

/** Reads one config file. @throws YAML_INVALID, CONFIG_INVALID with line and column, SECRET_REFUSED */
export async function readLayer(origin: 'user' | 'project' | 'local', place: ConfigPlace): Promise<ConfigLayer> {
  const values: ConfigLayer['values'] = new Map()
  const file = configFile(origin, place)
  const text = file ? readConfigText(file.path, file.name) : ''
  if (!file || text.trim() === '') return { origin, values }
  const committed = origin === 'project'

  const plain = parsePlainConfig(text)
  if (plain && [...plain].every(([key, value]) => typeOfKey(key)?.check(value) !== undefined)) {
    for (const [key, value] of plain) accept(key, value, () => file.name)
    return { origin, values }
  }
  const { value: parsed, at } = await readYaml(text, file.name)
  for (const { path, value } of flatten(parsed, at)) {
    const key = path.join('.')
    if (!typeOfKey(key)) await warnUnknown(key, at(...path), place.warn)
    else accept(key, value, () => at(...path))
  }
  return { origin, values }

  function accept(key: string, value: unknown, where: () => string): void {
    if (committed) refuseSecret(key, value, where())
    const checked = checkValue(key, value, where())
    const problem = committed ? committedProblem(key, checked, place) : undefined
    if (problem) place.warn(`${where()}: ${problem}`)
    else values.set(key, { value: checked, from: file!.name })
  }
}

function readEnvironment(env: ConfigPlace['env']): ConfigLayer {
  const values: ConfigLayer['values'] = new Map()
  for (const { key, variable } of keysFromEnvironment()) {
    const typed = env[variable]
    if (typed) values.set(key, { value: parseValue(key, typed, variable), from: variable })
  }
  return { origin: 'environment', values }
}

/** Reads and merges all settings. Without any config file no YAML parser is loaded.
 *  @throws YAML_INVALID, CONFIG_INVALID, SECRET_REFUSED, FILE_UNREADABLE */
export async function openConfig(place: ConfigPlace): Promise<Config> {
  const origins: ('user' | 'project' | 'local')[] = ['user', 'project', 'local']
  const layers: ConfigLayer[] = []
  for (const origin of origins) layers.push(await readLayer(origin, place))
  return createConfig([...layers, readEnvironment(place.env)])
}

export type { ConfigOrigin }
