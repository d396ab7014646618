import { posix } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { type Document, isMap, isScalar, parseDocument, visit, type YAMLMap } from 'yaml'
import { hasCode, MlvError } from '../base/errors.ts'
import { parentOf, type RepoPath } from '../base/paths.ts'
import { parseYaml, type YamlFile } from '../base/yaml.ts'
import { madeName } from '../pipeline/expand.ts'
import { buildGraph } from '../pipeline/graph.ts'
import { parsePipeline, readStages } from '../pipeline/schema.ts'
import { STAGE_NAME } from '../pipeline/schema-keys.ts'
import type { Stage } from '../pipeline/stage.ts'
import type { FileReader } from '../pipeline/variables.ts'
import { dvcInvalid } from './dvc-files.ts'
import type { Leftover } from './dvc-out.ts'
import { keyOf, type Rewriting, refuseUnknown, rewriteStage } from './dvc-sections.ts'
import { plainStage } from './plain-stage.ts'

/** One dvc.yaml made mlv's. */
export interface MigratedFile {
  path: RepoPath
  /** the document, edited, comments kept */
  document: Document
  stages: Stage[]
  /** mlv's name by DVC's, of entries */
  names: Map<string, string>
  leftovers: Leftover[]
}

const TOP_KEYS = ['vars', 'stages', 'params', 'metrics', 'plots', 'artifacts', 'datasets']

/** Anchors and merge keys are written out: their nodes stand in several places, and a change of one would change all. */
function openDocument(text: string, path: RepoPath): YamlFile {
  const file = parseYaml(text, path, undefined, true)
  let shared = false
  visit(file.document, {
    Alias: () => {
      shared = true
      return visit.BREAK
    },
  })
  return shared ? { ...file, document: parseDocument(JSON.stringify(file.value)) as YamlFile['document'] } : file
}

function openRewriting(file: YamlFile, path: RepoPath, text: string): Rewriting {
  const leftovers: Leftover[] = []
  const where = (node: unknown): string => {
    const range = (node as { range?: [number, number, number] } | null)?.range
    if (!range) return path
    const before = text.slice(0, range[0]).split('\n')
    return `${path}:${before.length}:${before.at(-1)!.length + 1}`
  }
  return { file, where, leftovers, leave: (node, what) => leftovers.push({ at: where(node), what }) }
}

function mapAt(map: YAMLMap, key: string, at: Rewriting): YAMLMap | undefined {
  const value = map.get(key, true)
  if (value === undefined || (isScalar(value) && value.value === null)) return undefined
  if (isMap(value)) return value as YAMLMap
  throw dvcInvalid(at.where(value), `${key} is no map`)
}

/** A name that mlv takes, and no stage has yet. */
function freeName(wanted: string, taken: ReadonlySet<string>): string {
  const plain = wanted
    .replace(/[^\p{L}\p{N}_.-]/gu, '_')
    .replace(/^[.-]/, '_')
    .slice(0, 90)
  if (STAGE_NAME.test(plain) && !taken.has(plain)) return plain
  for (let number = 2; ; number++) if (!taken.has(`${plain}-${number}`)) return `${plain}-${number}`
}

function rewriteEntry(value: unknown, at: Rewriting, label: string): void {
  if (!isMap(value)) throw dvcInvalid(at.where(value), `${label} is no map`)
  const stage = value as YAMLMap
  if (!stage.has('foreach') && !stage.has('do')) {
    rewriteStage(stage, at, label)
    return
  }
  refuseUnknown(stage, ['foreach', 'do'], at, label)
  const template = stage.get('do', true)
  if (!isMap(template)) throw dvcInvalid(at.where(stage), `${label}: "foreach" and "do" belong together`)
  rewriteStage(template as YAMLMap, at, label)
}

function rewriteTop(root: YAMLMap, at: Rewriting): void {
  refuseUnknown(root, TOP_KEYS, at, 'the file')
  for (const [key, what] of [
    ['artifacts', 'models are registered otherwise'],
    ['datasets', 'data from elsewhere is not followed'],
  ] as const) {
    const pair = root.items.find((one) => keyOf(one) === key)
    if (!pair) continue
    at.leave(pair.key, `"${key}" has no counterpart (${what}) and is left out`)
    root.delete(key)
  }
}

/** What mlv says of the rewritten text is said of DVC's, whose lines the nodes still know. */
async function naming<T>(path: RepoPath, work: () => Promise<T> | T): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!hasCode(error, 'PIPELINE_INVALID', 'PATH_INVALID')) throw error
    throw new MlvError('DVC_INVALID', error.message.replaceAll(/\bmlv\.yaml(?=[: ]|$)/g, path), {
      hint: `Correct ${path} first: ${error.hint?.replaceAll('mlv.yaml', path) ?? 'see "dvc status".'}`,
      cause: error,
    })
  }
}

