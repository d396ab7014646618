import { hasCode, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { YamlFile } from '../base/yaml.ts'
import { checkMapStage, readEach } from './each.ts'
import { expandStage, MOST_MADE } from './expand.ts'
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
import { type Dep, type Out, type OutRole, type ParamRef, PIPELINE_FILE, type Pipeline, type Stage } from './stage.ts'
import { type FileReader, openVariables, type VariableFiles, type Variables } from './variables.ts'
import type { TemplateValue } from './written-number.ts'

const TOP_KEYS = new Set(['stages', 'vars', 'metrics', 'plots', 'params', 'desc', 'meta', 'mlv'])
const STAGE_KEYS = new Set([
  ...['cmd', 'wdir', 'deps', 'params', 'env', 'outs', 'metrics', 'plots'],
  ...['frozen', 'always', 'desc', 'meta', 'resources', 'timeout', 'retry', 'mutex', 'shell', 'each', 'batch', 'vars', 'matrix'],
])
const TEMPLATE_KEYS = new Set([...STAGE_KEYS].filter((key) => key !== 'matrix'))
const GROUP_KEYS = new Set(['foreach', 'do'])
const OUT_KEYS = new Set(['persist', 'git', 'desc', 'labels', 'meta', 'type'])
const LATER_KEYS = new Set(['executor'])

/** Keys that mean something in dvc.yaml and have another name here: silence would change what a stage does. */
const OTHER_NAMES: Record<string, string> = {
  cache: 'Write {git: true} for {cache: false}, and nothing for {cache: true}.',
  always_changed: 'Write always: true.',
}

/** A stage's name is also the name of a folder below .git/mlv. */
export const STAGE_NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_.-]{0,99}$/u
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/

function checkKeys(field: Field, known: Set<string>, warnings: string[]): void {
  for (const key of Object.keys(field.value as object)) {
    if (known.has(key)) continue
    const at = field.file.atKey(...field.keys, key)
    if (LATER_KEYS.has(key))
      throw new MlvError('PIPELINE_INVALID', `${at}: ${field.label}: "${key}" is not supported yet`, {
        hint: 'Write the stages out one by one, or pass the value with params or env.',
      })
    const other = OTHER_NAMES[key]
    if (other) throw new MlvError('PIPELINE_INVALID', `${at}: ${field.label}: there is no key "${key}"`, { hint: other })
    warnings.push(`${at}: ${field.label}: unknown key "${key}", left as it is`)
  }
}

/** Where "foreach" and "do" belong, and what else may not stand beside them. */
function checkShape(field: Field, value: Record<string, unknown>): void {
  const has = (key: string) => Object.hasOwn(value, key)
  const at = (key: string) => field.file.atKey(...field.keys, key)
  const refuse = (key: string, problem: string, hint: string) => {
    throw new MlvError('PIPELINE_INVALID', `${at(key)}: ${field.label}: ${problem}`, { hint })
  }
  if (has('do') && !has('foreach')) refuse('do', '"do" without "foreach"', 'Write foreach: [a, b] beside it.')
  if (has('foreach') && !has('do')) refuse('foreach', '"foreach" without "do"', 'Write the stage below do.')
  if (!has('foreach')) return
  for (const key of Object.keys(value)) if (STAGE_KEYS.has(key)) refuse(key, `"${key}" beside "foreach"`, 'Write it below do.')
}

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

function readWdir(stage: Field): RepoPath {
  const field = child(stage, 'wdir', `${stage.label}: wdir`)
  if (field.value === undefined || field.value === '.') return '' as RepoPath
  return resolvePath(field, readText(field, 'wdir: src'), '' as RepoPath)
}

