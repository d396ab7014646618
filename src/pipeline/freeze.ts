import { MlvError } from '../base/errors.ts'
import { parseYaml } from '../base/yaml.ts'
import { PIPELINE_FILE } from './stage.ts'
import { unknownStage } from './unknown-stage.ts'

/** The text of mlv.yaml with stages frozen, or not any more. Comments stay. A name is that of a definition: `train` stands for all that its
 *  foreach or matrix makes.
 *  @throws YAML_INVALID, STAGE_UNKNOWN */
export function setFrozen(text: string, names: readonly string[], frozen: boolean): string {
  const { document, value } = parseYaml(text, PIPELINE_FILE)
  const stages = ((value ?? {}) as { stages?: Record<string, Record<string, unknown> | null> }).stages ?? {}
  let changed = false
  for (const name of names) {
    const definition = Object.hasOwn(stages, name) ? stages[name] : undefined
    if (!definition) {
      const [base = ''] = name.split('@')
      if (base === name || !Object.hasOwn(stages, base)) throw unknownStage(name, Object.keys(stages))
      throw new MlvError('STAGE_UNKNOWN', `${PIPELINE_FILE} does not define "${name}" on its own`, {
        hint: `It is one of "${base}": name that.`,
      })
    }
    const keys = ['stages', name, ...('do' in definition ? ['do'] : []), 'frozen']
    if ((document.getIn(keys) === true) === frozen) continue
    if (frozen) document.setIn(keys, true)
    else document.deleteIn(keys)
    changed = true
  }
  return changed ? document.toString({ lineWidth: 0, flowCollectionPadding: false }) : text
}
