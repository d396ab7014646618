import { MlvError } from '../base/errors.ts'
import { child, type Field, readMapping } from './schema-fields.ts'

/** Keys that may stand at the top of mlv.yaml. */
export const TOP_KEYS = new Set(['stages', 'vars', 'metrics', 'plots', 'params', 'desc', 'meta', 'mlv'])
const STAGE_KEYS = new Set([
  ...['cmd', 'wdir', 'deps', 'params', 'env', 'outs', 'metrics', 'plots'],
  ...['frozen', 'always', 'desc', 'meta', 'resources', 'timeout', 'retry', 'mutex', 'shell', 'each', 'batch', 'vars', 'matrix'],
])
const TEMPLATE_KEYS = new Set([...STAGE_KEYS].filter((key) => key !== 'matrix'))
const GROUP_KEYS = new Set(['foreach', 'do'])
/** Keys that an out or metric may have. */
export const OUT_KEYS = new Set(['persist', 'git', 'desc', 'labels', 'meta', 'type'])
/** What a run may take of a machine. */
export const RESOURCE_KEYS = new Set(['cpus', 'memory', 'gpus'])
const LATER_KEYS = new Set(['executor'])

/** Keys that mean something in dvc.yaml and have another name here: silence would change what a stage does. */
export const OTHER_NAMES: Record<string, string> = {
  cache: 'Write {git: true} for {cache: false}, and nothing for {cache: true}.',
  always_changed: 'Write always: true.',
}

/** A stage's name is also the name of a folder below .git/mlv. */
export const STAGE_NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_.-]{0,99}$/u

/** Warns of keys that mean nothing. @throws PIPELINE_INVALID for those that mean something elsewhere */
export function checkKeys(field: Field, known: Set<string>, warnings: string[]): void {
  for (const key of Object.keys(field.value as object)) {
    if (known.has(key)) continue
    const at = field.file.atKey(...field.keys, key)
    if (LATER_KEYS.has(key))
      throw new MlvError('PIPELINE_INVALID', `${at}: ${field.label}: "${key}" is not supported yet`, {
        hint: 'Take it out: "mlv stage task" and "mlv exec" run a stage elsewhere.',
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

/** Checks the name and the keys of a stage, or of the template of many. @throws PIPELINE_INVALID */
export function checkStage(field: Field, name: string, warnings: string[]): void {
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
