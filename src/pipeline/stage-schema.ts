import type { RepoPath } from '../base/paths.ts'
import { checkMapStage, readEach } from './each.ts'
import { fillDeep } from './interpolate.ts'
import { wrongAmount } from './resources.ts'
import {
  child,
  type Field,
  filling,
  invalid,
  keyText,
  placeOf,
  placeOfKey,
  readCount,
  readDuration,
  readFlag,
  readList,
  readMapping,
  readText,
  resolvePath,
} from './schema-fields.ts'
import { checkKeys, OTHER_NAMES, OUT_KEYS, RESOURCE_KEYS } from './schema-keys.ts'
import type { Dep, Out, OutRole, ParamRef, Stage } from './stage.ts'
import type { TemplateValue } from './written-number.ts'

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/

/** YAML makes `cmd: true` a boolean; the shell wants the word that was written. */
function commandText(field: Field): string {
  if (field.text === undefined && (typeof field.value === 'boolean' || typeof field.value === 'number')) {
    const node = field.file.document.getIn(field.keys, true) as { source?: string } | undefined
    if (node?.source) return node.source
  }
  return readText(field, 'cmd: python train.py').trim()
}

function readCommands(stage: Field): string[] {
  const field = child(stage, 'cmd', `${stage.label}: cmd`, 'options')
  if (field.value === undefined) throw invalid(stage, 'has no cmd', 'Write it like this: cmd: python train.py')
  if (!Array.isArray(field.value)) return [commandText(field)]
  if (field.value.length === 0) throw invalid(field, 'is an empty list', 'Write it like this: cmd: python train.py')
  return readList(field, '', 'options').map(commandText)
}

function readDeps(stage: Field, wdir: RepoPath, warnings: string[]): Dep[] {
  const deps = new Map<RepoPath, Dep>()
  for (const item of readList(child(stage, 'deps', `${stage.label}: deps`), 'deps: [train.py, data]')) {
    const path = resolvePath(item, readText(item, 'deps: [train.py, data]'), wdir)
    if (deps.has(path)) warnings.push(`${item.file.at(...item.keys)}: ${item.label} names "${path}" again`)
    else deps.set(path, { path, at: placeOf(item) })
  }
  return [...deps.values()]
}

function readParams(stage: Field, wdir: RepoPath): ParamRef[] {
  const shown = 'params: [train.lr, {eval.yaml: [threshold]}]'
  const refs = new Map<string, ParamRef>()
  const put = (field: Field, name: string, key: string) => {
    const file = resolvePath(field, name, wdir)
    refs.set(`${file}\0${key}`, { file, key, at: placeOf(field) })
  }
  for (const item of readList(child(stage, 'params', `${stage.label}: params`), shown)) {
    if (typeof item.value === 'string') {
      put(item, 'params.yaml', readText(item, shown))
      continue
    }
    for (const name of Object.keys(readMapping(item, shown))) {
      const keys = child(item, name, `${item.label}: ${name}`)
      const file = keyText(keys, name)
      if (keys.value === null) put(keys, file, '')
      else for (const key of readList(keys, shown)) put(key, file, readText(key, shown))
    }
  }
  return [...refs.values()]
}

/** Files that mlv writes itself, or that stand for data. */
const NOT_OUTS = /(?:^|\/)(?:\.gitignore|\.mlvignore|[^/]*\.mlv)$|^mlv\.(?:yaml|lock)$/

function outPath(field: Field, text: string, wdir: RepoPath): RepoPath {
  const path = resolvePath(field, text, wdir)
  if (NOT_OUTS.test(path))
    throw invalid(field, `names "${path}", which mlv keeps for itself`, 'Let the stage write another file.')
  return path
}

function readOuts(stage: Field, role: OutRole, wdir: RepoPath, warnings: string[]): Out[] {
  const section = role === 'out' ? 'outs' : role === 'metric' ? 'metrics' : 'plots'
  const shown = `${section}: [a/path, {other/: {persist: true}}]`
  const outs: Out[] = []
  // What a pull request shows is small and must be readable without data.
  const git = role !== 'out'
  for (const item of readList(child(stage, section, `${stage.label}: ${section}`), shown)) {
    if (typeof item.value === 'string') {
      outs.push({ path: outPath(item, readText(item, shown), wdir), role, persist: false, git, at: placeOf(item) })
      continue
    }
    for (const name of Object.keys(readMapping(item, shown))) {
      const options = child(item, name, `${item.label}: ${name}`)
      const out: Out = {
        path: outPath(options, keyText(options, name), wdir),
        role,
        persist: false,
        git,
        at: placeOfKey(options),
      }
      outs.push(out)
      if (options.value === null) continue
      const given = readMapping(options, shown)
      // A plot's other options say how it is drawn.
      if (role === 'plot') for (const key of Object.keys(OTHER_NAMES)) if (key in given) checkKeys(options, OUT_KEYS, warnings)
      if (role !== 'plot') checkKeys(options, OUT_KEYS, warnings)
      out.persist = readFlag(child(options, 'persist', `${options.label}: persist`))
      if ('git' in given) out.git = readFlag(child(options, 'git', `${options.label}: git`))
    }
  }
  return outs
}

