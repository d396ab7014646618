import { hasCode, MlvError } from '../base/errors.ts'
import { isOid } from '../base/oid.ts'
import { isWithin, nameOf, type RepoPath } from '../base/paths.ts'
import { parseEndpoint, parsePlace } from '../transport/place.ts'
import { typeOfKey } from '../workspace/config-keys.ts'
import type { Entry } from '../workspace/entry.ts'
import { IGNORE_FILE } from '../workspace/ignore.ts'
import { canonicalJson } from './canonical-json.ts'
import {
  asAmount,
  asEntry,
  asList,
  asMap,
  asPath,
  Fault,
  paramName,
  type Raw,
  readParam,
  readVariable,
  sorted,
} from './lock-fields.ts'
import { runKey } from './run-key.ts'
import type { Out, OutRole, Place } from './stage.ts'
import type { Task, TaskHome } from './task.ts'

const FORMAT = 1
/** Bytes beyond which a text is no task. */
export const TASK_BYTES = 16 << 20

type Keys = (string | number)[]

const TASK_KEYS = [
  ...['mlv_task', 'key', 'stage', 'at', 'cmd', 'cmd_at', 'wdir', 'shell', 'deps', 'params', 'env', 'inputs', 'outs'],
  ...['resources', 'timeout', 'retry', 'home'],
]
/** Settings of a remote that hold for whoever reaches it; keys and profiles are each machine's own. */
export const HOME_KEYS = ['url', 'endpoint', 'region', 'path_style', 'sse', 'sse_kms_key', 'checksum'] as const
const ROLES: OutRole[] = ['out', 'metric', 'plot']

/** Names of folders below .git/mlv: what mlv.yaml and its templates may call a stage. */
const NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_.=+,@-]*$/u
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/
const PLACE = /^[0-9]+:[0-9]+$/
const MOST_RETRIES = 100
/** Timers of Node hold at most 2^31 ms. */
const MOST_SECONDS = 2_147_483

const flat = ({ path, entry }: { path: RepoPath; entry: Entry }) => ({ path, ...entry })
const placed = (at: Place) => at || undefined

/** The one text of a task: canonical JSON and a line feed. docs/formats.md says it byte by byte. */
export function formatTask(task: Task): string {
  const { key, name, at, cmd, cmdAt, wdir, shell, deps, params, env, inputs, outs, resources, timeout, retry, home } = task
  return `${canonicalJson({
    mlv_task: FORMAT,
    ...{
      key,
      stage: name,
      at: placed(at),
      cmd,
      cmd_at: placed(cmdAt),
      wdir,
      shell,
      params,
      env,
      resources,
      timeout,
      retry,
      home,
    },
    deps: deps.map(flat),
    inputs: inputs.map(flat),
    outs: outs.map((out) => ({
      ...{ path: out.path, role: out.role, at: placed(out.at) },
      git: out.git || undefined,
      persist: out.persist || undefined,
    })),
  })}\n`
}

/** What a shell or the system would cut at a NUL is refused. */
function asText(value: unknown, keys: Keys): string {
  if (typeof value === 'string' && !value.includes('\0')) return value
  throw new Fault(keys, 'is no text')
}

function asPlace(value: unknown, keys: Keys): Place {
  if (value === undefined) return ''
  if (typeof value === 'string' && PLACE.test(value)) return value
  throw new Fault(keys, 'is no line and column')
}

function asFlag(value: unknown, keys: Keys): boolean {
  if (value === undefined) return false
  if (value === true) return true
  throw new Fault(keys, 'is not true')
}

function asNumber(value: unknown, keys: Keys, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= most) return value
  throw new Fault(keys, `is no number from 0 to ${most}`)
}

function readOut(raw: Raw, keys: Keys): Out {
  const { role } = raw
  if (!ROLES.includes(role as OutRole)) throw new Fault(keys, `has no role: ${ROLES.join(', ')}`)
  return {
    path: asPath(raw.path, keys),
    role: role as OutRole,
    at: asPlace(raw.at, [...keys, 'at']),
    git: asFlag(raw.git, [...keys, 'git']),
    persist: asFlag(raw.persist, [...keys, 'persist']),
  }
}

function readHome(value: unknown, keys: Keys): TaskHome {
  const raw = asMap(value, keys)
  const home: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(raw)) {
    const known = key === 'scope' ? 'run_cache.write' : HOME_KEYS.includes(key as 'url') ? `remotes.task.${key}` : undefined
    const checked = known === undefined ? undefined : typeOfKey(known)?.check(item)
    if (checked === undefined) throw new Fault([...keys, key], 'is no setting of a remote')
    home[key] = checked
  }
  const { url, endpoint } = home as unknown as TaskHome
  if (url === undefined) throw new Fault(keys, 'has no url')
  try {
    // Relative folders are none of the reader's.
    const place = parsePlace(url, { root: '/', env: {} })
    if (place.kind === 'folder' && !/^(file:\/)?\//.test(url)) throw new Fault([...keys, 'url'], 'is no absolute folder')
    if (endpoint !== undefined) parseEndpoint(endpoint)
  } catch (error) {
    // The message does not repeat a secret.
    if (hasCode(error, 'CONFIG_INVALID', 'SECRET_REFUSED')) throw new Fault([...keys, 'url'], `is refused: ${error.message}`)
    throw error
  }
  return home as unknown as TaskHome
}

