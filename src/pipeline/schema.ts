import { hasCode, MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { YamlFile } from '../base/yaml.ts'
import { expandStage, MOST_MADE } from './expand.ts'
import { child, type Field, readMapping } from './schema-fields.ts'
import { checkKeys, checkStage, TOP_KEYS } from './schema-keys.ts'
import { PIPELINE_FILE, type Pipeline, type Stage } from './stage.ts'
import { readStage, readWdir } from './stage-schema.ts'
import { type FileReader, openVariables, type VariableFiles, type Variables } from './variables.ts'

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

/** A template is YAML's own syntax for a map where it stands within one: the usual slip. */
function explained(error: MlvError, text: string): MlvError {
  const line = /:(\d+):\d+: /.exec(error.message)?.[1]
  if (line === undefined || !/[[{,:]\s*\$\{/.test(text.split('\n')[Number(line) - 1] ?? '')) return error
  return new MlvError(error.code, error.message, {
    hint: 'Within [ ] and { } a template stands in quotes: {lr: "${train.lr}"}.',
    cause: error,
  })
}

const NO_FILES: FileReader = async () => undefined

/** Parses the text of mlv.yaml. @param read gives the files that its templates take values from
 *  @throws YAML_INVALID, PIPELINE_INVALID, PATH_INVALID, PARAMS_INVALID, each with line and column */
export async function parsePipeline(text: string, read: FileReader = NO_FILES): Promise<Pipeline> {
  // Reading YAML takes a third of the time of a command that has nothing to do, and most have a parsed copy.
  const { COLON_HINT, parseYaml } = await import('../base/yaml.ts')
  try {
    return await readStages(parseYaml(text, PIPELINE_FILE), text, { read, folder: '' as RepoPath })
  } catch (error) {
    if (error instanceof RangeError && !hasCode(error))
      throw new MlvError('YAML_INVALID', `${PIPELINE_FILE}: nested too deeply`, { hint: 'Write it flatter.', cause: error })
    throw hasCode(error, 'YAML_INVALID') && error.hint !== COLON_HINT ? explained(error, text) : error
  }
}
