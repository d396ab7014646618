import type { DropResult } from '../../workspace/drop.ts'
import { formatBytes, plural } from './amount.ts'

/** @param older whether versions were named: then the path itself may be what needs them */
export function renderDrop(result: DropResult, { dryRun, older }: { dryRun: boolean; older: boolean }): string {
  const word = dryRun ? 'would drop' : 'dropped'
  const lines: string[] = []
  if (result.files > 0) lines.push(`${word}  ${plural(result.files, 'file')} of the workspace, ${formatBytes(result.fileBytes)}`)
  if (result.objects > 0)
    lines.push(
      `${word}  ${plural(result.objects, 'object')} of the cache, ${formatBytes(result.bytes)}; ${result.remotes.join(', ')} has ${result.objects === 1 ? 'it' : 'them'}`,
    )
  if (result.shared > 0) {
    const holder = older ? 'the workspace needs' : 'other paths in the workspace need'
    lines.push(`kept  ${plural(result.shared, 'object')} that ${holder}`)
  }
  return lines.length > 0 ? lines.join('\n') : 'there are no local copies of it'
}