function readTask(value: unknown): Task {
  const raw = asMap(value, [])
  if (raw.mlv_task !== FORMAT) {
    const isNewer = typeof raw.mlv_task === 'number' && raw.mlv_task > FORMAT
    throw isNewer
      ? new MlvError('TASK_INVALID', `The task has format ${raw.mlv_task}; this mlv reads format ${FORMAT}`, {
          hint: 'Install a newer mlv.',
        })
      : new Fault(['mlv_task'], `is not ${FORMAT}`)
  }
  const unknown = Object.keys(raw).find((key) => !TASK_KEYS.includes(key))
  if (unknown !== undefined) throw new Fault([unknown], 'is unknown')
  const { key, stage, cmd, resources } = raw
  if (typeof key !== 'string' || !isOid(key)) throw new Fault(['key'], 'is no run key of 64 lower-case hex characters')
  if (typeof stage !== 'string' || !NAME.test(stage) || Buffer.byteLength(stage) > 200)
    throw new Fault(['stage'], 'is no name of a stage')
  if (!Array.isArray(cmd) || cmd.length === 0) throw new Fault(['cmd'], 'is no list of commands')
  const asItem = (item: Raw, keys: Keys) => ({ path: asPath(item.path, keys), entry: asEntry(item, keys) })
  const byPath = <T extends { path: RepoPath }>(section: string, read: (item: Raw, keys: Keys) => T): T[] =>
    sorted(asList(raw, section, [], read), ({ path }) => path, [section])
  const env = sorted(asList(raw, 'env', [], readVariable), (variable) => variable.name, ['env'])
  for (const [index, variable] of env.entries()) {
    if (!VARIABLE.test(variable.name)) throw new Fault(['env', index], 'is no name of a variable')
    if (variable.value !== null) asText(variable.value, ['env', index])
  }
  const { cpus, memory, gpus } = asMap(resources, ['resources'])
  const task: Task = {
    key,
    name: stage,
    at: asPlace(raw.at, ['at']),
    cmd: cmd.map((line, index) => asText(line, ['cmd', index])),
    cmdAt: asPlace(raw.cmd_at, ['cmd_at']),
    wdir: raw.wdir === '' ? ('' as RepoPath) : asPath(raw.wdir, ['wdir']),
    shell: asText(raw.shell, ['shell']),
    deps: byPath('deps', asItem),
    params: sorted(asList(raw, 'params', [], readParam), paramName, ['params']),
    env,
    inputs: byPath('inputs', asItem),
    outs: byPath('outs', readOut),
    resources: {
      cpus: asNumber(cpus, ['resources', 'cpus']),
      memory: asNumber(memory, ['resources', 'memory']),
      gpus: asNumber(gpus, ['resources', 'gpus']),
    },
    retry: asAmount(raw.retry, ['retry'], 'attempts'),
  }
  if (task.retry > MOST_RETRIES) throw new Fault(['retry'], `is more than ${MOST_RETRIES}`)
  if (raw.timeout !== undefined) task.timeout = asNumber(raw.timeout, ['timeout'], MOST_SECONDS)
  if (raw.home !== undefined) task.home = readHome(raw.home, ['home'])
  return task
}

/** What may lie there is what the key speaks of, and what is written lies apart from it and from one another. */
function checkPaths({ deps, params, inputs, outs }: Task): void {
  const listed = new Map(inputs.map(({ path, entry }) => [path, entry]))
  const files = new Set<RepoPath>(params.map(({ file }) => file))
  for (const [index, { path, entry }] of deps.entries()) {
    const input = listed.get(path)
    // Of a notebook the key has the sources, and the input the file.
    const isSame = input?.oid === entry.oid || (path.endsWith('.ipynb') && entry.kind !== 'tree')
    if (!input || input.kind !== entry.kind || !isSame) throw new Fault(['deps', index], `is not what the input ${path} is`)
  }
  for (const file of files) if (!listed.has(file)) throw new Fault(['params'], `names ${file}, which is no input`)
  const known = new Set<RepoPath>([...files, ...deps.map(({ path }) => path)])
  for (const [index, { path }] of inputs.entries())
    if (!known.has(path) && nameOf(path) !== IGNORE_FILE)
      throw new Fault(['inputs', index], `is ${path}, neither a dep nor a file of params`)
  for (const [index, out] of outs.entries()) {
    const other = outs.find((one) => one !== out && isWithin(one.path, out.path))
    if (other) throw new Fault(['outs', index], `is ${out.path}, and ${other.path} lies in it`)
    const read = inputs.find(({ path }) => isWithin(path, out.path) || isWithin(out.path, path))
    if (read) throw new Fault(['outs', index], `is ${out.path}, and the task reads ${read.path}`)
  }
}

function invalid(name: string, problem: string, cause?: unknown): MlvError {
  return new MlvError('TASK_INVALID', `${name} is no task: ${problem}`, {
    hint: 'Write it anew with "mlv stage task STAGE".',
    cause,
  })
}

/** Reads a task that anybody may have written. Another text than formatTask's is refused, and one whose key is not that of what it says.
 *  @param name what messages call it   @throws TASK_INVALID */
export function parseTask(bytes: Uint8Array, name: string): Task {
  if (bytes.length > TASK_BYTES) throw invalid(name, `it has more than ${TASK_BYTES >> 20} MiB`)
  const text = Buffer.from(bytes).toString('utf8')
  try {
    const task = readTask(JSON.parse(text))
    checkPaths(task)
    if (runKey(task) !== task.key) throw new Fault(['key'], 'is not the key of what it says')
    // Bytes that are no UTF-8 are another text, too.
    if (!Buffer.from(formatTask(task)).equals(bytes)) throw new Fault([], 'is not written in the one way it may be')
    return task
  } catch (error) {
    if (error instanceof Fault) throw invalid(name, `${error.keys.join(' ') || 'it'} ${error.message}`)
    if (error instanceof SyntaxError) throw invalid(name, 'it is no JSON', error)
    if (error instanceof RangeError) throw invalid(name, error.message, error)
    throw error
  }
}
