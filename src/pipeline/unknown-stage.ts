import { MlvError } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import { PIPELINE_FILE } from './stage.ts'

/** How many names a hint shows. */
const SHOWN = 8

function some(names: readonly string[]): string {
  return `${names.slice(0, SHOWN).map(quotePath).join(', ')}${names.length > SHOWN ? ', …; see "mlv stage list"' : ''}`
}

/** What every command says of a name that no one stage has. @param known the names of stages; `train@a` is one that a foreach or matrix `train` made */
export function unknownStage(name: string, known: readonly string[]): MlvError {
  const made = known.filter((other) => other.startsWith(`${name}@`))
  if (made.length > 0)
    return new MlvError('STAGE_UNKNOWN', `"${name}" stands for ${made.length} stages, and one is wanted`, {
      hint: `Name one of them: ${some(made)}.`,
    })
  return new MlvError('STAGE_UNKNOWN', `${PIPELINE_FILE} has no stage "${name}"`, {
    hint: known.length === 0 ? 'Add one with "mlv stage add".' : `It has ${some(known)}.`,
  })
}
