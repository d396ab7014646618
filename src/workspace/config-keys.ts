import { MlvError } from '../base/errors.ts'
import { parseRate } from '../base/rate.ts'
import { SECRET_KEYS } from './config.ts'

type ValueType = { words: string; sample?: string; check(value: unknown): unknown; variable?: string }

const LINKS = ['reflink', 'hardlink', 'symlink', 'copy']

const text: ValueType = { words: 'text', check: (value) => (typeof value === 'string' && value !== '' ? value : undefined) }
const yesOrNo: ValueType = {
  words: 'true or false',
  sample: 'true',
  check: (value) => (typeof value === 'boolean' ? value : undefined),
}
const seconds: ValueType = {
  words: 'a number of seconds, 0 or more',
  sample: '60',
  check: (value) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined),
}
const count: ValueType = {
  words: 'a whole number from 1 to 1000',
  sample: '8',
  check: (value) => (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1000 ? value : undefined),
}
const rate: ValueType = {
  words: 'a number of bytes per second from 4K, such as 500K, 10M or 1.5G',
  sample: '10M',
  check: (value) => (typeof value === 'string' || typeof value === 'number' ? parseRate(String(value)) : undefined),
}
const links: ValueType = {
  words: `one or more of ${LINKS.join(', ')}`,
  sample: 'reflink,copy',
  check: (value) => {
    const list = typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value
    return Array.isArray(list) && list.length > 0 && list.every((item) => LINKS.includes(item as string)) ? list : undefined
  },
}
/** Two hex digits begin the records that have no scope. */
const isScope = (name: unknown): name is string => typeof name === 'string' && /^(?![0-9a-f]{2}$)[A-Za-z0-9_-]{1,64}$/.test(name)
const scope: ValueType = {
  words: 'a name of letters, digits, "-" and "_"',
  sample: 'me',
  check: (value) => (isScope(value) ? value : undefined),
}
const scopes: ValueType = {
  words: 'one or more names of letters, digits, "-" and "_"',
  sample: 'main,me',
  check: (value) => {
    const list = typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value
    return Array.isArray(list) && list.length > 0 && list.every(isScope) ? list : undefined
  },
}
const oneOf = (...words: string[]): ValueType => ({
  words: words.join(' or '),
  sample: words[0],
  check: (value) => (words.includes(value as string) ? value : undefined),
})

const KEYS: Record<string, ValueType> = {
  'core.remote': { ...text, words: 'the name of a remote', variable: 'MLV_REMOTE' },
  'core.autostage': { ...yesOrNo, variable: 'MLV_AUTOSTAGE' },
  'core.trust_ctime': { ...yesOrNo, sample: 'false', variable: 'MLV_TRUST_CTIME' },
  'core.lock_timeout': { ...seconds, variable: 'MLV_LOCK_TIMEOUT' },
  'core.jobs': { ...count, variable: 'MLV_JOBS' },
  'core.limit_rate': { ...rate, variable: 'MLV_LIMIT_RATE' },
  'cache.dir': { ...text, words: 'a folder', variable: 'MLV_CACHE_DIR' },
  'cache.link': { ...links, variable: 'MLV_CACHE_LINK' },
  'run_cache.read': { ...scopes, variable: 'MLV_RUN_CACHE_READ' },
  'run_cache.write': { ...scope, variable: 'MLV_RUN_CACHE_WRITE' },
  'repro.undeclared': { ...oneOf('warn', 'error'), sample: 'error', variable: 'MLV_REPRO_UNDECLARED' },
  'mlflow.tracking_uri': { ...text, words: 'a URL', variable: 'MLFLOW_TRACKING_URI' },
  'mlflow.experiment': { ...text, variable: 'MLFLOW_EXPERIMENT_NAME' },
}

const REMOTE_KEYS: Record<string, ValueType> = {
  url: { ...text, words: 'a folder, s3://BUCKET/PREFIX or https://…' },
  endpoint: { ...text, words: 'a URL' },
  region: text,
  profile: text,
  path_style: yesOrNo,
  sse: oneOf('AES256', 'aws:kms'),
  sse_kms_key: text,
  checksum: oneOf('sha256', 'md5', 'none'),
  access_key_id: text,
  secret_access_key: text,
  session_token: text,
}

