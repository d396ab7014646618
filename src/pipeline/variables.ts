import type { Node } from 'yaml'
import { hasCode, type MlvError } from '../base/errors.ts'
import { joinPath, type RepoPath } from '../base/paths.ts'
import { isMapValue, isTemplate, type Scope } from './interpolate.ts'
import { child, type Field, invalid, readList, readMapping, readText, resolvePath } from './schema-fields.ts'
import { mayLoseNumbers, type TemplateValue } from './written-number.ts'

/** The bytes of a file of the project, or undefined where there is none. */
export type FileReader = (path: RepoPath) => Promise<Uint8Array | undefined>

/** Where variables come from: the folder that params.yaml and the files of `vars` are relative to. */
export interface VariableFiles {
  read: FileReader
  folder: RepoPath
}

type Values = { [key: string]: TemplateValue }

/** Variables of mlv.yaml and of the files it names, gathered once. */
export interface Variables {
  scope: Scope
  /** the variables and those of a stage's own `vars`, whose files are relative to its folder */
  within(stage: Field, wdir: RepoPath, bound: Scope['bound']): Promise<Scope>
  /** what stands in mlv.yaml there, with its numbers as they were written */
  literal(field: Field): TemplateValue
}

const DEFAULT_FILE = 'params.yaml'
const SHOWN = 'vars: [vars.yaml, {rate: 0.1}]'

/** Deeper is no value that a person wrote. */
const MAX_DEPTH = 100

function plainValue(value: unknown, place: () => MlvError, depth = 0): TemplateValue {
  if (depth > MAX_DEPTH) throw place()
  if (Array.isArray(value)) return value.map((item) => plainValue(item, place, depth + 1))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainValue(item, place, depth + 1)]))
  return (value ?? null) as TemplateValue
}

/** A merged copy; maps that both have are merged, too. @throws PIPELINE_INVALID for a value that both have */
function merge(into: Values, more: Values, clash: (path: string) => MlvError, prefix = ''): Values {
  const merged = new Map(Object.entries(into))
  for (const [key, value] of Object.entries(more)) {
    const before = Object.hasOwn(into, key) ? into[key] : undefined
    if (before === undefined) merged.set(key, value)
    else if (isMapValue(before) && isMapValue(value)) merged.set(key, merge(before, value, clash, `${prefix}${key}.`))
    else throw clash(`${prefix}${key}`)
  }
  return Object.fromEntries(merged)
}

async function parseValues(bytes: Uint8Array, path: string): Promise<TemplateValue> {
  const { readParamFile } = await import('../measure/params.ts')
  const values = readParamFile(bytes, path)
  const text = Buffer.from(bytes).toString('utf8')
  if (/\.toml$/i.test(path) || !mayLoseNumbers(text)) return values
  const [{ parseYaml }, { writtenValue }] = await Promise.all([import('../base/yaml.ts'), import('./written-value.ts')])
  try {
    const { document } = parseYaml(text, path)
    return writtenValue(document.contents as Node | null, document)
  } catch (error) {
    // Of JSON that is no YAML, such as one with a key twice, the plain values are good enough.
    if (hasCode(error, 'YAML_INVALID') && /\.json$/i.test(path)) return values
    throw error
  }
}

/** `conf.yaml` or `conf.yaml:train,eval`: the values of a file, or of its keys named. */
async function readVariablesFile(item: Field, wdir: RepoPath, read: FileReader): Promise<Values> {
  const text = readText(item, SHOWN)
  const cut = text.indexOf(':')
  const path = resolvePath(item, cut < 0 ? text : text.slice(0, cut), wdir)
  const keys =
    cut < 0
      ? []
      : text
          .slice(cut + 1)
          .split(',')
          .filter(Boolean)
  const bytes = await read(path)
  if (!bytes) throw invalid(item, `names "${path}", which does not exist`, `Create ${path}, or take it out of vars.`)
  const values = await parseValues(bytes, path)
  if (values === null) return {}
  if (!isMapValue(values))
    throw invalid(item, `names "${path}", which holds no map of values`, 'Name a file with keys and values.')
  if (keys.length === 0) return values
  return Object.fromEntries(
    keys.map((key) => {
      if (!Object.hasOwn(values, key)) throw invalid(item, `asks for "${key}", which ${path} does not have`, `Add it to ${path}.`)
      return [key, values[key]!]
    }),
  )
}

