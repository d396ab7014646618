import { posix } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { nameProblem, parentOf, parentsOf, type RepoPath } from '../base/paths.ts'
import { parseYaml, type YamlFile } from '../base/yaml.ts'
import { exactValue } from '../measure/yaml-values.ts'
import type { Source } from '../workspace/source.ts'
import type { DvcData, DvcEntry, Leftover } from './dvc-out.ts'

type Keys = (string | number)[]
type Raw = Record<string, unknown>

/** A dvc.lock is written by DVC, and larger than what people write. */
const MAX_CHARACTERS = 50 << 20

export function dvcInvalid(where: string, problem: string, hint = 'DVC would refuse it, too: see "dvc status".'): MlvError {
  return new MlvError('DVC_INVALID', `${where}: ${problem}`, { hint })
}

function asMap(file: YamlFile, keys: Keys, value: unknown): Raw {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Raw
  throw dvcInvalid(file.at(...keys), 'a map belongs here')
}

function asList(file: YamlFile, keys: Keys, value: unknown): unknown[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  throw dvcInvalid(file.at(...keys), 'a list belongs here')
}

/** Hex that YAML takes for a number is read from its source. */
function textAt(file: YamlFile, keys: Keys, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  const node = file.document.getIn(keys, true) as { source?: string } | undefined
  if (typeof value === 'number' && node?.source) return node.source
  throw dvcInvalid(file.at(...keys), 'text belongs here')
}

function md5At(file: YamlFile, keys: Keys, value: unknown): { md5: string | undefined; folder: boolean } {
  const text = textAt(file, keys, value)?.toLowerCase()
  const md5 = /^([0-9a-f]{32})(\.dir)?$/.exec(text ?? '')
  if (text !== undefined && !md5) throw dvcInvalid(file.at(...keys), `no MD5: "${text.slice(0, 60)}"`)
  return { md5: md5?.[1], folder: md5?.[2] !== undefined }
}

/** A path that a .dvc file, dvc.lock or dvc.yaml in `folder` names. @returns undefined for one outside the project: a url, absolute, or by `..` */
export function pathInside(folder: string, text: string): RepoPath | undefined {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || posix.isAbsolute(text)) return undefined
  const path = posix.normalize(posix.join(folder === '' ? '.' : folder, text)).replace(/\/$/, '')
  if (path === '.' || path.split('/').some((name) => nameProblem(name) !== undefined)) return undefined
  return path as RepoPath
}

/** The files of a folder that lies in the file itself, or in a `.dir` object. @param where names it in messages  @throws DVC_INVALID */
export function checkEntries(raw: unknown[], where: string): DvcEntry[] {
  const names = new Set<string>()
  const entries = raw.map((item): DvcEntry => {
    const { relpath, md5 } = (item ?? {}) as Raw
    if (typeof relpath !== 'string' || typeof md5 !== 'string' || !/^[0-9a-f]{32}$/.test(md5))
      throw dvcInvalid(where, 'an entry has no path and MD5')
    const problem = relpath
      .split('/')
      .map(nameProblem)
      .find((one) => one !== undefined)
    if (problem) throw dvcInvalid(where, `the path "${relpath}" has ${problem}`)
    if (names.has(relpath)) throw dvcInvalid(where, `"${relpath}" stands there twice`)
    names.add(relpath)
    return { path: relpath, md5 }
  })
  for (const { path } of entries)
    for (const folder of parentsOf(path)) if (names.has(folder)) throw dvcInvalid(where, `"${folder}" is a file and a folder`)
  return entries
}

/** One out or dep. @returns undefined for what lies outside the project */
function readData(file: YamlFile, keys: Keys, value: unknown, folder: string): DvcData | undefined {
  const raw = asMap(file, keys, value)
  const text = textAt(file, [...keys, 'path'], raw.path)
  if (text === undefined) throw dvcInvalid(file.at(...keys), 'no path')
  const path = pathInside(folder, text)
  if (path === undefined) return undefined
  const { md5, folder: isFolder } = md5At(file, [...keys, 'md5'], raw.md5)
  const at = file.at(...keys)
  const files = raw.files === undefined ? undefined : checkEntries(asList(file, [...keys, 'files'], raw.files), at)
  return {
    path,
    md5,
    hash: raw.hash === 'md5' ? 'md5' : 'md5-dos2unix',
    folder: isFolder || files !== undefined,
    ...(files ? { files } : {}),
    ...(typeof raw.size === 'number' ? { size: raw.size } : {}),
    exec: raw.isexec === true,
    at,
  }
}

/** Data that a .dvc file tracks, with what a pointer keeps of it. */
export interface DvcTracked extends DvcData {
  desc?: string
  labels?: string[]
  meta?: Record<string, unknown>
  /** of an import: where it came from */
  source?: Source
}

/** Says in mlv's words where an import came from; undefined for what mlv cannot follow. */
export type SourceReader = (dep: Record<string, unknown>) => Source | undefined

const FILE_KEYS = ['md5', 'wdir', 'deps', 'outs', 'locked', 'frozen', 'meta', 'always_changed', 'desc', 'cmd']
const OUT_KEYS = [
  ...['path', 'md5', 'hash', 'size', 'nfiles', 'isexec', 'files', 'persist', 'cloud', 'etag', 'checksum', 'version_id'],
  ...['desc', 'type', 'labels', 'meta', 'cache', 'remote', 'push', 'fs_config'],
]

function refuseOthers(file: YamlFile, keys: Keys, raw: Raw, known: string[]): void {
  const odd = Object.keys(raw).find((key) => !known.includes(key))
  if (odd !== undefined) throw dvcInvalid(file.atKey(...keys, odd), `DVC knows no key "${odd}" here`)
}

