import { quotePath } from '../../base/paths.ts'
import type { StageCheck } from '../../pipeline/trace/check-deps.ts'
import type { Output } from '../output.ts'

const MOST_LINES = 20

/** A line for each path that a stage used without declaring it, and a note for each that it declares and did not read. */
export function checkLines(stage: string, { undeclared, unread, whole }: StageCheck): { warnings: string[]; notes: string[] } {
  const { reads, writes, removes } = undeclared
  const did = (verb: string, paths: readonly string[]) =>
    paths.map((path) => `${stage} ${verb} ${quotePath(path)} without declaring it`)
  const all = [...did('reads', reads), ...did('writes', writes), ...did('removes', removes)]
  const warnings = all.slice(0, MOST_LINES)
  if (all.length > MOST_LINES) warnings.push(`${stage} uses ${all.length - MOST_LINES} more without declaring them; see --json`)
  if (!whole) warnings.push(`not all that ${stage} did was seen: strace ended before it`)
  return { warnings, notes: unread.map((path) => `note: ${stage} declares ${quotePath(path)} and does not read it`) }
}

export function tellCheck(output: Pick<Output, 'warn' | 'say'>, stage: string, check: StageCheck): void {
  const { warnings, notes } = checkLines(stage, check)
  for (const line of warnings) output.warn(line)
  for (const line of notes) output.say(line)
}
