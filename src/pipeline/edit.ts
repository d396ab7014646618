import { isDeepStrictEqual } from 'node:util'
import type { YAMLMap } from 'yaml'
import { MlvError } from '../base/errors.ts'
import { parseYaml, type YamlFile } from '../base/yaml.ts'
import { PIPELINE_FILE } from './stage.ts'

/** What `mlv stage add` writes; keys as in mlv.yaml. */
export interface NewStage {
  cmd: string | string[]
  wdir?: string
  deps?: string[]
  params?: (string | Record<string, string[] | null>)[]
  outs?: (string | Record<string, { persist?: true; git?: true }>)[]
  metrics?: string[]
  plots?: string[]
}

/** Reads `train.lr`, `eval.yaml:threshold,other` and `all.toml:` (the whole file) into the items of a stage's params. */
export function paramItems(given: string[]): NewStage['params'] {
  const items: (string | Record<string, string[] | null>)[] = []
  for (const text of given) {
    const cut = text.search(/:/)
    const [file, keys] = cut < 0 ? ['', text] : [text.slice(0, cut), text.slice(cut + 1)]
    const list = keys.split(',').filter(Boolean)
    if (file === '' || file === 'params.yaml') {
      if (list.length > 0) items.push(...list)
      else items.push({ 'params.yaml': null })
    } else items.push({ [file]: list.length > 0 ? list : null })
  }
  return items
}

/** The stage as the lines of a block, indented as the stages beside it; undefined when those are not written as a block. */
function insertLines(text: string, file: YamlFile, name: string, stage: NewStage): string | undefined {
  const stages = file.document.get('stages', true) as YAMLMap | undefined
  const last = stages?.items?.at(-1)?.value as { range?: [number, number, number] } | undefined
  const key = stages?.items?.[0]?.key as { range?: [number, number, number] } | undefined
  if (!stages || stages.flow || !last?.range || !key?.range) return undefined
  const indent = key.range[0] - (text.lastIndexOf('\n', key.range[0] - 1) + 1)
  const document = file.document.clone()
  document.commentBefore = null
  document.comment = null
  document.contents = document.createNode({ [name]: stage }) as never
  const lines = document.toString({ lineWidth: 0, flowCollectionPadding: false })
  const end = text[last.range[1] - 1] === '\n' ? last.range[1] : text.indexOf('\n', last.range[1]) + 1 || text.length
  const before = text.slice(0, end)
  return `${before}${before.endsWith('\n') ? '' : '\n'}${lines.replace(/^(?=.)/gm, ' '.repeat(indent))}${text.slice(end)}`
}

/** The text of mlv.yaml with one stage more, or replaced with `force`. Comments and the other lines stay as they are.
 *  @throws YAML_INVALID, USAGE when there is such a stage */
export function addStage(text: string, name: string, add: { stage: NewStage; force: boolean }): string {
  const file = parseYaml(text, PIPELINE_FILE)
  const { document } = file
  const exists = document.hasIn(['stages', name])
  if (exists && !add.force)
    throw new MlvError('USAGE', `There is a stage "${name}" already (${file.atKey('stages', name)})`, {
      hint: 'Give another name, or replace it with --force.',
    })
  const wanted = structuredClone((file.value ?? {}) as Record<string, Record<string, unknown>>)
  wanted.stages = { ...(wanted.stages ?? {}), [name]: add.stage }
  const inserted = exists ? undefined : insertLines(text, file, name, add.stage)
  if (inserted !== undefined && isDeepStrictEqual(parseYaml(inserted, PIPELINE_FILE).value, wanted)) return inserted
  if (document.contents === null || document.get('stages') === null) document.set('stages', document.createNode({}))
  document.setIn(['stages', name], document.createNode(add.stage))
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}
