import { posix } from 'node:path'
import { isWithin, nameProblem, type RepoPath } from '../base/paths.ts'
import { parseYaml } from '../base/yaml.ts'
import type { Revision } from '../workspace/revision.ts'
import type { MetricRule, MetricRules } from './metrics.ts'

/** One file, or the files a templated path (`metrics/${item}.json`) may stand for. */
export interface DeclaredFile {
  path: string
  /** set for a templated path: which files it may stand for */
  pattern?: RegExp
  /** only these dotted keys are meant; all when undefined */
  keys?: string[]
  /** false when mlv stores the file instead of git */
  inGit: boolean
}

/** What a revision's mlv.yaml says about files with values. */
export interface Declared {
  params: DeclaredFile[]
  metrics: DeclaredFile[]
  plots: DeclaredFile[]
  /** by metrics file */
  rules: Map<string, MetricRules>
  /** what was not understood, one line each, with its place */
  warnings: string[]
}

export const PIPELINE_FILE = 'mlv.yaml' as RepoPath
export const LOCK_FILE = 'mlv.lock' as RepoPath
const DEFAULT_PARAMS = 'params.yaml'

type YamlMap = Record<string, unknown>

function isMap(value: unknown): value is YamlMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `[a, {b: {git: false}}]` and `{a: …, b: …}` as pairs. */
function entriesOf(value: unknown): [string, unknown][] {
  if (typeof value === 'string') return [[value, undefined]]
  if (isMap(value)) return Object.entries(value)
  if (!Array.isArray(value)) return []
  return value.flatMap((item): [string, unknown][] =>
    typeof item === 'string' ? [[item, undefined]] : isMap(item) ? Object.entries(item) : [],
  )
}