/** @throws PIPELINE_INVALID for templates among the variables: nothing is there yet to fill them from */
function refuseTemplates(field: Field, value: unknown): void {
  if (typeof value === 'string' && /(?<!\\)\$\{.*?\}/.test(value))
    throw invalid(field, 'holds a template, which vars may not', 'Write the value itself.')
  if (typeof value === 'object' && value !== null) for (const item of Object.values(value)) refuseTemplates(field, item)
}

/** Gathers what templates may name: params.yaml, where there is one, and the items of `vars`. Reads a file only once a template is there to fill.
 *  @throws PIPELINE_INVALID, PATH_INVALID, PARAMS_INVALID, YAML_INVALID */
export async function openVariables(top: Field, text: string, { read, folder }: VariableFiles): Promise<Variables> {
  const defaultFile = joinPath(folder, DEFAULT_FILE)
  const exact = mayLoseNumbers(text)
  const { writtenValue } = exact ? await import('./written-value.ts') : {}
  const files = new Map<RepoPath, Promise<Uint8Array | undefined>>()
  const readOnce: FileReader = (path) => {
    if (!files.has(path)) files.set(path, read(path))
    return files.get(path)!
  }

  function literal(field: Field): TemplateValue {
    const tooDeep = () => invalid(field, 'is nested too deeply', 'Write it flatter.')
    const plain = plainValue(field.value, tooDeep)
    if (!writtenValue || field.keys.length === 0) return plain
    return writtenValue(field.file.document.getIn(field.keys, true) as Node | null, field.file.document)
  }

  async function add(values: Values, item: Field, wdir: RepoPath, bound: Scope['bound']): Promise<Values> {
    refuseTemplates(item, item.value)
    if (typeof item.value !== 'string') readMapping(item, SHOWN)
    const more = typeof item.value === 'string' ? await readVariablesFile(item, wdir, readOnce) : (literal(item) as Values)
    for (const key of Object.keys(bound ?? {}))
      if (Object.hasOwn(more, key)) throw invalid(item, `sets "${key}", which each iteration sets`, 'Give it another name.')
    return merge(values, more, (path) => invalid(item, `sets "${path}" again`, 'Leave it in one place, or give it another name.'))
  }

  async function addAll(values: Values, list: Field, wdir: RepoPath, bound?: Scope['bound']): Promise<Values> {
    let all = values
    const seen = new Set<string>()
    for (const item of readList(list, SHOWN)) {
      // A whole file may be named again, params.yaml above all.
      const name = typeof item.value === 'string' ? item.value : undefined
      if (name !== undefined && !name.includes(':')) {
        const path = resolvePath(item, name, wdir)
        if (seen.has(path) || path === defaultFile) continue
        seen.add(path)
      }
      all = await add(all, item, wdir, bound)
    }
    return all
  }

  let values: Values = {}
  if (isTemplate(text)) {
    const bytes = await readOnce(defaultFile)
    const params = bytes ? await parseValues(bytes, defaultFile) : null
    if (isMapValue(params)) values = params
  }
  const all = await addAll(values, child(top, 'vars', 'vars'), folder)
  return {
    scope: { values: all },
    literal,
    async within(stage, wdir, bound) {
      const list = child(stage, 'vars', `${stage.label}: vars`)
      if (list.value === undefined) return { values: all, ...(bound ? { bound } : {}) }
      return { values: await addAll(all, list, wdir, bound), ...(bound ? { bound } : {}) }
    },
  }
}