/** Parses a dvc.yaml and makes it mlv's. @param taken names that other files have  @throws DVC_INVALID and YAML_INVALID, with DVC's line and column */
export async function migrateFile(
  text: string,
  path: RepoPath,
  given: { read: FileReader; taken: ReadonlySet<string> },
): Promise<MigratedFile> {
  const file = openDocument(text, path)
  const { document } = file
  const at = openRewriting(file, path, text)
  const folder = parentOf(path)
  const names = new Map<string, string>()
  const root = document.contents
  if (root !== null && !isMap(root)) throw dvcInvalid(at.where(root), 'the file is no map')
  if (isMap(root)) {
    rewriteTop(root as YAMLMap, at)
    const taken = new Set(given.taken)
    for (const pair of mapAt(root as YAMLMap, 'stages', at)?.items ?? []) {
      const name = keyOf(pair)
      const label = `stage "${name}"`
      rewriteEntry(pair.value, at, label)
      const made = freeName(name, taken)
      if (made !== name) at.leave(pair.key, `${label} is called "${made}"`)
      if (isScalar(pair.key)) pair.key.value = made
      taken.add(made)
      names.set(name, made)
      if (folder !== '') moveInto(pair.value as YAMLMap, folder)
    }
  }
  const value: unknown = document.toJS({ maxAliasCount: 100 })
  const { stages, warnings } = await naming(path, () => readStages({ ...file, value }, text, { read: given.read, folder }))
  for (const warning of warnings) at.leftovers.push({ at: path, what: warning.replace(/^mlv\.yaml/, path) })
  return { path, document, stages, names, leftovers: at.leftovers }
}

/** Stages of a dvc.yaml in a sub-folder run there. */
function moveInto(entry: YAMLMap, folder: RepoPath): void {
  const stage = (isMap(entry.get('do', true)) ? entry.get('do', true) : entry) as YAMLMap
  const wdir = stage.get('wdir')
  // An absolute one is refused where it is read.
  if (typeof wdir !== 'string' || !posix.isAbsolute(wdir))
    stage.set('wdir', posix.join(folder, typeof wdir === 'string' ? wdir : '.'))
}

/** The stages without their places in a file. */
function plain(stages: readonly Stage[]): unknown {
  return stages
    .map((stage) => JSON.stringify(stage, (key, value) => (key === 'at' || key === 'cmdAt' ? undefined : value)))
    .sort()
}

/** Puts all files together as the one mlv.yaml. Files of sub-folders with templates are written out, since their variables count only there.
 *  @returns the text, the stages in it, and by file and DVC's name the names they have   @throws DVC_INVALID when two stages write one path, or in a cycle */
export async function joinFiles(
  files: MigratedFile[],
  read: FileReader,
): Promise<{ text: string; stages: Stage[]; nameOf: (path: RepoPath, name: string) => string | undefined }> {
  const top = files.find(({ path }) => path === 'dvc.yaml')
  const document = top?.document ?? parseDocument('')
  const renamed = new Map<string, string>()
  const taken = new Set(files.flatMap(({ names }) => [...names.values()]))
  for (const file of files) {
    if (file === top) continue
    const templates = /\$\{|^\s*(vars|foreach|matrix)\s*:/m.test(file.document.toString())
    const entries = templates
      ? file.stages.map((stage): [string, unknown] => {
          const name = STAGE_NAME.test(stage.name) ? stage.name : freeName(stage.name.replace('@', '-'), taken)
          taken.add(name)
          renamed.set(stage.name, name)
          return [name, document.createNode(plainStage(stage))]
        })
      : ((file.document.get('stages', true) as YAMLMap | undefined)?.items ?? []).map((pair): [string, unknown] => [
          keyOf(pair),
          pair.value,
        ])
    if (document.contents === null) document.contents = document.createNode({}) as never
    if (!isMap(document.get('stages', true))) document.set('stages', document.createNode({}))
    for (const [name, value] of entries) document.setIn(['stages', name], value)
  }
  const text = document.contents === null ? '' : document.toString({ lineWidth: 0, flowCollectionPadding: false })
  const made = files.flatMap((file) => file.stages.map((stage) => ({ ...stage, name: renamed.get(stage.name) ?? stage.name })))
  const { stages } = await parsePipeline(text, read)
  if (!isDeepStrictEqual(plain(stages), plain(made))) throw new Error('mlv.yaml does not say what dvc.yaml said')
  await naming('dvc.yaml' as RepoPath, () => buildGraph({ stages, warnings: [] }))
  return {
    text,
    stages,
    nameOf(path, name) {
      const file = files.find((one) => one.path === path)
      const [group = '', ...key] = name.split('@')
      const entry = file?.names.get(group)
      const own = entry === undefined ? undefined : key.length === 0 ? entry : madeName(entry, key.join('@'))
      return own === undefined ? undefined : (renamed.get(own) ?? own)
    },
  }
}
