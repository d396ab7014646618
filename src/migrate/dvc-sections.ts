import { isMap, isScalar, isSeq, type Pair, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml'
import type { YamlFile } from '../base/yaml.ts'
import { dvcInvalid, pathInside } from './dvc-files.ts'
import type { Leftover } from './dvc-out.ts'

/** Where a stage of dvc.yaml is rewritten: its file, and what is left over. Nodes keep the ranges of DVC's text, so that messages name its lines. */
export interface Rewriting {
  file: YamlFile
  where(node: unknown): string
  leave(node: unknown, what: string): void
  leftovers: Leftover[]
}

const STAGE_KEYS = [
  ...['cmd', 'wdir', 'deps', 'params', 'vars', 'frozen', 'meta', 'desc', 'always_changed'],
  ...['outs', 'metrics', 'plots', 'matrix'],
]
const OUT_KEYS = ['desc', 'type', 'labels', 'meta', 'cache', 'persist', 'checkpoint', 'remote', 'push']
const PLOT_KEYS = [...OUT_KEYS, 'x', 'y', 'x_label', 'y_label', 'title', 'template', 'header']
const SECTIONS = ['outs', 'metrics', 'plots'] as const

export function keyOf(pair: Pair): string {
  return String(isScalar(pair.key) ? pair.key.value : pair.key)
}

export function refuseUnknown(map: YAMLMap, known: readonly string[], at: Rewriting, what: string): void {
  const odd = map.items.find((pair) => !known.includes(keyOf(pair)))
  if (odd) throw dvcInvalid(at.where(odd.key), `${what}: DVC knows no key "${keyOf(odd)}"`)
}

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => keyOf(pair) === key)
}

function rename(map: YAMLMap, from: string, to: string): void {
  const pair = pairOf(map, from)
  if (pair) (pair.key as Scalar).value = to
}

/** Whether a path of dvc.yaml leads to no file of the project; where `..` leads, the stage's folder decides. */
function isOutside(path: string): boolean {
  return (
    !path.includes('${') &&
    (/^[a-z][a-z0-9+.-]*:\/\//i.test(path) || pathInside('', path) === undefined) &&
    !path.startsWith('..')
  )
}

function rewriteDeps(stage: YAMLMap, at: Rewriting, label: string): void {
  const list = stage.get('deps', true) as YAMLSeq | undefined
  if (!isSeq(list)) return
  list.items = list.items.filter((item) => {
    if (!isScalar(item) || typeof item.value !== 'string' || !isOutside(item.value)) return true
    at.leave(item, `${label}: the dep "${item.value}" lies outside the project and is left out`)
    return false
  })
}

/** Python files of params have no reader: they become deps, whole. */
function rewriteParams(stage: YAMLMap, at: Rewriting, label: string): void {
  const list = stage.get('params', true) as YAMLSeq | undefined
  if (!isSeq(list)) return
  const scripts: string[] = []
  for (const item of list.items) {
    if (!isMap(item)) continue
    item.items = item.items.filter((pair) => {
      const name = keyOf(pair)
      if (/\.(ya?ml|json|toml)$/.test(name) || name.includes('${')) return true
      at.leave(
        pair.key,
        `${label}: params of "${name}" are no values that mlv reads; the whole file becomes a dep, with which it runs next time`,
      )
      scripts.push(name)
      return false
    })
  }
  list.items = list.items.filter((item) => !isMap(item) || item.items.length > 0)
  for (const name of scripts) {
    const deps = stage.get('deps', true) as unknown
    if (isSeq(deps)) deps.add(at.file.document.createNode(name))
    else stage.set('deps', at.file.document.createNode([name]))
  }
}

/** The options of an out: `cache` becomes `git`, what has no counterpart goes. */
function rewriteOptions(options: YAMLMap, section: (typeof SECTIONS)[number], at: Rewriting, label: string): void {
  refuseUnknown(options, section === 'plots' ? PLOT_KEYS : OUT_KEYS, at, label)
  for (const key of ['checkpoint', 'remote', 'push']) {
    const pair = pairOf(options, key)
    if (!pair) continue
    at.leave(pair.key, `${label}: "${key}" has no counterpart and is left out`)
    options.delete(key)
  }
  const cache = pairOf(options, 'cache')
  const cached = cache === undefined || !isScalar(cache.value) || cache.value.value !== false
  if (cache && isScalar(cache.value) && typeof cache.value.value !== 'boolean')
    throw dvcInvalid(at.where(cache.value), `${label}: cache is neither true nor false`)
  // What git keeps by default is the other way round for metrics and plots.
  const git = section === 'outs' ? (cached ? undefined : true) : cached ? false : undefined
  if (git === undefined) options.delete('cache')
  else if (cache) {
    rename(options, 'cache', 'git')
    cache.value = at.file.document.createNode(git)
  } else options.set('git', git)
}

function rewriteOuts(stage: YAMLMap, section: (typeof SECTIONS)[number], at: Rewriting, label: string): void {
  const list = stage.get(section, true) as YAMLSeq | undefined
  if (!isSeq(list)) return
  const { document } = at.file
  const items: unknown[] = []
  for (const item of list.items) {
    if (isScalar(item) && typeof item.value === 'string') {
      if (isOutside(item.value)) at.leave(item, `${label}: the out "${item.value}" lies outside the project and is left out`)
      else items.push(section === 'outs' ? item : document.createNode({ [item.value]: { git: false } }, { flow: true }))
      continue
    }
    if (!isMap(item)) throw dvcInvalid(at.where(item), `${label}: ${section} takes paths, and maps of paths to options`)
    for (const pair of item.items) {
      const name = `${label}: ${keyOf(pair)}`
      if (isSeq(pair.value)) {
        at.leave(pair.value, `${name}: of several ways to draw it the first is kept`)
        pair.value = pair.value.items[0] ?? null
      }
      if (pair.value === null || (isScalar(pair.value) && pair.value.value === null)) pair.value = document.createNode({})
      if (!isMap(pair.value)) throw dvcInvalid(at.where(pair.value), `${name}: options are a map`)
      rewriteOptions(pair.value, section, at, name)
      if (pair.value.items.length === 0) items.push(pair.key)
      else items.push(item.items.length === 1 ? item : mapOf(pair, at))
    }
  }
  list.items = items
}

function mapOf(pair: Pair, at: Rewriting): YAMLMap {
  const map = at.file.document.createNode({}) as unknown as YAMLMap
  map.items.push(pair)
  return map
}

/** Makes the mapping of a stage, or of the `do` of many, into mlv's. @throws DVC_INVALID for keys that DVC itself refuses */
export function rewriteStage(stage: YAMLMap, at: Rewriting, label: string): void {
  refuseUnknown(stage, STAGE_KEYS, at, label)
  if (!pairOf(stage, 'cmd')) throw dvcInvalid(at.where(stage), `${label} has no cmd`)
  rename(stage, 'always_changed', 'always')
  rewriteDeps(stage, at, label)
  rewriteParams(stage, at, label)
  for (const section of SECTIONS) rewriteOuts(stage, section, at, label)
  for (const section of ['deps', 'params', ...SECTIONS]) {
    const list = stage.get(section, true)
    if (isSeq(list) && list.items.length === 0) stage.delete(section)
  }
}