/** @returns the type of a full key such as `core.remote` or `remotes.origin.url`; undefined when mlv knows no such key */
export function typeOfKey(key: string): ValueType | undefined {
  if (Object.hasOwn(KEYS, key)) return KEYS[key]
  const [section, name, setting, ...more] = key.split('.')
  if (section !== 'remotes' || name === undefined || setting === undefined || more.length > 0) return undefined
  return remoteNameProblem(name) === undefined && Object.hasOwn(REMOTE_KEYS, setting) ? REMOTE_KEYS[setting] : undefined
}

/** @returns every key, those of remotes as `remotes.NAME.…` */
export function knownKeys(): string[] {
  return [...Object.keys(KEYS), ...Object.keys(REMOTE_KEYS).map((setting) => `remotes.NAME.${setting}`)]
}

export function keysFromEnvironment(): { key: string; variable: string }[] {
  return Object.entries(KEYS).flatMap(([key, { variable }]) => (variable ? [{ key, variable }] : []))
}

/** @returns what is wrong with a remote's name, or undefined */
export function remoteNameProblem(name: string): string | undefined {
  if (name.length > 64) return 'is longer than 64 characters'
  return /^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(name) && !['__proto__', 'constructor', 'prototype'].includes(name)
    ? undefined
    : 'has other characters than letters, digits, "-" and "_"'
}

/** @returns the value in the form the settings use, e.g. a list for cache.link
 *  @throws CONFIG_INVALID; `where` names the file and line or the variable, and is undefined for what was just typed */
export function checkValue(key: string, value: unknown, where?: string): unknown {
  const type = typeOfKey(key)
  const checked = type?.check(value)
  if (checked !== undefined) return checked
  const given = SECRET_KEYS.has(key.slice(key.lastIndexOf('.') + 1)) ? 'the value given' : JSON.stringify(value)
  const problem = `${key} takes ${type?.words ?? 'nothing: mlv knows no such setting'}, not ${given}`
  if (where === undefined)
    throw new MlvError('CONFIG_INVALID', problem, { hint: `For example "mlv config set ${key} ${type?.sample ?? 'VALUE'}".` })
  throw new MlvError('CONFIG_INVALID', `${where}: ${problem}`, {
    hint: /^[A-Z_]+$/.test(where)
      ? `Unset or correct the variable ${where}.`
      : `Correct it there, or with "mlv config set ${key} VALUE".`,
  })
}

/** Turns what stands on a command line or in a variable into the key's type. @throws CONFIG_INVALID */
export function parseValue(key: string, typed: string, where?: string): unknown {
  const type = typeOfKey(key)
  let value: unknown = typed
  if (type?.check === yesOrNo.check) {
    const word = typed.toLowerCase()
    if (['true', 'yes', 'on', '1'].includes(word)) value = true
    else if (['false', 'no', 'off', '0'].includes(word)) value = false
  } else if ((type?.check === seconds.check || type?.check === count.check) && /^\d+(\.\d+)?$/.test(typed)) value = Number(typed)
  return checkValue(key, value, where)
}

/** @returns why a value must not stand in a committed file, or undefined */
export function secretProblem(key: string, value: unknown): string | undefined {
  if (SECRET_KEYS.has(key.slice(key.lastIndexOf('.') + 1))) return `${key} is a secret`
  if (typeof value === 'string' && /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*:[^/?#]*@/i.test(value))
    return `${key} has a password in its URL`
  return undefined
}

/** @throws SECRET_REFUSED when a committed file would hold a secret */
export function refuseSecret(key: string, value: unknown, where: string): void {
  const problem = secretProblem(key, value)
  if (problem)
    throw new MlvError('SECRET_REFUSED', `${where}: ${problem}, and git would share this file`, {
      hint: `Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, an AWS profile ("mlv remote modify NAME --profile PROFILE"), or "mlv config set ${key} VALUE --local".`,
    })
}