/** Checks a stage, or the template of many. */
function checkStage(field: Field, name: string, warnings: string[]): void {
  if (!STAGE_NAME.test(name))
    throw new MlvError('PIPELINE_INVALID', `${field.file.atKey(...field.keys)}: a stage may not be called "${name}"`, {
      hint: 'Use letters, digits, "_", "-" and "."; start with a letter, digit or "_".',
    })
  const value = readMapping(field, `${name}: {cmd: python ${name}.py}`)
  checkShape(field, value)
  const template = child(field, 'do', `${field.label}: do`)
  if (template.value !== undefined) readMapping(template, `do: {cmd: python ${name}.py}`)
  checkKeys(field, template.value === undefined ? STAGE_KEYS : GROUP_KEYS, warnings)
  if (template.value !== undefined) checkKeys(template, TEMPLATE_KEYS, warnings)
}

function readStage(field: Field, wdir: RepoPath, name: string, warnings: string[]): Stage {
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
  if (value.resources !== undefined) stage.resources = readResources(part('resources'))
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

function readResources(field: Field): Record<string, unknown> {
  const value = readMapping(field, 'resources: {cpus: 2, memory: 4GiB}')
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

/** The stages that one entry of mlv.yaml stands for: itself, or one for each item of its foreach or matrix. */
async function readEntry(
  field: Field,
  name: string,
  reading: { variables: Variables; room: number; warnings: string[] },
): Promise<Stage[]> {
  const { variables, warnings } = reading
  checkStage(field, name, warnings)
  const made: Stage[] = []
  for (const expansion of expandStage(field, name, reading)) {
    const { template, bound } = expansion
    const scope = bound ? { ...variables.scope, bound } : variables.scope
    const wdir = readWdir({ ...template, scope })
    const within =
      (template.value as { vars?: unknown }).vars === undefined ? scope : await variables.within(template, wdir, bound)
    // What the first says of a template, all others would say again.
    made.push(readStage({ ...template, scope: within }, wdir, expansion.name, made.length === 0 ? warnings : []))
  }
  return made
}

/** Reads the stages of a parsed mlv.yaml. Unknown keys are warned of and stay in the file.
 *  @param text the file's text   @throws PIPELINE_INVALID, PATH_INVALID, each with line and column; PARAMS_INVALID, YAML_INVALID of a file of variables */
export async function readStages(file: YamlFile, text: string, files: VariableFiles): Promise<Pipeline> {
  const top: Field = { file, keys: [], value: file.value, label: 'the file', scope: undefined, text: undefined, filled: false }
  const warnings: string[] = []
  if (file.value === null || file.value === undefined) return { stages: [], warnings }
  readMapping(top, 'stages: {train: {cmd: python train.py}}')
  checkKeys(top, TOP_KEYS, warnings)
  const variables = await openVariables(top, text, files)
  const field = child(top, 'stages', 'stages')
  if (field.value === undefined || field.value === null) return { stages: [], warnings }
  const stages: Stage[] = []
  for (const name of Object.keys(readMapping(field, 'stages: {train: {cmd: python train.py}}'))) {
    const entry = child(field, name, `stage "${name}"`)
    for (const stage of await readEntry(entry, name, { variables, room: MOST_MADE - stages.length, warnings })) stages.push(stage)
  }
  return { stages, warnings }
}

const NO_FILES: FileReader = async () => undefined

/** Parses the text of mlv.yaml. @param read gives the files that its templates take values from
 *  @throws YAML_INVALID, PIPELINE_INVALID, PATH_INVALID, PARAMS_INVALID, each with line and column */
export async function parsePipeline(text: string, read: FileReader = NO_FILES): Promise<Pipeline> {
  // Reading YAML takes a third of the time of a command that has nothing to do, and most have a parsed copy.
  const { parseYaml } = await import('../base/yaml.ts')
  try {
    return await readStages(parseYaml(text, PIPELINE_FILE), text, { read, folder: '' as RepoPath })
  } catch (error) {
    if (error instanceof RangeError && !hasCode(error))
      throw new MlvError('YAML_INVALID', `${PIPELINE_FILE}: nested too deeply`, { hint: 'Write it flatter.', cause: error })
    throw error
  }
}