function readEnv(stage: Field): string[] {
  const names = new Set<string>()
  for (const item of readList(child(stage, 'env', `${stage.label}: env`), 'env: [CUDA_VISIBLE_DEVICES]')) {
    const name = readText(item, 'env: [CUDA_VISIBLE_DEVICES]')
    if (!VARIABLE.test(name))
      throw invalid(item, `is no name of a variable: "${name}"`, 'Write the name only; its value comes from the environment.')
    names.add(name)
  }
  return [...names]
}

function readMutex(field: Field): string[] {
  if (typeof field.value === 'string') return [readText(field, 'mutex: database')]
  return readList(field, 'mutex: [database]').map((item) => readText(item, 'mutex: [database]'))
}

/** The folder that the stage's paths are relative to; '' is the project's root. @throws PIPELINE_INVALID, PATH_INVALID */
export function readWdir(stage: Field): RepoPath {
  const field = child(stage, 'wdir', `${stage.label}: wdir`)
  if (field.value === undefined || field.value === '.') return '' as RepoPath
  return resolvePath(field, readText(field, 'wdir: src'), '' as RepoPath)
}

/** Reads a stage whose name and keys are checked, or what a template gives for one of its items. @throws PIPELINE_INVALID, PATH_INVALID */
export function readStage(field: Field, wdir: RepoPath, name: string, warnings: string[]): Stage {
  const value = field.value as Record<string, unknown>
  const part = (key: string) => child(field, key, `${field.label}: ${key}`)
  const timeout = readDuration(part('timeout'))
  const desc = part('desc')
  const stage: Stage = {
    name,
    at: placeOfKey(field),
    cmd: readCommands(field),
    cmdAt: placeOf({ ...field, keys: [...field.keys, 'cmd'] }),
    wdir,
    deps: readDeps(field, wdir, warnings),
    params: readParams(field, wdir),
    env: readEnv(field),
    outs: (['out', 'metric', 'plot'] as const).flatMap((role) => readOuts(field, role, wdir, warnings)),
    frozen: readFlag(part('frozen')),
    always: readFlag(part('always')),
    retry: readCount(part('retry'), 100),
    shell: part('shell').value === undefined ? '' : readText(part('shell'), 'shell: bash -eo pipefail').trim(),
    mutex: readMutex(part('mutex')),
  }
  if (typeof desc.value === 'string') stage.desc = desc.value
  if (timeout !== undefined) stage.timeout = timeout
  if (value.each !== undefined) addEach(stage, part('each'), part('batch'))
  else if (value.batch !== undefined) throw invalid(part('batch'), 'belongs to a stage with each', 'Take it out, or write each.')
  if (value.resources !== undefined) stage.resources = readResources(part('resources'), warnings)
  return stage
}

/** The inputs of a map stage are deps, too. */
function addEach(stage: Stage, each: Field, batch: Field): void {
  stage.each = readEach(each, stage.wdir)
  if (batch.value !== undefined) stage.batch = Math.max(1, readCount(batch, 1_000_000))
  const known = new Set(stage.deps.map((dep) => dep.path))
  for (const { path } of stage.each.inputs) {
    if (!known.has(path)) stage.deps.push({ path, at: placeOf(each), each: true })
    known.add(path)
  }
  checkMapStage(stage)
}

function readResources(field: Field, warnings: string[]): Record<string, unknown> {
  const value = readMapping(field, 'resources: {cpus: 2, memory: 4GiB}')
  checkKeys(field, RESOURCE_KEYS, warnings)
  const { scope } = field
  const filled = scope ? fillResources(field, value, scope) : value
  const wrong = wrongAmount(filled)
  if (!wrong) return filled
  const { key, sample } = wrong
  throw invalid(
    Object.hasOwn(value, key) ? child(field, key, field.label) : field,
    `${key} is ${JSON.stringify(filled[key])}`,
    `Write for example resources: {${key}: ${sample}}.`,
  )
}

function fillResources(
  field: Field,
  value: Record<string, unknown>,
  scope: NonNullable<Field['scope']>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(value).map((key) => {
      const item = child(field, key, `${field.label}: ${key}`)
      const filled =
        typeof item.value === 'object' ? filling(item, () => fillDeep(item.value as TemplateValue, scope, 'never')) : item.value
      return [keyText(item, key), filled]
    }),
  )
}
