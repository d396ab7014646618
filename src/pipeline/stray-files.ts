import { type Dirent, readdirSync } from 'node:fs'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import type { PlannedDatum } from './plan-datums.ts'
import type { Stage } from './stage.ts'

/** A stage, as its errors name it. */
type Named = Pick<Stage, 'name'>

/** NFS names so what was deleted and is still open. */
const STILL_OPEN = /^\.nfs/

/** What lies in a folder around those that commands were given. @throws STAGE_FAILED when it is gone, or something else lies there */
function entriesOf({ name }: Named, folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).filter((entry) => !STILL_OPEN.test(entry.name))
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw fileError(error, 'reading', folder)
    throw new MlvError('STAGE_FAILED', `Stage "${name}" removed the folder around {out}, with all that it held`, {
      hint: 'Let the command write files into {out}.',
    })
  }
}

function stray({ name }: Named, path: string, of: string): MlvError {
  return new MlvError('STAGE_FAILED', `Stage "${name}" wrote ${quotePath(path)}, which is not in the folder {out} of ${of}`, {
    hint: 'What lies beside {out} belongs to no datum: let the command write into {out} alone.',
  })
}

/** Whether a name is that of the folder of one of so many datums. */
export function isDatumFolder(name: string, count: number): boolean {
  return /^(?:0|[1-9][0-9]*)$/.test(name) && Number(name) < count
}

/** Looks whether the commands of a batch left in its folder what they were given, a folder `0`, `1`, … for each datum, and nothing else: all that
 *  lies beside these, or in their place, would be lost unseen. Who wrote into the folder of another datum is not seen.
 *  @param folder absolute   @throws STAGE_FAILED */
export function checkBatchFolder(stage: Named, folder: string, datums: readonly PlannedDatum[]): void {
  for (const entry of entriesOf(stage, folder)) {
    const planned = isDatumFolder(entry.name, datums.length) ? datums[Number(entry.name)] : undefined
    if (!planned) throw stray(stage, `{out}/../${entry.name}`, datums.length === 1 ? datums[0]!.datum.name : 'any datum')
    if (!entry.isDirectory())
      throw new MlvError(
        'STAGE_FAILED',
        `Stage "${stage.name}" put something else in place of the folder {out} of ${planned.datum.name}`,
        {
          hint: 'Let the command write files into {out}.',
        },
      )
  }
}

/** The same for the folder around those of all batches, once all have ended. @param work absolute   @throws STAGE_FAILED */
export function checkWorkFolder(stage: Named, work: string): void {
  for (const { name } of entriesOf(stage, work))
    if (!/^[0-9]+(?:\.jsonl)?$/.test(name) && name !== 'ready') throw stray(stage, `{out}/../../${name}`, 'any datum')
}