/** What is to be said of an import's source. */
function describeDep(from: Raw, source: Source | undefined): string | undefined {
  const url = typeof from.repo === 'object' ? (from.repo as Raw | null)?.url : from.path
  if (source === undefined)
    return `imported from ${String(url)}; the data is taken over, where it came from is not: "mlv import" it anew to follow it`
  if (!('repo' in source)) return undefined
  return `imported from ${String(url)}; the pointer names it, and "mlv update" follows it once that repository is migrated, too`
}

/** Parses a .dvc file. @param path relative to the project   @param sourceOf undefined: no source is taken over   @throws YAML_INVALID, DVC_INVALID with line and column */
export function parseDvcFile(
  text: string,
  path: RepoPath,
  sourceOf?: SourceReader,
): { tracked: DvcTracked[]; leftovers: Leftover[] } {
  const file = parseYaml(text, path)
  const raw = asMap(file, [], file.value)
  refuseOthers(file, [], raw, FILE_KEYS)
  const leftovers: Leftover[] = []
  const leave = (keys: Keys, what: string) => leftovers.push({ at: file.at(...keys), what })
  const wdir = textAt(file, ['wdir'], raw.wdir) ?? '.'
  const folder = posix.normalize(posix.join(parentOf(path) === '' ? '.' : parentOf(path), wdir))
  if (raw.cmd !== undefined) leave(['cmd'], 'a stage in a .dvc file, as DVC 0.x wrote it; its outs are taken over as data')
  const deps = asList(file, ['deps'], raw.deps)
  const outs = asList(file, ['outs'], raw.outs)
  let source: Source | undefined
  for (const [index, dep] of deps.entries()) {
    const from = asMap(file, ['deps', index], dep)
    if (deps.length === 1 && outs.length === 1 && raw.cmd === undefined) source = sourceOf?.(from)
    const what = describeDep(from, source)
    if (what !== undefined) leave(['deps', index], what)
  }
  const tracked: DvcTracked[] = []
  for (const [index, item] of outs.entries()) {
    const keys: Keys = ['outs', index]
    const out = asMap(file, keys, item)
    refuseOthers(file, keys, out, OUT_KEYS)
    const data = readData(file, keys, item, folder)
    if (!data) leave(keys, `"${String(out.path)}" lies outside the project and stays with DVC`)
    else if (out.cache === false) leave(keys, `"${data.path}" is kept by git alone (cache: false); nothing to do`)
    else if (!data.md5 && !data.files) leave(keys, `"${data.path}" has no MD5 and stays with DVC`)
    else {
      for (const key of ['remote', 'push', 'persist', 'type'] as const)
        if (out[key] !== undefined) leave([...keys, key], `"${key}: ${String(out[key])}" of ${data.path} has no counterpart`)
      tracked.push({ ...data, ...annotations(out, raw), ...(source ? { source } : {}) })
    }
  }
  return { tracked, leftovers }
}

function annotations(out: Raw, file: Raw): Pick<DvcTracked, 'desc' | 'labels' | 'meta'> {
  const desc = out.desc ?? file.desc
  const meta = out.meta ?? file.meta
  const { labels } = out
  return {
    ...(typeof desc === 'string' ? { desc } : {}),
    ...(Array.isArray(labels) && labels.every((label) => typeof label === 'string') ? { labels: labels as string[] } : {}),
    ...(typeof meta === 'object' && meta !== null && !Array.isArray(meta) ? { meta: meta as Record<string, unknown> } : {}),
  }
}

/** What dvc.lock says of a stage. */
export interface DvcLockedStage {
  cmd: string[]
  /** relative to the project; without those outside it */
  deps: DvcData[]
  outs: DvcData[]
  /** by file as written, then by key as written */
  params: Map<string, Record<string, unknown>>
  at: string
}

/** Parses a dvc.lock; paths in it are relative to the stage's own folder, which `folderOf` gives.
 *  @throws YAML_INVALID, DVC_INVALID with line and column */
export function parseDvcLock(text: string, path: RepoPath, folderOf: (stage: string) => string): Map<string, DvcLockedStage> {
  const parsed = parseYaml(text, path, MAX_CHARACTERS)
  // Params that a stage ran with are compared with those that mlv reads.
  const file = { ...parsed, value: exactValue(parsed, text) }
  const stages = new Map<string, DvcLockedStage>()
  if (file.value === null || file.value === undefined) return stages
  const raw = asMap(file, [], file.value)
  // DVC 1 wrote the stages without a schema above them.
  const isNew = raw.schema !== undefined
  if (isNew && String(raw.schema) !== '2.0') throw dvcInvalid(file.at('schema'), `schema ${String(raw.schema)} is not 2.0`)
  const top: Keys = isNew ? ['stages'] : []
  for (const [name, value] of Object.entries(isNew ? asMap(file, top, raw.stages ?? {}) : raw)) {
    const keys = [...top, name]
    const stage = asMap(file, keys, value)
    const folder = folderOf(name)
    const read = (section: 'deps' | 'outs') =>
      asList(file, [...keys, section], stage[section]).flatMap((item, index) => {
        const data = readData(file, [...keys, section, index], item, folder)
        return data ? [data] : []
      })
    const cmd = Array.isArray(stage.cmd) ? stage.cmd.map(String) : [String(stage.cmd ?? '')]
    const params = Object.entries(asMap(file, [...keys, 'params'], stage.params ?? {}))
    stages.set(name, {
      cmd,
      deps: read('deps'),
      outs: read('outs'),
      params: new Map(params.map(([name, values]) => [name, asMap(file, [...keys, 'params', name], values ?? {})])),
      at: file.atKey(...keys),
    })
  }
  return stages
}