function patternOf(path: string): RegExp {
  const parts = path.split(/\$\{[^}]*\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  // A value at the start may well be a path of several folders, one within a name hardly.
  const [first, ...rest] = parts
  return new RegExp(first === '' ? `^.+${rest.join('[^/]+')}$` : `^${parts.join('[^/]+')}$`)
}

/** A path of a stage, from its working folder. @returns undefined when it leaves the project: the pipeline says so when it runs */
function locate(wdir: string, path: string): string | undefined {
  // Templates hold characters that are no part of a path, e.g. ${item.name}; they are kept whole.
  const inside = posix.normalize(posix.join(wdir === '' ? '.' : wdir, path)).replace(/\/$/, '')
  return inside.split('/').some((segment) => nameProblem(segment) !== undefined) ? undefined : inside
}

/** Collects files by path; whole files win over keys of them. */
function createFileSet() {
  const files = new Map<string, DeclaredFile>()
  return {
    add(path: string | undefined, options: { keys?: string[]; inGit?: boolean } = {}) {
      if (path === undefined) return
      const held = files.get(path)
      const inGit = options.inGit ?? true
      if (!held)
        files.set(path, { path, inGit, keys: options.keys, ...(path.includes('${') ? { pattern: patternOf(path) } : {}) })
      else held.keys = held.keys && options.keys ? [...new Set([...held.keys, ...options.keys])] : undefined
    },
    list: () => [...files.values()],
  }
}

function keysOf(value: unknown): string[] | undefined {
  const keys = entriesOf(value).map(([key]) => key)
  return keys.length > 0 ? keys : undefined
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function readRule(raw: unknown, place: string, warnings: string[]): MetricRule {
  const rule: MetricRule = {}
  if (raw === 'max' || raw === 'min') return { goal: raw }
  if (!isMap(raw)) {
    if (raw !== null) warnings.push(`${place}: a metric takes goal, tolerance, min, max and select`)
    return rule
  }
  for (const [key, value] of Object.entries(raw)) {
    if (key === 'goal' && (value === 'max' || value === 'min')) rule.goal = value
    else if (key === 'select' && (value === 'last' || value === 'first' || value === 'min' || value === 'max'))
      rule.select = value
    else if (key === 'tolerance' && isNumber(value) && value >= 0) rule.tolerance = value
    else if ((key === 'min' || key === 'max') && isNumber(value)) rule[key] = value
    else warnings.push(`${place}: ${key}: ${JSON.stringify(value)} is not understood and left out`)
  }
  return rule
}

/** Reads of mlv.yaml only what names files with values and says how metrics are judged; everything else is the pipeline's.
 *  @param path for messages   @throws YAML_INVALID with line and column */
export function parseDeclared(text: string, path: string): Declared {
  const file = parseYaml(text, path)
  const root = isMap(file.value) ? file.value : {}
  const [params, metrics, plots] = [createFileSet(), createFileSet(), createFileSet()]
  const rules = new Map<string, MetricRules>()
  const warnings: string[] = []
  params.add(DEFAULT_PARAMS)
  // What templates take their values from is shown and compared like any params.
  for (const item of Array.isArray(root.vars) ? root.vars : []) {
    if (typeof item !== 'string') continue
    const [name = '', keys = ''] = item.split(':', 2)
    params.add(locate('', name), { keys: name === DEFAULT_PARAMS || keys === '' ? undefined : keys.split(',') })
  }

  for (const raw of Object.values(isMap(root.stages) ? root.stages : {})) {
    const stage = isMap(raw) && isMap(raw.do) ? raw.do : raw
    if (!isMap(stage)) continue
    const wdir = typeof stage.wdir === 'string' ? stage.wdir : ''
    for (const item of Array.isArray(stage.params) ? stage.params : []) {
      if (typeof item === 'string') params.add(locate(wdir, DEFAULT_PARAMS))
      else
        for (const [name, keys] of entriesOf(item))
          params.add(locate(wdir, name), { keys: name === DEFAULT_PARAMS ? undefined : keysOf(keys) })
    }
    for (const [kind, set] of [
      ['metrics', metrics],
      ['plots', plots],
    ] as const) {
      for (const [name, options] of entriesOf(stage[kind]))
        set.add(locate(wdir, name), { inGit: !(isMap(options) && options.git === false) })
    }
  }
  for (const [name] of entriesOf(root.params)) params.add(locate('', name))
  for (const [name, raw] of entriesOf(root.metrics)) {
    const at = locate('', name)
    metrics.add(at)
    if (at === undefined || raw === undefined || raw === null) continue
    if (!isMap(raw)) warnings.push(`${file.at('metrics', name)}: a metrics file takes a map of its keys`)
    else
      rules.set(
        at,
        new Map(Object.entries(raw).map(([key, rule]) => [key, readRule(rule, file.at('metrics', name, key), warnings)])),
      )
  }
  return { params: params.list(), metrics: metrics.list(), plots: plots.list(), rules, warnings }
}

/** What holds where there is no mlv.yaml. */
export function declaredByDefault(): Declared {
  return { params: [{ path: DEFAULT_PARAMS, inGit: true }], metrics: [], plots: [], rules: new Map(), warnings: [] }
}

/** How a file of a revision is called in messages: as git writes it, `main:params.yaml`. */
export function nameAt(revision: Pick<Revision, 'name' | 'commit'>, path: string): string {
  return revision.commit === undefined ? path : `${revision.name}:${path}`
}

/** @throws YAML_INVALID when that revision's mlv.yaml is broken */
export async function readDeclared(revision: Revision): Promise<Declared> {
  const bytes = await revision.read(PIPELINE_FILE)
  return bytes ? parseDeclared(Buffer.from(bytes).toString('utf8'), nameAt(revision, PIPELINE_FILE)) : declaredByDefault()
}

/** Whether a declared file is, or may stand for, `path`. */
export function declares(file: DeclaredFile, path: string): boolean {
  return file.pattern ? file.pattern.test(path) : file.path === path
}

/** Replaces templated paths by the files of `existing` that they may stand for. */
export function expandDeclared(files: DeclaredFile[], existing: Iterable<string>): DeclaredFile[] {
  if (!files.some((file) => file.pattern)) return files
  const plain = files.filter((file) => !file.pattern)
  const found = new Map(plain.map((file) => [file.path, file]))
  for (const path of existing) {
    const template = found.has(path) ? undefined : files.find((file) => file.pattern?.test(path))
    if (template) found.set(path, { path, keys: template.keys, inGit: template.inGit })
  }
  return [...found.values()]
}

/** Keeps the files that `targets` name, themselves or by their folder, and adds targets no mlv.yaml names. All files without targets. */
export function narrowDeclared(files: DeclaredFile[], targets: RepoPath[]): DeclaredFile[] {
  if (targets.length === 0) return files
  const kept = files.filter((file) => targets.some((target) => isWithin(file.path, target)))
  const others = targets.filter((target) => !files.some((file) => isWithin(file.path, target)))
  return [...kept, ...others.map((path) => ({ path, inGit: true }))]
}
